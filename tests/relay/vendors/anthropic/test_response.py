"""Whole answers of the vendor, as clients get them."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from openai.types.chat import ChatCompletion

from billing.contracts import TokenUsage
from relay.contracts import AnswerFrame, ChatAnswer
from relay.errors import UpstreamFailed, UpstreamUnavailable
from relay.vendors.anthropic import translate_answer
from tests.relay.vendors.anthropic.transcripts import FRAME

USAGE = {"input_tokens": 10, "output_tokens": 5}


def answer(*content: dict[str, Any], frame: AnswerFrame = FRAME, **more: Any) -> ChatAnswer:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x-20260101",
        "content": list(content),
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": USAGE,
    }
    return translate_answer(orjson.dumps({**message, **more}), frame)


def message(*content: dict[str, Any], frame: AnswerFrame = FRAME, **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(answer(*content, frame=frame, **more).body)
    said: dict[str, Any] = body["choices"][0]["message"]
    return said


def text(value: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": value, **more}


def call(name: str = "f", **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{name}", "name": name, "input": arguments}


def test_a_plain_answer_is_one_of_ours() -> None:
    given = answer(text("Hello "), text("you"))
    assert orjson.loads(given.body) == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1764000000,
        "model": "claude-x-20260101",
        "system_fingerprint": None,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello you", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "total_tokens": 15,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    }
    ChatCompletion.model_validate_json(given.body)
    assert given.usage == TokenUsage(input_tokens=10, output_tokens=5)
    assert (given.upstream_model, given.finish_reasons) == ("claude-x-20260101", ("stop",))
    assert (given.output_bytes, given.has_output, given.usage_clamped) == (9, True, False)


def test_text_and_calls_are_both_there() -> None:
    said = message(text("Let me see."), call("f", a=1, b="ü日"), call("g"), stop_reason="tool_use")
    assert said["content"] == "Let me see."
    assert said["tool_calls"] == [
        {"id": "toolu_f", "type": "function", "function": {"name": "f", "arguments": '{"a":1,"b":"ü日"}'}},
        {"id": "toolu_g", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]


def test_an_answer_of_calls_has_no_content_and_one_of_text_no_calls() -> None:
    assert message(call())["content"] is None
    assert "tool_calls" not in message(text("x"))
    assert message()["content"] == ""


def test_calls_never_end_in_stop() -> None:
    assert answer(call(), stop_reason="end_turn").finish_reasons == ("tool_calls",)
    assert answer(call(), stop_reason="max_tokens").finish_reasons == ("length",)


@pytest.mark.parametrize(
    "number", ["1.10", "12345678901234567890123", "1e5", "0.1000000000000000055511151231", "-3"]
)
def test_numbers_of_arguments_stay_as_the_model_wrote_them(number: str) -> None:
    inputs = f'{{"a":[{{"b":{number}}}],"ä":"\\u00e4\\n","c":true,"d":null}}'
    payload = (
        '{"type":"message","model":"m","content":[{"type":"text","text":"x"},'
        f'{{"type":"tool_use","id":"t","name":"f","input":{inputs}}}],'
        '"stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":2}}'
    ).encode()
    body = orjson.loads(translate_answer(payload, FRAME).body)
    arguments = body["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
    assert arguments == f'{{"a":[{{"b":{number}}}],"ä":"ä\\n","c":true,"d":null}}'


def test_thinking_is_shown_and_remembered_by_call() -> None:
    thinking = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln+/="}
    redacted = {"type": "redacted_thinking", "data": "ZGF0YQ=="}
    given = answer(thinking, redacted, call("f"), call("g"), stop_reason="tool_use")
    said = orjson.loads(given.body)["choices"][0]["message"]
    assert said["reasoning_content"] == "Hm."
    assert said["thinking_blocks"] == [{**thinking, "model": "claude-x"}, {**redacted, "model": "claude-x"}]
    entry = {"model": "claude-x", "blocks": [thinking, redacted]}
    assert given.remember == {"toolu_f": entry, "toolu_g": entry}


def test_without_thinking_there_is_nothing_to_remember() -> None:
    assert answer(call()).remember == {}


def test_a_refusal_says_why() -> None:
    details = {"category": "bio", "explanation": "Not this."}
    said = message(text("I"), stop_reason="refusal", stop_details=details)
    assert (said["content"], said["refusal"]) == ("I", "Not this.")
    assert answer(stop_reason="refusal").finish_reasons == ("content_filter",)
    assert message(stop_reason="refusal", stop_details=None)["refusal"] == "The model declined to answer."


def test_the_json_tool_becomes_the_content() -> None:
    frame = replace(FRAME, json_tool="json_response")
    given = answer(text("Sure: "), call("json_response", a=1), stop_reason="tool_use", frame=frame)
    said = orjson.loads(given.body)["choices"][0]["message"]
    assert said == {"role": "assistant", "content": '{"a":1}', "refusal": None}
    assert given.finish_reasons == ("stop",)


@pytest.mark.parametrize(
    ("written", "content"),
    [
        ('```json\n{"a":1}\n```', '{"a":1}'),
        ('Here:\n{"a":"}"} Bye.', '{"a":"}"}'),
        ('{"a":1}', '{"a":1}'),
        ("I will not.", "I will not."),
    ],
)
def test_fences_and_prose_around_json_are_cut_off(written: str, content: str) -> None:
    assert message(text(written), frame=replace(FRAME, json_text=True))["content"] == content
    assert message(text(written))["content"] == written


def test_names_that_were_changed_come_back() -> None:
    said = message(call("f"), frame=replace(FRAME, tool_names={"f": "a.f"}))
    assert said["tool_calls"][0]["function"]["name"] == "a.f"


def test_citations_become_annotations() -> None:
    cited = text("it is so", citations=[{"url": "https://a.example/", "title": None}, {"type": "?"}, None])
    (annotation,) = message(text("See: "), cited)["annotations"]
    assert annotation["url_citation"] == {
        "start_index": 5, "end_index": 13, "url": "https://a.example/", "title": "https://a.example/",
    }  # fmt: skip


def test_a_call_without_id_gets_one() -> None:
    said = message({**call(), "id": None})
    assert said["tool_calls"][0]["id"].startswith("call_")


@pytest.mark.parametrize(
    "payload",
    [b"", b"<html>Bad gateway</html>", b"[]", b"null", b"{}", b'{"type":"message","content":"x"}'],
)
def test_what_is_no_answer_is_a_failure_of_the_vendor(payload: bytes) -> None:
    with pytest.raises(UpstreamFailed):
        translate_answer(payload, FRAME)


def test_an_error_with_status_200_is_an_error() -> None:
    payload = b'{"type":"error","error":{"type":"overloaded_error","message":"org_x1234"}}'
    with pytest.raises(UpstreamUnavailable):
        translate_answer(payload, FRAME)


@pytest.mark.parametrize(
    "block",
    [
        None,
        1,
        {},
        {"type": None},
        {"type": "text"},
        {"type": "tool_use"},
        {"type": "thinking"},
        {"type": "new"},
    ],
)
def test_blocks_that_mean_nothing_do_no_harm(block: Any) -> None:
    assert isinstance(answer(block, text("x")), ChatAnswer)


def nested(levels: int, number: str) -> bytes:
    deep = '{"a":' * levels + number + "}" * levels
    return f'{{"content":[{{"type":"tool_use","id":"t","name":"f","input":{deep}}}]}}'.encode()


def test_arguments_nested_deeply_pass_or_are_a_failure_of_the_vendor() -> None:
    assert translate_answer(nested(200, "1.5"), FRAME).finish_reasons == ("tool_calls",)
    for payload in (nested(400, "1"), nested(990, "1.5"), nested(5_000, "1")):
        with pytest.raises(UpstreamFailed):
            translate_answer(payload, FRAME)


def test_without_usage_there_is_none() -> None:
    given = answer(text("x"), usage=None)
    assert given.usage is None
    assert "usage" not in orjson.loads(given.body)


def test_the_tier_that_was_used() -> None:
    assert answer(text("x"), usage={**USAGE, "service_tier": "standard"}).service_tier == "default"
    assert answer(text("x")).service_tier == ""
