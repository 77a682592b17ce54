"""Streams of the vendor, cut anywhere, and what a client gets for each."""

import itertools
import random
from dataclasses import replace
from typing import Any

import orjson
import pytest

from billing.contracts import TokenUsage
from relay.errors import RelayError, UpstreamFailed, UpstreamLimited, UpstreamTimedOut, UpstreamUnavailable
from relay.vendors.gemini import GeminiStreamTranslator, JsonArraySplitter, translate_answer
from tests.relay.vendors.gemini.transcripts import (
    ALL,
    BLOCKED,
    CALLS,
    CALLS_APART,
    CHOICES,
    FRAME,
    OVERLOADED,
    RECITED,
    TEXT,
    Played,
    as_array,
    said,
    stream,
)


def without_indices(message: dict[str, Any]) -> dict[str, Any]:
    """A streamed message; what it has lists of carries places there."""
    for name in ("tool_calls", "annotations"):
        for entry in message.get(name, ()):
            del entry["index"]
    return message


# The same however it is cut


@pytest.mark.parametrize("name", ALL)
def test_byte_by_byte(name: str) -> None:
    data = ALL[name]
    assert Played(*(bytes([byte]) for byte in data)).bytes == Played(data).bytes


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("name", ALL)
def test_random_splits(name: str, seed: int) -> None:
    data = ALL[name]
    cuts = [0, *sorted(random.Random(seed).sample(range(1, len(data)), 20)), len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(cuts)]
    assert Played(*pieces).bytes == Played(data).bytes


@pytest.mark.parametrize("name", ALL)
def test_plain_line_ends_and_comments(name: str) -> None:
    strange = b": hello\n\n" + ALL[name].replace(b"\r\n", b"\n")
    assert Played(strange).bytes == Played(ALL[name]).bytes


@pytest.mark.parametrize("name", ALL)
def test_a_whole_answer_says_the_same(name: str) -> None:
    streamed = Played(ALL[name])
    answer = orjson.loads(translate_answer(as_array(ALL[name]), FRAME).body)
    (choice, *_) = answer["choices"]
    assert choice["finish_reason"] == streamed.completion.choices[0].finish_reason
    told = {name: value for name, value in choice["message"].items() if value is not None}
    heard = without_indices(streamed.message)
    assert (told.pop("content", None) or "") == (heard.pop("content", None) or "")
    assert told == heard
    assert answer["usage"] == streamed.chunks[-1]["usage"]
    assert {chunk["model"] for chunk in streamed.chunks} == {answer["model"]}


@pytest.mark.parametrize("step", [1, 7, 10_000])
@pytest.mark.parametrize("name", ALL)
def test_a_growing_array_instead_of_events(name: str, step: int) -> None:
    data, splitter = as_array(ALL[name]), JsonArraySplitter()
    translator = GeminiStreamTranslator(FRAME, include_usage=True)
    payloads = [p for at in range(0, len(data), step) for p in splitter.feed(data[at : at + step])]
    assert not splitter.pending
    assert not splitter.flush()
    out = b"".join(translator.feed(payload) or b"" for payload in payloads)
    assert out + translator.closing(translator.usage or TokenUsage()) == Played(ALL[name]).bytes


# What it says


def test_the_minimal_golden_stream() -> None:
    played = Played(CALLS)
    extra = {"google": {"thought_signature": "AAA=", "model": "gemini-x"}}
    ids = ["call_chatcmpl-1_0_0", "call_chatcmpl-1_0_1"]
    assert played.deltas == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "think"},
        {
            "tool_calls": [
                {
                    "index": 0,
                    "id": ids[0],
                    "type": "function",
                    "function": {"name": "f", "arguments": '{"a":1.10}'},
                    "extra_content": extra,
                }
            ]
        },
        {
            "tool_calls": [
                {"index": 1, "id": ids[1], "type": "function", "function": {"name": "g", "arguments": "{}"}}
            ]
        },
        {},
    ]
    assert played.chunks[-2]["choices"][0]["finish_reason"] == "tool_calls"
    usage = played.chunks[-1]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (7, 39, 46)
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 30
    assert played.translator.remember == {ids[0]: {"model": "gemini-x", "signature": "AAA="}}
    assert played.bytes.endswith(b"data: [DONE]\n\n")


def test_finish_reason_stop_in_a_later_event_is_still_tool_calls() -> None:
    assert Played(CALLS).translator.finish_reasons == ("tool_calls",)


def test_parallel_calls_in_one_event_or_three_are_numbered_and_told_apart() -> None:
    calls = [{"functionCall": {"name": "f", "args": {"a": n}}} for n in range(3)]
    together = Played(stream(said(*calls), said(reason="STOP"))).message["tool_calls"]
    apart = Played(stream(*(said(call) for call in calls), said(reason="STOP"))).message["tool_calls"]
    assert together == apart
    assert [call["index"] for call in together] == [0, 1, 2]
    assert len({call["id"] for call in together}) == 3


