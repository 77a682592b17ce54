from typing import Any

import orjson
import pytest
from openai.types.chat import ChatCompletion

from billing.contracts import TokenUsage
from relay.contracts import ChatAnswer
from relay.errors import UpstreamFailed, envelope
from relay.protocols.openai_chat.response import add_usage, translate_response

USAGE = {"prompt_tokens": 28, "completion_tokens": 120, "total_tokens": 148}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}


def translate(payload: bytes) -> ChatAnswer:
    return translate_response(
        payload, completion_id="chatcmpl-ours", created=1_764_000_000, model_fallback="gpt-4o"
    )


def answer(*choices: Any, **fields: Any) -> tuple[ChatAnswer, dict[str, Any]]:
    raw = {
        "id": "cmpl-vendor",
        "object": "text",
        "created": 1,
        "model": "gpt-4o-2024-08-06",
        "choices": choices,
        "usage": USAGE,
        **fields,
    }
    translated = translate(orjson.dumps(raw))
    return translated, orjson.loads(translated.body)


def choice(message: Any, finish_reason: Any = "stop", **fields: Any) -> dict[str, Any]:
    return {"index": 0, "message": message, "finish_reason": finish_reason, **fields}


def said(message: Any, finish_reason: Any = "stop") -> tuple[dict[str, Any], str]:
    _, body = answer(choice(message, finish_reason))
    ChatCompletion.model_validate(body)
    return body["choices"][0]["message"], body["choices"][0]["finish_reason"]


def test_an_answer_has_the_documented_fields() -> None:
    translated, body = answer(choice({"role": "assistant", "content": "hi"}), system_fingerprint="fp_1")
    assert body == {
        "id": "chatcmpl-ours",
        "object": "chat.completion",
        "created": 1_764_000_000,
        "model": "gpt-4o-2024-08-06",
        "system_fingerprint": "fp_1",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "hi", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            **USAGE,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    }
    assert translated.usage == TokenUsage(input_tokens=28, output_tokens=120)
    assert (translated.upstream_model, translated.finish_reasons) == ("gpt-4o-2024-08-06", ("stop",))
    assert (translated.has_output, translated.output_bytes) == (True, 2)


def test_a_missing_model_and_fingerprint_have_stand_ins() -> None:
    translated, body = answer(choice({"content": "hi"}), model="", system_fingerprint=7)
    assert (body["model"], translated.upstream_model) == ("gpt-4o", "gpt-4o")
    assert body["system_fingerprint"] is None


def test_blank_lines_before_the_body_are_keep_alives() -> None:
    raw = orjson.dumps({"choices": [choice({"content": "hi"})]})
    assert translate(b"\n\n  \n" + raw).has_output


def test_a_vendors_own_keys_stay_behind() -> None:
    _, body = answer(
        choice(
            {"role": "model", "content": "hi", "reasoning_details": [], "prefix": True},
            content_filter_results={"hate": {}},
            native_finish_reason="STOP",
        ),
        prompt_filter_results=[{}],
        x_groq={},
        service_tier="default",
    )
    assert body.keys() == {
        "id", "object", "created", "model", "service_tier", "system_fingerprint", "choices", "usage",
    }  # fmt: skip
    assert body["choices"][0].keys() == {"index", "message", "logprobs", "finish_reason"}
    assert body["choices"][0]["message"] == {
        "role": "assistant",
        "content": "hi",
        "refusal": None,
    }


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_has_one_name(name: str) -> None:
    message, _ = said({"content": "4", name: "2+2"})
    assert message["reasoning_content"] == "2+2"
    assert "reasoning" not in message


def test_tool_calls_are_kept_beside_text() -> None:
    message, reason = said({"content": "let me see", "tool_calls": [CALL]}, "tool_calls")
    assert message["content"] == "let me see"
    assert message["tool_calls"] == [CALL]
    assert reason == "tool_calls"


def test_the_content_key_is_there_beside_tool_calls_too() -> None:
    message, _ = said({"tool_calls": [CALL]}, "tool_calls")
    assert message["content"] is None


def test_empty_tool_calls_are_left_out() -> None:
    message, reason = said({"content": "hi", "tool_calls": []}, "tool_calls")
    assert "tool_calls" not in message
    assert reason == "stop"


