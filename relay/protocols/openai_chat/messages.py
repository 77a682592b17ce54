"""What a message may hold, role by role, and in which order tool calls and answers come."""

from collections.abc import Mapping
from typing import Any

from relay.protocols.openai_chat.checks import (
    Check,
    Violation,
    array,
    limited_string,
    missing,
    one_of,
    record,
    reject_value,
    string,
    string_or,
    variant,
)

TOOL_NAME = limited_string(longest=64, pattern="[A-Za-z0-9_-]{1,64}")


def _image_url(value: Any) -> None:
    """Only addresses a vendor can fetch, or the image itself."""
    string(value)
    if not value.startswith(("https://", "http://", "data:")):
        reject_value("expected an http(s) address or a data URL.")


_INLINE_FILE = record({"file_data": string, "filename": string}, required=("file_data",))


def _file(value: Any) -> None:
    """A file id belongs to our account at one vendor: it could open another customer's file."""
    if type(value) is dict and value.get("file_id") is not None:
        raise Violation("unsupported_parameter", ": send the file itself as 'file_data'.", path=".file_id")
    _INLINE_FILE(value)


_TEXT_PART = record({"text": string}, required=("text",))
_REFUSAL_PART = record({"refusal": string}, required=("refusal",))
_IMAGE_PART = record(
    {
        "image_url": record(
            {"url": _image_url, "detail": one_of("auto", "low", "high", "original")},
            required=("url",),
        )
    },
    required=("image_url",),
)
_AUDIO_PART = record(
    {"input_audio": record({"data": string, "format": one_of("wav", "mp3")}, required=("data", "format"))},
    required=("input_audio",),
)
_FILE_PART = record({"file": _file}, required=("file",))


def _content(parts: Mapping[str, Check]) -> Check:
    return string_or(list, array(variant("type", parts)))


TEXT_CONTENT = _content({"text": _TEXT_PART})
_USER_CONTENT = _content(
    {
        "text": _TEXT_PART,
        "image_url": _IMAGE_PART,
        "input_audio": _AUDIO_PART,
        "file": _FILE_PART,
    }
)
_ASSISTANT_CONTENT = _content({"text": _TEXT_PART, "refusal": _REFUSAL_PART})

# Arguments are what a model wrote and need not be JSON: they stay unread text.
_CALLED_FUNCTION = record({"name": string, "arguments": string}, required=("name", "arguments"))
_TOOL_CALL = variant(
    "type",
    {
        "function": record({"id": string, "function": _CALLED_FUNCTION}, required=("id", "function")),
        "custom": record(
            {
                "id": string,
                "custom": record({"name": string, "input": string}, required=("name", "input")),
            },
            required=("id", "custom"),
        ),
    },
    default="function",
)
_ASSISTANT = record(
    {
        "content": _ASSISTANT_CONTENT,
        "name": string,
        "refusal": string,
        "tool_calls": array(_TOOL_CALL, longest=128),
        "function_call": _CALLED_FUNCTION,
        "audio": record({"id": string}, required=("id",)),
        "reasoning_content": string,
    }
)
_SPEAKS_WITHOUT_CONTENT = ("tool_calls", "function_call", "refusal", "audio")


def _assistant(message: Any) -> None:
    _ASSISTANT(message)
    if message.get("content") is None and not any(map(message.get, _SPEAKS_WITHOUT_CONTENT)):
        if "content" not in message:
            raise missing("content")
        raise Violation(
            "invalid_type",
            ": null is allowed only beside tool calls.",
            opening="Invalid type for",
            path=".content",
        )


def _speaker(content: Check, **more: Check) -> Check:
    return record({"content": content, "name": string, **more}, required=("content", *more))


_ROLES: Mapping[str, Check] = {
    "developer": _speaker(TEXT_CONTENT),
    "system": _speaker(TEXT_CONTENT),
    "user": _speaker(_USER_CONTENT),
    "assistant": _assistant,
    "tool": _speaker(TEXT_CONTENT, tool_call_id=string),
    "function": record({"content": string, "name": string}, required=("name",)),
}
_MESSAGE = variant("role", _ROLES)
_MESSAGES = array(_MESSAGE, shortest=1)


def check_messages(messages: Any) -> None:
    _MESSAGES(messages)
    _check_tool_order(messages)


def _check_tool_order(messages: list[dict[str, Any]]) -> None:
    """The messages right behind tool calls answer each of them, in any order."""
    open_calls: list[str] = []
    for index, message in enumerate(messages):
        role = message["role"]
        if role == "tool":
            _close_call(open_calls, message["tool_call_id"], index)
        elif open_calls:
            raise _unanswered(open_calls, index)
        elif role == "assistant" and message.get("tool_calls"):
            open_calls = [call["id"] for call in message["tool_calls"]]
    if open_calls:
        raise _unanswered(open_calls, len(messages) - 1)


def _close_call(open_calls: list[str], call_id: str, index: int) -> None:
    if call_id not in open_calls:
        raise Violation(
            None,
            ": a 'tool' message must answer a tool call of the assistant message before it.",
            path=f".[{index}].role",
        )
    open_calls.remove(call_id)


def _unanswered(open_calls: list[str], index: int) -> Violation:
    listed = ", ".join(open_calls[:8])[:200]
    return Violation(
        None,
        f": these tool calls of the assistant must be answered by 'tool' messages first: {listed}.",
        path=f".[{index}].role",
    )