def test_the_vendors_ids_are_kept_where_they_tell_calls_apart() -> None:
    message = Played(CALLS_APART).message
    assert message["content"] == "Let me see."
    assert [call["id"] for call in message["tool_calls"]] == ["c1", "c2", "call_chatcmpl-1_0_2"]
    assert [call["function"]["arguments"] for call in message["tool_calls"]] == ['{"a":1}', '{"a":2}', "{}"]


def test_an_id_that_is_too_long_for_clients_is_replaced() -> None:
    call = {"functionCall": {"id": "x" * 65, "name": "f"}}
    (made,) = Played(stream(said(call, reason="STOP"))).message["tool_calls"]
    assert made["id"] == "call_chatcmpl-1_0_0"


def test_several_choices_with_log_probabilities() -> None:
    completion = Played(CHOICES).completion
    assert [choice.message.content for choice in completion.choices] == ["a", "b"]
    assert [choice.finish_reason for choice in completion.choices] == ["stop", "length"]
    logprobs = completion.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    (entry,) = logprobs.content
    assert (entry.token, entry.logprob, entry.bytes) == ("a", -0.5, [97])
    assert [(top.token, top.bytes) for top in entry.top_logprobs] == [("a", [97]), ("é", [195, 169])]


def test_a_blocked_prompt_is_no_success() -> None:
    played = Played(BLOCKED)
    (choice,) = played.completion.choices
    assert choice.finish_reason == "content_filter"
    assert choice.message.refusal
    assert not choice.message.content
    assert played.translator.done
    assert played.translator.usage == TokenUsage(input_tokens=12)


def test_recitation_in_the_middle_of_an_answer() -> None:
    (choice,) = Played(RECITED).completion.choices
    assert (choice.finish_reason, choice.message.content) == ("content_filter", "It was the best")
    assert choice.message.refusal is None
    (note,) = Played(RECITED).message["annotations"]
    assert note["url_citation"] == {
        "start_index": 3,
        "end_index": 15,
        "url": "https://a.example/tale",
        "title": "https://a.example/tale",
    }


def test_a_signature_on_empty_text_says_nothing() -> None:
    last = said({"text": "", "thoughtSignature": "AAA="}, reason="STOP")
    assert Played(stream(said({"text": "a"}), last)).deltas[-2:] == [{"content": "a"}, {}]


def test_several_texts_in_one_event_keep_their_order() -> None:
    parts: list[dict[str, Any]] = [{"text": "a"}, {"text": "t", "thought": True}, {"text": "b"}]
    message = Played(stream(said(*parts, reason="STOP"))).message
    assert (message["content"], message["reasoning_content"]) == ("ab", "t")


def test_the_model_that_answered_is_named() -> None:
    data = stream(said({"text": "a"}, reason="STOP", modelVersion="models/gemini-other"))
    played = Played(data)
    assert {chunk["model"] for chunk in played.chunks} == {"gemini-other"}
    assert played.translator.upstream_model == "gemini-other"


def test_names_that_were_changed_come_back() -> None:
    frame = replace(FRAME, tool_names={"tool_1": "1"})
    data = stream(said({"functionCall": {"name": "tool_1"}}, reason="STOP"))
    assert Played(data, frame=frame).message["tool_calls"][0]["function"]["name"] == "1"


def test_usage_is_hidden_unless_asked_for_and_null_until_the_end() -> None:
    hidden = Played(TEXT, include_usage=False)
    assert all("usage" not in chunk for chunk in hidden.chunks)
    shown = Played(TEXT).chunks
    assert [chunk["usage"] is None for chunk in shown] == [True] * (len(shown) - 1) + [False]
    assert shown[-1]["usage"]["prompt_tokens_details"]["cached_tokens"] == 5


def test_the_deprecated_form_of_a_call() -> None:
    frame = replace(FRAME, function_form=True)
    (choice,) = Played(CALLS, frame=frame).completion.choices
    assert choice.finish_reason == "function_call"
    assert choice.message.function_call is not None
    assert choice.message.function_call.arguments == '{"a":1.10}'


def test_json_that_was_only_asked_for_comes_without_fences() -> None:
    frame = replace(FRAME, json_text=True)
    texts = ["Sure:\n``", '`json\n{"a', '": "}"}', "\n```", " Bye."]
    data = stream(*(said({"text": text}) for text in texts), said(reason="STOP"))
    assert Played(data, frame=frame).message["content"] == '{"a": "}"}'
    prose = stream(said({"text": "I would "}), said({"text": "rather not."}, reason="STOP"))
    assert Played(prose, frame=frame).message["content"] == "I would rather not."


# How it ends

FILTERED = ["SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "LANGUAGE"]
BROKEN = ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS",
          "MISSING_THOUGHT_SIGNATURE", "MALFORMED_RESPONSE", "OTHER", "SOMETHING_NEW"]  # fmt: skip


