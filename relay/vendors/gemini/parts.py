"""Parts of a customer's message as Gemini's parts."""

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from relay.capabilities import ModelTraits
from relay.errors import InvalidRequest
from relay.vendors.shared.data_urls import decode_head, sniff_image, split_data_url

Part = dict[str, Any]

_IMAGES = frozenset({"image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"})
_IMAGES_BY_ENDING: Mapping[str, str] = {
    "png": "image/png",
    "webp": "image/webp",
    "heic": "image/heic",
    "heif": "image/heif",
}
_AUDIO: Mapping[str, str] = {"wav": "audio/wav", "mp3": "audio/mp3"}
_PDF_IN_BASE64 = "JVBERi0"


def text_part(text: str) -> Part:
    return {"text": text}


def message_parts(content: object, traits: ModelTraits, where: str) -> list[Part]:
    """The parts of a message's content, in order. Empty text is no part.

    `where` is the path of the content, for errors. Raises InvalidRequest.
    """
    if isinstance(content, str):
        return [text_part(content)] if content else []
    if not isinstance(content, list):
        return []
    parts = []
    for index, raw in enumerate(content):
        part = _READERS[raw["type"]](raw, traits, f"{where}[{index}]")
        if part is not None:
            parts.append(part)
    return parts


def _text(raw: Mapping[str, Any], _traits: ModelTraits, _where: str) -> Part | None:
    return text_part(raw["text"]) if raw["text"] else None


def _refusal(raw: Mapping[str, Any], _traits: ModelTraits, _where: str) -> Part | None:
    return text_part(raw["refusal"]) if raw["refusal"] else None


def _image(raw: Mapping[str, Any], traits: ModelTraits, where: str) -> Part:
    if not traits.vision:
        _refuse_kind("images", where)
    url, param = raw["image_url"]["url"], f"{where}.image_url.url"
    if url.startswith("data:"):
        return _inline_image(url, param)
    if not url.startswith(tuple(f"{scheme}:" for scheme in traits.image_url_schemes)):
        raise InvalidRequest(
            f"Invalid '{param}': the image cannot be fetched from there.",
            param=param,
            reason="invalid_image_url",
        )
    ending = url.partition("?")[0].rpartition(".")[2].lower()
    return {"fileData": {"fileUri": url, "mimeType": _IMAGES_BY_ENDING.get(ending, "image/jpeg")}}


def _inline_image(url: str, param: str) -> Part:
    """The type is read from the bytes: what clients write there is often wrong, and then refused."""
    _, data = split_data_url(url, param)
    media_type = sniff_image(decode_head(data, param))
    if media_type not in _IMAGES:
        raise InvalidRequest(
            f"Invalid '{param}': expected a JPEG, PNG, WebP or HEIC image.",
            param=param,
            reason="invalid_image_format",
        )
    return _inline(media_type, data)


def _file(raw: Mapping[str, Any], traits: ModelTraits, where: str) -> Part:
    if not traits.pdf:
        _refuse_kind("files", where)
    data, param = raw["file"]["file_data"], f"{where}.file.file_data"
    media_type, encoded = split_data_url(data, param) if data.startswith("data:") else ("", data)
    if encoded.startswith(_PDF_IN_BASE64):
        return _inline("application/pdf", encoded)
    if media_type.startswith("text/") and encoded:
        return _inline("text/plain", encoded)
    raise InvalidRequest(
        f"Invalid '{param}': expected a PDF or a text.", param=param, reason="unsupported_value"
    )


def _audio(raw: Mapping[str, Any], traits: ModelTraits, where: str) -> Part:
    if not traits.audio_in:
        _refuse_kind("audio", where)
    sound = raw["input_audio"]
    param = f"{where}.input_audio.data"
    data = sound["data"]
    if data.startswith("data:"):
        _, data = split_data_url(data, param)
    if not decode_head(data, param):
        raise InvalidRequest(f"Invalid '{param}': it is empty.", param=param, reason="invalid_value")
    return _inline(_AUDIO[sound["format"]], data)


def _inline(media_type: str, data: str) -> Part:
    return {"inlineData": {"mimeType": media_type, "data": data}}


def _refuse_kind(kind: str, where: str) -> NoReturn:
    raise InvalidRequest(
        f"Unsupported value: '{where}': this model takes no {kind}.", param=where, reason="unsupported_value"
    )


_READERS: Mapping[str, Callable[[Mapping[str, Any], ModelTraits, str], Part | None]] = {
    "text": _text,
    "refusal": _refusal,
    "image_url": _image,
    "file": _file,
    "input_audio": _audio,
}
