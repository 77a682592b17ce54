from typing import Any

import orjson
import pytest

from relay.errors import InvalidRequest
from relay.protocols.openai_chat.request import parse_request

PIXEL = "data:image/png;base64,iVBORw0KGgo="
USER = {"role": "user", "content": "hi"}


def call(call_id: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": "f", "arguments": "{}"}}


def calls(*ids: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": [call(call_id) for call_id in ids], **more}


def answer(call_id: str, content: Any = "42") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def accept(*messages: Any) -> None:
    parse_request(orjson.dumps({"model": "gpt-4o", "messages": messages}))


def refusal(*messages: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        accept(*messages)
    return caught.value


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "developer", "content": "be brief"}, USER],
        [{"role": "system", "content": [{"type": "text", "text": "be brief"}], "name": "s"}, USER],
        [{"role": "user", "content": "", "name": "bob"}],
        [user({"type": "text", "text": "what is this"}, {"type": "image_url", "image_url": {"url": PIXEL}})],
        [user({"type": "image_url", "image_url": {"url": "https://a.example/b.png", "detail": "high"}})],
        [user({"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}})],
        [user({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:a/pdf;base64,JVBE"}})],
        [USER, {"role": "assistant", "content": "hello", "reasoning_content": "greeting"}],
        [USER, {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}],
        [USER, {"role": "assistant", "content": None, "refusal": "no"}],
        [USER, {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{"}}],
        [USER, {"role": "function", "name": "f", "content": "42"}],
        [USER, {"role": "function", "name": "f", "content": None}],
        [USER, calls("a"), answer("a")],
        [USER, calls("a", content=None), answer("a")],
        [USER, calls("a", content="", unknown=1), answer("a", [{"type": "text", "text": "42"}])],
        [USER, {"role": "assistant", "content": "x", "tool_calls": []}],
        [USER, {"role": "assistant", "content": "x", "tool_calls": None, "name": None}],
    ],
)  # fmt: skip
def test_messages_of_every_role_are_accepted(messages: list[Any]) -> None:
    accept(*messages)


@pytest.mark.parametrize(
    ("message", "reason", "param"),
    [
        ("hi", "invalid_type", "messages[1]"),
        ({"content": "hi"}, "missing_required_parameter", "messages[1].role"),
        ({"role": "robot", "content": "hi"}, "invalid_value", "messages[1].role"),
        ({"role": ["user"], "content": "hi"}, "invalid_type", "messages[1].role"),
        ({"role": None, "content": "hi"}, "invalid_type", "messages[1].role"),
        ({"role": "user"}, "missing_required_parameter", "messages[1].content"),
        ({"role": "user", "content": 5}, "invalid_type", "messages[1].content"),
        ({"role": "user", "content": None}, "invalid_type", "messages[1].content"),
        ({"role": "user", "content": "x", "name": 5}, "invalid_type", "messages[1].name"),
        (user("hi"), "invalid_type", "messages[1].content[0]"),
        (user({"text": "hi"}), "missing_required_parameter", "messages[1].content[0].type"),
        (user({"type": "video"}), "invalid_value", "messages[1].content[0].type"),
        (user({"type": "refusal", "refusal": "x"}), "invalid_value", "messages[1].content[0].type"),
        (user({"type": "text"}), "missing_required_parameter", "messages[1].content[0].text"),
        (
            user({"type": "text", "text": "a"}, {"type": "image_url", "image_url": PIXEL}),
            "invalid_type",
            "messages[1].content[1].image_url",
        ),
        (
            user({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}),
            "invalid_value",
            "messages[1].content[0].image_url.url",
        ),
        (
            user({"type": "image_url", "image_url": {"url": PIXEL, "detail": "huge"}}),
            "invalid_value",
            "messages[1].content[0].image_url.detail",
        ),
        (
            user({"type": "input_audio", "input_audio": {"data": "x", "format": "ogg"}}),
            "invalid_value",
            "messages[1].content[0].input_audio.format",
        ),
        (
            user({"type": "file", "file": {"file_id": "file-1"}}),
            "unsupported_parameter",
            "messages[1].content[0].file.file_id",
        ),
        (
            user({"type": "file", "file": {"filename": "a.pdf"}}),
            "missing_required_parameter",
            "messages[1].content[0].file.file_data",
        ),
        (
            {"role": "system", "content": [{"type": "image_url", "image_url": {"url": PIXEL}}]},
            "invalid_value",
            "messages[1].content[0].type",
        ),
        ({"role": "assistant"}, "missing_required_parameter", "messages[1].content"),
        ({"role": "assistant", "content": None}, "invalid_type", "messages[1].content"),
        (
            {"role": "assistant", "content": None, "tool_calls": []},
            "invalid_type",
            "messages[1].content",
        ),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]},
            "missing_required_parameter",
            "messages[1].tool_calls[0].id",
        ),
        (
            {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f"}}]},
            "missing_required_parameter",
            "messages[1].tool_calls[0].function.arguments",
        ),
        (
            calls(*[str(number) for number in range(129)]),
            "array_above_max_length",
            "messages[1].tool_calls",
        ),
        (
            {"role": "tool", "content": "42"},
            "missing_required_parameter",
            "messages[1].tool_call_id",
        ),
        ({"role": "function", "content": "42"}, "missing_required_parameter", "messages[1].name"),
    ],
)
def test_what_is_wrong_with_a_message_is_named(message: Any, reason: str, param: str) -> None:
    error = refusal(USER, message)
    assert (error.reason, error.param) == (reason, param)


def test_answers_to_tool_calls_come_in_any_order() -> None:
    accept(USER, calls("a", "b"), answer("b"), answer("a"), USER, calls("a"), answer("a"))


def test_a_repeated_call_id_wants_as_many_answers() -> None:
    accept(USER, calls("a", "a"), answer("a"), answer("a"))
    assert refusal(USER, calls("a", "a"), answer("a"), USER).param == "messages.[3].role"


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([USER, calls("a")], "messages.[1].role"),
        ([USER, calls("a"), USER], "messages.[2].role"),
        ([USER, calls("a", "b"), answer("a")], "messages.[2].role"),
        ([USER, calls("a", "b"), answer("a"), USER, answer("b")], "messages.[3].role"),
        ([USER, calls("a"), calls("b"), answer("b")], "messages.[2].role"),
        ([answer("a")], "messages.[0].role"),
        ([USER, calls("a"), answer("b")], "messages.[2].role"),
        ([USER, calls("a"), answer("a"), answer("a")], "messages.[3].role"),
    ],
)
def test_tool_calls_and_answers_out_of_order_are_refused(messages: list[Any], param: str) -> None:
    error = refusal(*messages)
    assert (error.wire_code, error.param) == (None, param)