@pytest.mark.parametrize("reason", FILTERED)
def test_filtered_answers(reason: str) -> None:
    (choice,) = Played(stream(said(reason=reason))).completion.choices
    assert choice.finish_reason == "content_filter"
    assert choice.message.refusal


@pytest.mark.parametrize("reason", BROKEN)
def test_a_broken_answer_with_nothing_in_it_is_an_error(reason: str) -> None:
    with pytest.raises(UpstreamFailed):
        Played(stream(said({"text": "hm", "thought": True}), said(reason=reason)))


@pytest.mark.parametrize("reason", BROKEN)
def test_a_broken_answer_with_something_in_it_is_one(reason: str) -> None:
    (choice,) = Played(stream(said({"text": "a"}, reason=reason))).completion.choices
    assert choice.finish_reason == "stop"


@pytest.mark.parametrize("reason", ["MAX_TOKENS"])
def test_thoughts_that_used_up_the_limit_are_a_short_answer(reason: str) -> None:
    (choice,) = Played(stream(said({"text": "hm", "thought": True}, reason=reason))).completion.choices
    assert (choice.finish_reason, choice.message.content) == ("length", "")


def test_an_end_without_a_reason_is_a_broken_answer() -> None:
    translator = Played(stream(said({"text": "a"}))).translator
    assert not translator.complete
    assert not translator.done
    assert translator.has_output


def test_one_choice_without_a_reason_keeps_the_answer_open() -> None:
    both = [{"index": 0, "finishReason": "STOP"}, {"index": 1, "content": {"parts": [{"text": "b"}]}}]
    assert not Played(stream({"candidates": both})).translator.complete


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": 503, "status": "UNAVAILABLE"}, UpstreamUnavailable),
        ({"code": 429, "status": "RESOURCE_EXHAUSTED"}, UpstreamLimited),
        ({"code": 504, "status": "DEADLINE_EXCEEDED"}, UpstreamTimedOut),
        ({"code": 500, "status": "INTERNAL"}, UpstreamFailed),
        ({"code": 503}, UpstreamUnavailable),
        ("text", UpstreamFailed),
    ],
)
def test_an_error_inside_a_stream_is_no_answer(error: Any, kind: type[RelayError]) -> None:
    with pytest.raises(kind):
        Played(stream(said({"text": "a"}), {"error": error}))


def test_what_the_vendor_said_about_an_error_stays_here() -> None:
    with pytest.raises(UpstreamUnavailable) as caught:
        Played(OVERLOADED)
    assert "123456789" not in caught.value.message


def test_text_before_an_error_in_the_same_array_is_delivered_first() -> None:
    translator = GeminiStreamTranslator(FRAME, include_usage=False)
    payload = orjson.dumps([said({"text": "a"}), {"error": {"code": 503}}])
    assert b'"a"' in (translator.feed(payload) or b"")
    assert not translator.complete
    with pytest.raises(UpstreamUnavailable):
        translator.feed(b"{}")


def test_what_was_written_before_a_break_is_counted() -> None:
    translator = GeminiStreamTranslator(FRAME, include_usage=False)
    translator.feed(orjson.dumps({**said({"text": "x" * 400}), "usageMetadata": {"promptTokenCount": 5}}))
    assert translator.usage == TokenUsage(input_tokens=5, output_tokens=100)


def test_a_report_without_a_count_keeps_the_one_before() -> None:
    first = {"promptTokenCount": 7, "candidatesTokenCount": 4, "totalTokenCount": 11}
    last = {"promptTokenCount": 7, "totalTokenCount": 11, "candidatesTokenCount": None}
    data = stream(said({"text": "a"}, usageMetadata=first), said(reason="STOP", usageMetadata=last), {"x": 1})
    assert Played(data).translator.usage == TokenUsage(input_tokens=7, output_tokens=4)


@pytest.mark.parametrize("payload", [b"nonsense", b"7", b'"x"', b"[1]", b"null"])
def test_what_cannot_be_read_is_an_error(payload: bytes) -> None:
    with pytest.raises(UpstreamFailed):
        GeminiStreamTranslator(FRAME, include_usage=False).feed(payload)


@pytest.mark.parametrize("payload", [b"", b" ", b"[]", b"{}", b'{"candidates":[]}'])
def test_what_says_nothing_says_nothing(payload: bytes) -> None:
    translator = GeminiStreamTranslator(FRAME, include_usage=False)
    assert translator.feed(payload) is None
    assert not translator.complete


def test_the_tier_that_was_used() -> None:
    usage = {"promptTokenCount": 1, "trafficType": "ON_DEMAND_PRIORITY"}
    data = stream(said({"text": "a"}, reason="STOP", usageMetadata=usage))
    assert Played(data).translator.service_tier == "priority"
    assert Played(TEXT).translator.service_tier == ""
