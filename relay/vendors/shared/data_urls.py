"""Data URLs in prompts: what they hold, and of which kind it really is."""

import base64
import binascii
import re

from relay.errors import InvalidRequest

_DATA_URL = re.compile(r"data:(?P<type>[^;,]*)(?P<parameters>(?:;[^;,]*)*),", re.IGNORECASE)
_HEAD_CHARACTERS = 64  # of base64: more than any magic number needs


def split_data_url(url: str, where: str) -> tuple[str, str]:
    """The declared media type and the base64 of a data URL. `where` is its path, for errors."""
    head = _DATA_URL.match(url)
    if head is None or not head["parameters"].lower().endswith(";base64"):
        raise InvalidRequest(
            f"Invalid '{where}': expected a data URL in base64.", param=where, reason="invalid_value"
        )
    data = url[head.end() :]
    return head["type"].lower(), data if data.isalnum() else "".join(data.split())


def decode_head(data: str, where: str) -> bytes:
    """The first bytes of something in base64."""
    head = data[:_HEAD_CHARACTERS]
    try:
        return base64.b64decode(head[: len(head) // 4 * 4])
    except (binascii.Error, ValueError):
        raise InvalidRequest(
            f"Invalid '{where}': this is no base64.", param=where, reason="invalid_value"
        ) from None


def decode_text(data: str, where: str) -> str:
    try:
        return base64.b64decode(data).decode()
    except (binascii.Error, ValueError):
        raise InvalidRequest(
            f"Invalid '{where}': expected UTF-8 text in base64.", param=where, reason="invalid_value"
        ) from None


def sniff_image(head: bytes) -> str | None:
    """The media type of an image by its first bytes: what clients say about it is often wrong."""
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return _ISO_BRANDS.get(head[8:12]) if head[4:8] == b"ftyp" else None


_ISO_BRANDS = {
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"hevc": "image/heic",
    b"mif1": "image/heif",
    b"msf1": "image/heif",
}
