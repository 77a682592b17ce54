"""Parts of a customer's message as Anthropic's content blocks."""

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from relay.capabilities import ModelTraits
from relay.errors import InvalidRequest
from relay.vendors.shared.data_urls import decode_head, decode_text, sniff_image, split_data_url

Block = dict[str, Any]

_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_PDF_IN_BASE64 = "JVBERi0"
_LIFETIMES = (None, "5m", "1h")


def text_block(text: str) -> Block:
    return {"type": "text", "text": text}


def content_blocks(content: object, traits: ModelTraits, where: str) -> list[Block]:
    """The blocks of a message's content, in order. Text without a visible character is no block.

    `where` is the path of the content, for errors. Raises InvalidRequest.
    """
    if isinstance(content, str):
        return [text_block(content)] if content and not content.isspace() else []
    if not isinstance(content, list):
        return []
    blocks = []
    for index, part in enumerate(content):
        block = _READERS[part["type"]](part, traits, f"{where}[{index}]")
        if block is not None:
            blocks.append(keep_cache_control(block, part, f"{where}[{index}]"))
    return blocks


def keep_cache_control(block: Block, source: Mapping[str, Any], where: str) -> Block:
    """A customer's cache breakpoint goes on: what it saves is theirs."""
    wanted = source.get("cache_control")
    if wanted is None:
        return block
    param = f"{where}.cache_control" if where else "cache_control"
    if not isinstance(wanted, dict) or wanted.get("type") != "ephemeral":
        raise InvalidRequest(
            f"Invalid '{param}': expected an object of the type 'ephemeral'.",
            param=param,
            reason="invalid_value",
        )
    lifetime = wanted.get("ttl")
    if lifetime not in _LIFETIMES:
        raise InvalidRequest(
            f"Invalid '{param}.ttl': expected '5m' or '1h'.", param=param, reason="invalid_value"
        )
    block["cache_control"] = {"type": "ephemeral", **({"ttl": lifetime} if lifetime else {})}
    return block


def _text(part: Mapping[str, Any], _traits: ModelTraits, _where: str) -> Block | None:
    text = part["text"]
    return text_block(text) if text and not text.isspace() else None


def _refusal(part: Mapping[str, Any], _traits: ModelTraits, _where: str) -> Block | None:
    text = part["refusal"]
    return text_block(text) if text and not text.isspace() else None


def _image(part: Mapping[str, Any], traits: ModelTraits, where: str) -> Block:
    if not traits.vision:
        _refuse_kind("images", where)
    url = part["image_url"]["url"]
    if url.startswith("data:"):
        return {"type": "image", "source": _inline_image(url, where)}
    if not url.startswith(tuple(f"{scheme}:" for scheme in traits.image_url_schemes)):
        raise InvalidRequest(
            f"Invalid '{where}.image_url.url': the image cannot be fetched from there.",
            param=f"{where}.image_url.url",
            reason="invalid_image_url",
        )
    return {"type": "image", "source": {"type": "url", "url": url}}


def _inline_image(url: str, where: str) -> Block:
    """The type is read from the bytes: what clients write there is often wrong, and then refused."""
    _, data = split_data_url(url, f"{where}.image_url.url")
    media_type = sniff_image(decode_head(data, f"{where}.image_url.url"))
    if media_type not in _IMAGES:
        raise InvalidRequest(
            f"Invalid '{where}.image_url.url': expected a JPEG, PNG, GIF or WebP image.",
            param=f"{where}.image_url.url",
            reason="invalid_image_format",
        )
    return {"type": "base64", "media_type": media_type, "data": data}


def _file(part: Mapping[str, Any], traits: ModelTraits, where: str) -> Block:
    if not traits.pdf:
        _refuse_kind("files", where)
    file = part["file"]
    block: Block = {"type": "document", "source": _document_source(file["file_data"], f"{where}.file")}
    if isinstance(file.get("filename"), str) and file["filename"].strip():
        block["title"] = file["filename"]
    if isinstance(part.get("citations"), dict):
        block["citations"] = {"enabled": bool(part["citations"].get("enabled"))}
    return block


def _document_source(data: str, where: str) -> Block:
    if data.startswith("https://"):
        return {"type": "url", "url": data}
    media_type, encoded = "application/pdf", data
    if data.startswith("data:"):
        media_type, encoded = split_data_url(data, f"{where}.file_data")
    if encoded.startswith(_PDF_IN_BASE64):
        return {"type": "base64", "media_type": "application/pdf", "data": encoded}
    if media_type.startswith("text/"):
        return {
            "type": "text",
            "media_type": "text/plain",
            "data": decode_text(encoded, f"{where}.file_data"),
        }
    raise InvalidRequest(
        f"Invalid '{where}.file_data': expected a PDF or a text.",
        param=f"{where}.file_data",
        reason="unsupported_value",
    )


def _audio(_part: Mapping[str, Any], _traits: ModelTraits, where: str) -> NoReturn:
    _refuse_kind("audio", where)


def _refuse_kind(kind: str, where: str) -> NoReturn:
    raise InvalidRequest(
        f"Unsupported value: '{where}': this model takes no {kind}.", param=where, reason="unsupported_value"
    )


_READERS: Mapping[str, Callable[[Mapping[str, Any], ModelTraits, str], Block | None]] = {
    "text": _text,
    "refusal": _refusal,
    "image_url": _image,
    "file": _file,
    "input_audio": _audio,
}
