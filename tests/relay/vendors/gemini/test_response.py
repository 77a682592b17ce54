"""Whole answers of the vendor as a customer gets them."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from billing.contracts import TokenUsage
from relay.errors import RelayError, UpstreamFailed, UpstreamUnavailable
from relay.vendors.gemini import translate_answer
from tests.relay.vendors.gemini.transcripts import FRAME, said, whole

CALL = {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "AAA="}


def choice(*parts: dict[str, Any], reason: str | None = "STOP", **more: Any) -> dict[str, Any]:
    (found,) = whole(said(*parts, reason=reason, **more))["choices"]
    return dict(found)


def test_a_plain_answer() -> None:
    answer = whole(said({"text": "Hi "}, {"text": "you"}, reason="STOP"))
    assert answer == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1764000000,
        "model": "gemini-x",
        "system_fingerprint": None,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hi you", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 7,
            "completion_tokens": 3,
            "total_tokens": 10,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    }


def test_calls_have_null_content_and_signatures_are_remembered() -> None:
    payload = orjson.dumps(said(CALL, {"functionCall": {"name": "g"}}, reason="STOP"))
    answer = translate_answer(payload, FRAME)
    message = orjson.loads(answer.body)["choices"][0]["message"]
    assert message["content"] is None
    assert [call["function"]["name"] for call in message["tool_calls"]] == ["f", "g"]
    assert answer.finish_reasons == ("tool_calls",)
    assert answer.remember == {"call_chatcmpl-1_0_0": {"model": "gemini-x", "signature": "AAA="}}


def test_text_beside_calls_is_kept() -> None:
    message = choice({"text": "Let me see."}, CALL)["message"]
    assert message["content"] == "Let me see."
    assert len(message["tool_calls"]) == 1


def test_thoughts_are_reasoning() -> None:
    message = choice({"text": "hm", "thought": True}, {"text": "a"})["message"]
    assert (message["content"], message["reasoning_content"]) == ("a", "hm")


def test_arguments_keep_their_numbers_and_letters() -> None:
    payload = (
        b'{"candidates":[{"content":{"parts":[{"text":"x"},{"functionCall":{"name":"f","args":'
        b'{"a":1.10,"b":123456789012345678901,"c":"\xc3\xa9","d":[1e2,null,true]}}}]},"finishReason":"STOP"}]}'
    )
    message = orjson.loads(translate_answer(payload, FRAME).body)["choices"][0]["message"]
    written = '{"a":1.10,"b":123456789012345678901,"c":"é","d":[1e2,null,true]}'
    assert message["tool_calls"][0]["function"]["arguments"] == written


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("FINISH_REASON_UNSPECIFIED", "stop"),
        (None, "stop"),
        ("OTHER", "stop"),
        ("MALFORMED_FUNCTION_CALL", "stop"),
    ],
)
def test_finish_reasons(reason: str | None, told: str) -> None:
    assert choice({"text": "a"}, reason=reason)["finish_reason"] == told


def test_a_call_that_was_cut_off_says_so() -> None:
    assert choice(CALL, reason="MAX_TOKENS")["finish_reason"] == "length"


def test_a_candidate_without_content_that_was_filtered_is_a_refusal() -> None:
    found = choice(reason="SAFETY")
    assert found["finish_reason"] == "content_filter"
    assert found["message"]["refusal"]
    assert found["message"]["content"] == ""


def test_a_blocked_prompt_bills_what_was_reported_and_nothing_else() -> None:
    feedback = {"blockReason": "SAFETY", "safetyRatings": []}
    counted = translate_answer(
        orjson.dumps({"promptFeedback": feedback, "usageMetadata": {"promptTokenCount": 9}}), FRAME
    )
    assert counted.usage == TokenUsage(input_tokens=9)
    assert counted.finish_reasons == ("content_filter",)
    uncounted = translate_answer(orjson.dumps({"promptFeedback": feedback}), FRAME)
    assert uncounted.usage == TokenUsage()
    assert orjson.loads(uncounted.body)["choices"][0]["message"]["refusal"]


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"candidates": []},
        {"candidates": [], "promptFeedback": {"safetyRatings": []}},
        {"candidates": [7]},
        {"candidates": {}},
        said(reason="MALFORMED_FUNCTION_CALL"),
        said(reason="OTHER"),
        said({"text": "hm", "thought": True}, reason="UNEXPECTED_TOOL_CALL"),
    ],
)
def test_an_empty_200_is_an_error(raw: dict[str, Any]) -> None:
    with pytest.raises(UpstreamFailed):
        translate_answer(orjson.dumps(raw), FRAME)


def test_an_error_inside_a_200() -> None:
    for payload in (b'{"error":{"code":503}}', b'[{"error":{"code":503}}]'):
        with pytest.raises(UpstreamUnavailable):
            translate_answer(payload, FRAME)


@pytest.mark.parametrize("payload", [b"", b"<html>", b"[]", b"7", b"\xff"])
def test_no_answer_at_all(payload: bytes) -> None:
    with pytest.raises(RelayError):
        translate_answer(payload, FRAME)


def test_several_choices_in_order_whatever_order_they_came_in() -> None:
    raw = {
        "candidates": [
            {"index": 1, "content": {"parts": [{"text": "b"}]}, "finishReason": "STOP"},
            {"content": {"parts": [{"text": "a"}]}, "finishReason": "MAX_TOKENS", "index": 0},
        ]
    }
    answer = whole(raw)
    assert [c["message"]["content"] for c in answer["choices"]] == ["a", "b"]
    assert [c["finish_reason"] for c in answer["choices"]] == ["length", "stop"]
    assert "usage" not in answer


def test_log_probabilities() -> None:
    result = {
        "chosenCandidates": [{"token": "a", "logProbability": -0.5}, {"token": "b"}],
        "topCandidates": [{"candidates": [{"token": "a", "logProbability": -0.5}]}],
    }
    raw = said({"text": "ab"}, reason="STOP")
    raw["candidates"][0]["logprobsResult"] = result
    logprobs = whole(raw)["choices"][0]["logprobs"]
    assert logprobs["refusal"] is None
    assert [entry["logprob"] for entry in logprobs["content"]] == [-0.5, 0.0]
    assert [len(entry["top_logprobs"]) for entry in logprobs["content"]] == [1, 0]


def test_sources_in_a_text_that_is_not_ascii_span_all_of_it() -> None:
    raw = said({"text": "é and more"}, reason="STOP")
    sources = [{"startIndex": 3, "endIndex": 6, "uri": "https://a.example", "title": "A"}, {"license": "x"}]
    raw["candidates"][0]["citationMetadata"] = {"citations": sources}
    (note,) = whole(raw)["choices"][0]["message"]["annotations"]
    assert note["url_citation"] == {
        "start_index": 0,
        "end_index": 10,
        "url": "https://a.example",
        "title": "A",
    }


def test_json_text_and_the_deprecated_form() -> None:
    fenced = said({"text": 'Here:\n```json\n{"a":1}\n```'}, reason="STOP")
    answer = whole(fenced, frame=replace(FRAME, json_text=True))
    assert answer["choices"][0]["message"]["content"] == '{"a":1}'
    called = whole(said(CALL, reason="STOP"), frame=replace(FRAME, function_form=True))["choices"][0]
    assert called["finish_reason"] == "function_call"
    assert called["message"]["function_call"] == {"name": "f", "arguments": '{"a":1}'}
    assert "tool_calls" not in called["message"]