def test_what_a_tool_call_lacks_is_made_up_for() -> None:
    message, _ = said({"tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]})
    [call] = message["tool_calls"]
    assert call["id"].startswith("call_")
    assert call["type"] == "function"
    assert call["function"] == {"name": "f", "arguments": '{"a":1}'}
    message, _ = said({"tool_calls": [{"id": "x", "function": {"name": "f"}}]})
    assert message["tool_calls"][0]["function"]["arguments"] == "{}"


def test_custom_tool_calls_keep_their_input() -> None:
    custom = {"id": "c", "type": "custom", "custom": {"name": "sh", "input": "ls -l"}}
    message, _ = said({"tool_calls": [custom]})
    assert message["tool_calls"] == [custom]


def test_arguments_that_are_no_json_are_passed_on() -> None:
    broken = {**CALL, "function": {"name": "f", "arguments": '{"a": '}}
    message, _ = said({"tool_calls": [broken]})
    assert message["tool_calls"] == [broken]


def test_a_refusal_and_annotations_and_audio_are_kept() -> None:
    extras = {
        "refusal": "no",
        "annotations": [
            {
                "type": "url_citation",
                "url_citation": {"start_index": 0, "end_index": 1, "url": "u", "title": "t"},
            }
        ],
        "audio": {"id": "a", "expires_at": 1, "data": "UklG", "transcript": "hi"},
    }
    message, _ = said({"content": None, **extras})
    assert {name: message[name] for name in extras} == extras


def test_content_in_parts_is_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "thinking"}, {"type": "text", "text": "b"}]
    assert said({"content": parts})[0]["content"] == "ab"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        ("eos_token", "stop"),
        ("stop_sequence", "stop"),
        ("STOP", "stop"),
        ("something new", "stop"),
        (None, "stop"),
        ("", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("abort", "length"),
        ("insufficient_system_resource", "length"),
        ("content_filter", "content_filter"),
        ("tool_calls", "stop"),
    ],
)
def test_finish_reasons_without_tool_calls(theirs: Any, ours: str) -> None:
    assert said({"content": "hi"}, theirs)[1] == ours


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("stop", "tool_calls"),
        ("", "tool_calls"),
        (None, "tool_calls"),
        ("tool_calls", "tool_calls"),
        ("length", "length"),
        ("content_filter", "content_filter"),
    ],
)
def test_finish_reasons_with_tool_calls(theirs: Any, ours: str) -> None:
    assert said({"content": "", "tool_calls": [CALL]}, theirs)[1] == ours


@pytest.mark.parametrize("theirs", ["function_call", "", None])
def test_a_legacy_function_call_keeps_its_finish_reason(theirs: Any) -> None:
    message, reason = said({"content": None, "function_call": {"name": "f", "arguments": "{}"}}, theirs)
    assert message["function_call"] == {"name": "f", "arguments": "{}"}
    assert reason == "function_call"


def test_several_choices_keep_their_order() -> None:
    translated, body = answer(
        {"message": {"content": "a"}, "finish_reason": "stop"},
        {"message": {"content": "深度"}, "finish_reason": "length"},
    )
    assert [entry["index"] for entry in body["choices"]] == [0, 1]
    assert translated.finish_reasons == ("stop", "length")
    assert translated.output_bytes == 7


def test_logprobs_are_kept() -> None:
    logprobs = {"content": [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}]}
    _, body = answer(choice({"content": "a"}, logprobs=logprobs))
    assert body["choices"][0]["logprobs"] == logprobs


def test_an_empty_answer_has_no_output() -> None:
    translated, _ = answer(choice({"content": ""}))
    assert (translated.has_output, translated.output_bytes) == (False, 0)


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": None}, "none"])
def test_without_a_report_the_body_waits_for_the_settled_usage(usage: Any) -> None:
    translated, body = answer(choice({"content": "hi"}), usage=usage)
    assert translated.usage is None
    assert "usage" not in body
    settled = orjson.loads(add_usage(translated.body, TokenUsage(input_tokens=3, output_tokens=1)))
    assert settled["usage"]["total_tokens"] == 4
    assert {**body, "usage": settled["usage"]} == settled


def test_an_explicit_zero_is_a_report() -> None:
    zero = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    assert answer(choice({"content": "hi"}), usage=zero)[0].usage == TokenUsage()


def test_a_corrected_report_is_flagged() -> None:
    usage = {"prompt_tokens": -4, "completion_tokens": 2}
    assert answer(choice({"content": "hi"}), usage=usage)[0].usage_clamped


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"<html><h1>502 Bad Gateway</h1></html>",
        b'{"choices":[',
        b"[]",
        b"null",
        b"{}",
        b'{"choices":[]}',
        b'{"choices":null}',
        b'{"choices":{"0":1}}',
        b'{"choices":["text"]}',
        b'{"choices":[{"text":"completion"}]}',
        b'{"choices":[{"message":"hi"}]}',
        b'{"choices":[{"message":{"tool_calls":["f"]}}]}',
        b'{"choices":[{"message":{"tool_calls":[{"function":"f"}]}}]}',
        b'{"choices":[{"message":{"content":""},"finish_reason":"error"}]}',
        b'{"choices":[{"message":{"content":""},"error":{"code":502}}]}',
        b'{"detail":"Not Found"}',
        b'{"object":"error","message":"sk-secret is out of credit","code":401}',
        b'{"error":{"message":"org-123 has no credit","code":402}}',
        b'{"code":"x","error":"sk-secret is wrong"}',
        b'{"error":{"message":"late"},"choices":[{"message":{"content":"hi"}}]}',
    ],
)
def test_what_is_no_answer_is_the_vendors_failure(payload: bytes) -> None:
    with pytest.raises(UpstreamFailed) as caught:
        translate(payload)
    told = orjson.dumps(envelope(caught.value)).decode()
    assert caught.value.http_status == 502
    assert "secret" not in told
    assert "org-123" not in told


def test_an_answer_too_deep_to_be_written_is_the_vendors_failure() -> None:
    nested = b"[" * 300 + b"]" * 300
    with pytest.raises(UpstreamFailed):
        translate(b'{"choices":[{"message":{"content":"a"},"logprobs":%b}]}' % nested)
