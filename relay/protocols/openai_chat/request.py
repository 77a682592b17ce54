"""From a customer's bytes to a checked request, and from that to a vendor's bytes."""

from collections.abc import Collection
from typing import Any

import orjson

from relay.contracts import NO_ATTACHMENTS, Attachments, ChatRequest
from relay.errors import InvalidRequest
from relay.protocols.openai_chat.checks import Violation
from relay.protocols.openai_chat.validation import FORWARDED, validate_body

_MEANINGLESS_WITHOUT_TOOLS = ("tools", "tool_choice", "parallel_tool_calls")
_SET_BY_US = frozenset({"model", "max_tokens", "max_completion_tokens", "stream_options"})
_COPIED = FORWARDED - _SET_BY_US

_TOKENS_PER_MESSAGE = 8
_TOKENS_FOR_TOOLS = 1_024  # instructions a vendor puts before the first tool
_TOKENS_PER_REQUEST = 64
_TOKENS_PER_FILE = 4_096
_TOKENS_PER_AUDIO_PART = 128
_AUDIO_BYTES_PER_TOKEN = 16  # vendors count 10 to 32 tokens a second, which is 1 kB at the least


def parse_request(raw: bytes) -> ChatRequest:
    """Raises InvalidRequest."""
    body = _read_object(raw)
    try:
        validate_body(body)
    except Violation as violation:
        raise violation.as_invalid_request() from None
    attachments = count_attachments(body["messages"])
    options = body.get("stream_options")
    return ChatRequest(
        model=body["model"],
        stream=bool(body.get("stream")),
        include_usage=bool(options and options.get("include_usage")),
        n=body.get("n") or 1,
        max_output_tokens=_read_limit(body),
        body=body,
        prompt_bytes=len(raw) - attachments.inline_size,
        attachments=attachments,
        service_tier=_read_tier(body),
    )


def _read_object(raw: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(
            "The body of the request could not be parsed as JSON"
            f" (line {error.lineno}, column {error.colno})."
        ) from None
    if type(body) is not dict:
        raise InvalidRequest("The body of the request must be a JSON object.")
    return body


def _read_limit(body: dict[str, Any]) -> int | None:
    limit = body.get("max_completion_tokens")
    if limit is None:
        limit = body.get("max_tokens")
    return None if limit is None else int(limit)


def _read_tier(body: dict[str, Any]) -> str:
    """ "auto" leaves the choice to the vendor's project settings, which are ours: the default."""
    tier = body.get("service_tier")
    return tier if tier not in (None, "auto", "default") else ""


def count_attachments(messages: list[dict[str, Any]]) -> Attachments:
    contents = [message.get("content") for message in messages]
    parts = [part for content in contents if type(content) is list for part in content]
    if not parts:
        return NO_ATTACHMENTS
    images = [_size_of_image(part["image_url"]) for part in parts if part["type"] == "image_url"]
    sounds = [len(part["input_audio"]["data"]) for part in parts if part["type"] == "input_audio"]
    files = [len(part["file"]["file_data"]) for part in parts if part["type"] == "file"]
    return Attachments(
        images=len(images),
        image_size=sum(images),
        audio_parts=len(sounds),
        audio_size=sum(sounds),
        files=len(files),
        file_size=sum(files),
    )


def _size_of_image(image: dict[str, str]) -> int:
    """An address is text; only an image inside the request is not."""
    return len(image["url"]) if image["url"].startswith("data:") else 0


def prompt_token_bound(request: ChatRequest, *, image_tokens: int = 3_000) -> int:
    """The most prompt tokens a vendor can count for this request.

    A token of text is at least one byte, so the length of the request bounds its text, tool
    definitions and schemas. What a vendor adds (chat template, tool instructions) gets a flat
    allowance. An image counts `image_tokens`, whatever its size: a model that counts more must say
    so. A file counts a token for every byte plus a flat sum, though a compressed one can hold more.
    No vendor takes a longer prompt than the model's context window: lower the result to that.
    """
    body, attachments = request.body, request.attachments
    bound = request.prompt_bytes + _TOKENS_PER_REQUEST
    bound += len(body["messages"]) * _TOKENS_PER_MESSAGE
    if body.get("tools") or body.get("functions"):
        bound += _TOKENS_FOR_TOOLS
    if attachments is not NO_ATTACHMENTS:
        bound += attachments.images * image_tokens + _audio_tokens(attachments)
        bound += attachments.files * _TOKENS_PER_FILE + attachments.file_size * 3 // 4
    return bound


def _audio_tokens(attachments: Attachments) -> int:
    audio_bytes = attachments.audio_size * 3 // 4
    return attachments.audio_parts * _TOKENS_PER_AUDIO_PART + audio_bytes // _AUDIO_BYTES_PER_TOKEN


def forwarded_fields(request: ChatRequest) -> dict[str, Any]:
    """What of a request may go on to a vendor; model and limit are still to be set.

    Always put together anew, never the customer's own bytes: in JSON with a key twice we read the last
    one, and a vendor that reads the first would run another request than the one we priced.
    """
    body = request.body
    outgoing = {name: body[name] for name in body if name in _COPIED and body[name] is not None}
    if request.stream:
        outgoing["stream_options"] = {"include_usage": True}
    if not body.get("tools"):
        _discard(outgoing, _MEANINGLESS_WITHOUT_TOOLS)
    return outgoing


def write_body(outgoing: dict[str, Any]) -> bytes:
    """Raises InvalidRequest for a body that can be read but not written again."""
    try:
        return orjson.dumps(outgoing)
    except orjson.JSONEncodeError:  # 254 levels can be written, 1,024 can be read
        raise InvalidRequest("The body of the request is nested too deeply.") from None


def _discard(outgoing: dict[str, Any], names: Collection[str]) -> None:
    for name in names:
        outgoing.pop(name, None)
