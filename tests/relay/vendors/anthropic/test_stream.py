"""Streams of the vendor, cut anywhere, and what a client gets for each."""

import itertools
import random
from dataclasses import replace
from typing import Any

import orjson
import pytest

from billing.contracts import TokenUsage
from relay.errors import RelayError, UpstreamFailed, UpstreamLimited, UpstreamTimedOut, UpstreamUnavailable
from relay.vendors.anthropic import AnswerCollector, AnthropicStreamTranslator
from tests.relay.vendors.anthropic.transcripts import (
    ALL,
    CITED,
    FRAME,
    JSON_TOOL,
    OVERLOADED,
    REFUSED,
    TEXT_AND_TOOL,
    THINKING,
    Played,
    block,
    collected,
    end,
    start,
    stream,
    text,
)

JSON_FRAME = replace(FRAME, json_tool="json_response")
ASKED_FRAME = replace(FRAME, json_text=True)


def frame_of(name: str) -> Any:
    return JSON_FRAME if name == "json_tool" else FRAME


def without_indices(message: dict[str, Any]) -> dict[str, Any]:
    """A streamed message; what it has lists of carries places there."""
    for name in ("tool_calls", "thinking_blocks", "annotations"):
        for entry in message.get(name, ()):
            del entry["index"]
    return message


# The same however it is cut


@pytest.mark.parametrize("name", ALL)
def test_byte_by_byte(name: str) -> None:
    data, frame = ALL[name], frame_of(name)
    whole = Played(data, frame=frame)
    assert Played(*(bytes([byte]) for byte in data), frame=frame).bytes == whole.bytes


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("name", ALL)
def test_random_splits(name: str, seed: int) -> None:
    data, frame = ALL[name], frame_of(name)
    dice = random.Random(seed)
    cuts = [0, *sorted(dice.sample(range(1, len(data)), 20)), len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(cuts)]
    assert Played(*pieces, frame=frame).bytes == Played(data, frame=frame).bytes


@pytest.mark.parametrize("name", ALL)
def test_crlf_and_comments(name: str) -> None:
    data, frame = ALL[name], frame_of(name)
    strange = b": hello\r\n\r\n" + data.replace(b"\n", b"\r\n")
    assert Played(strange, frame=frame).bytes == Played(data, frame=frame).bytes


@pytest.mark.parametrize("name", ALL)
def test_collected_it_says_the_same_as_streamed(name: str) -> None:
    data, frame = ALL[name], frame_of(name)
    streamed, whole = Played(data, frame=frame), collected(data, frame)
    choice = whole["choices"][0]
    assert choice["finish_reason"] == streamed.completion.choices[0].finish_reason
    said = {name: value for name, value in choice["message"].items() if value is not None}
    heard = without_indices(streamed.message)
    assert (said.pop("content", None) or "") == (heard.pop("content", None) or "")
    assert said == heard
    assert whole["usage"] == streamed.chunks[-1]["usage"]


# What it says


def test_the_minimal_golden_stream() -> None:
    played = Played(TEXT_AND_TOOL)
    assert played.deltas == [
        {"role": "assistant", "content": ""},
        {"content": "Hi"},
        {"content": " 世🚃"},
        {
            "tool_calls": [
                {"index": 0, "id": "toolu_1", "type": "function", "function": {"name": "f", "arguments": ""}}
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":1'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ".10}"}}]},
        {
            "tool_calls": [
                {"index": 1, "id": "toolu_2", "type": "function", "function": {"name": "g", "arguments": ""}}
            ]
        },
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
        {},
    ]
    last = played.chunks[-1]
    assert played.chunks[-2]["choices"][0]["finish_reason"] == "tool_calls"
    assert last["usage"]["prompt_tokens"] == 1010
    assert last["usage"]["prompt_tokens_details"]["cached_tokens"] == 1000
    assert last["usage"]["completion_tokens"] == 25
    assert {chunk["model"] for chunk in played.chunks} == {"claude-x-20260101"}
    assert played.bytes.endswith(b"data: [DONE]\n\n")


def test_tool_index_is_counted_anew_and_not_the_blocks() -> None:
    fragments = [call for delta in Played(TEXT_AND_TOOL).deltas for call in delta.get("tool_calls", ())]
    assert [call["index"] for call in fragments] == [0, 0, 0, 1, 1]
    assert [call["id"] for call in fragments if "id" in call] == ["toolu_1", "toolu_2"]


def test_empty_input_at_the_start_is_no_prefix_of_the_arguments() -> None:
    calls = Played(TEXT_AND_TOOL).message["tool_calls"]
    assert [call["function"]["arguments"] for call in calls] == ['{"a":1.10}', "{}"]


def test_input_that_comes_whole_at_the_start_is_kept() -> None:
    whole = block(0, type="tool_use", id="t", name="f", input={"a": 1})
    played = Played(stream(start(), whole, {"type": "content_block_stop", "index": 0}, *end("tool_use")))
    assert played.message["tool_calls"][0]["function"]["arguments"] == '{"a":1}'


def test_names_that_were_changed_come_back() -> None:
    frame = replace(FRAME, tool_names={"f": "mcp.f/x"})
    assert Played(TEXT_AND_TOOL, frame=frame).message["tool_calls"][0]["function"]["name"] == "mcp.f/x"


def test_thinking_is_shown_and_its_blocks_can_be_sent_back() -> None:
    played = Played(THINKING)
    assert played.deltas[1:3] == [{"reasoning_content": "Let me "}, {"reasoning_content": "think."}]
    blocks = without_indices(played.message)["thinking_blocks"]
    thinking = {"type": "thinking", "thinking": "Let me think.", "signature": "EqQBCgIYAhIk+/=="}
    redacted = {"type": "redacted_thinking", "data": "EmwKAhgB"}
    assert blocks == [{**thinking, "model": "claude-x"}, {**redacted, "model": "claude-x"}]
    assert played.translator.remember == {"toolu_9": {"model": "claude-x", "blocks": [thinking, redacted]}}


def test_citations_become_annotations_of_their_text() -> None:
    played = Played(CITED)
    assert played.message["content"] == "See: it is so"
    assert without_indices(played.message)["annotations"] == [
        {
            "type": "url_citation",
            "url_citation": {"start_index": 5, "end_index": 13, "url": "https://a.example/", "title": "A"},
        },
        {
            "type": "file_citation",
            "file_citation": {
                "start_index": 5, "end_index": 13, "index": 0, "filename": "a.pdf", "quote": "p",
            },
        },
    ]  # fmt: skip


def test_a_refusal_is_a_refusal_and_not_a_stop() -> None:
    completion = Played(REFUSED).completion
    assert completion.choices[0].finish_reason == "content_filter"
    assert completion.choices[0].message.refusal == "This is not something to help with."
    assert completion.choices[0].message.content == "To build"


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "length"),
        ("refusal", "content_filter"),
        ("compaction", "stop"),
        (None, "stop"),
        ("tool_use", "stop"),
    ],
)
def test_every_stop_reason(reason: str | None, finish: str) -> None:
    played = Played(stream(start(), text("x"), *end(reason)))
    assert played.chunks[-2]["choices"][0]["finish_reason"] == finish


def test_the_json_tool_never_shows() -> None:
    played = Played(JSON_TOOL, frame=JSON_FRAME)
    assert played.message["content"] == '{"a":1.0}'
    assert "tool_calls" not in played.message
    assert played.completion.choices[0].finish_reason == "stop"


def test_words_instead_of_the_json_tool_are_not_lost() -> None:
    played = Played(stream(start(), text("I will not."), *end("refusal")), frame=JSON_FRAME)
    assert played.message["content"] == "I will not."


@pytest.mark.parametrize(
    ("pieces", "content"),
    [
        (["Sure:\n```json\n{", '"a": "}```"', "}\n```\nBye"], '{"a": "}```"}'),
        (['{"a":"\\', '"}', '"}', "x"], '{"a":"\\"}"}'),
        (['{"a":[{}', "]}", '{"b":1}'], '{"a":[{}]}'),
        (["I ", "cannot."], "I cannot."),
        (["{", '"unfinished": '], '{"unfinished": '),
    ],
)
def test_fences_and_prose_around_json_are_cut_off(pieces: list[str], content: str) -> None:
    played = Played(stream(start(), *map(text, pieces), *end()), frame=ASKED_FRAME)
    assert played.message["content"] == content


def test_calls_beside_json_that_was_asked_for_go_on() -> None:
    call = block(1, type="tool_use", id="t", name="f", input={})
    played = Played(stream(start(), text("Let me see. "), call, *end("tool_use")), frame=ASKED_FRAME)
    assert played.message["content"] == "Let me see. "
    assert played.message["tool_calls"][0]["id"] == "t"


def test_the_deprecated_form_of_a_call() -> None:
    played = Played(TEXT_AND_TOOL, frame=replace(FRAME, function_form=True))
    assert played.message["function_call"] == {"name": "f", "arguments": '{"a":1.10}'}
    assert played.completion.choices[0].finish_reason == "function_call"
    whole = collected(TEXT_AND_TOOL, replace(FRAME, function_form=True))["choices"][0]
    assert whole["message"]["function_call"] == {"name": "f", "arguments": '{"a":1.10}'}
    assert whole["finish_reason"] == "function_call"


def test_usage_only_where_it_was_asked_for() -> None:
    assert b"usage" not in Played(TEXT_AND_TOOL, include_usage=False).bytes


def test_what_is_new_to_us_is_left_out() -> None:
    events = stream(
        start(),
        {"type": "brand_new", "index": 0},
        block(0, type="server_tool_use", id="s", name="web_search", input={}),
        {"type": "content_block_delta", "index": 0, "delta": {"type": "hologram_delta", "x": 1}},
        {"type": "content_block_stop", "index": 0},
        text("x", 1),
        *end(),
    )
    assert Played(events).message["content"] == "x"


def test_an_answer_without_a_word_is_an_answer() -> None:
    played = Played(stream(start(), *end()))
    assert played.message["content"] == ""
    assert not played.translator.has_output


# Usage


def report(*events: dict[str, Any]) -> TokenUsage | None:
    return Played(stream(*events)).translator.usage


CACHED = {
    "cache_read_input_tokens": 1000,
    "cache_creation_input_tokens": 200,
    "cache_creation": {"ephemeral_5m_input_tokens": 150, "ephemeral_1h_input_tokens": 50},
}
EXPECTED = TokenUsage(
    input_tokens=10,
    cache_read_tokens=1000,
    cache_write_5m_tokens=150,
    cache_write_1h_tokens=50,
    output_tokens=42,
)


@pytest.mark.parametrize(
    "deltas",
    [
        [{"output_tokens": 42}],
        [{"input_tokens": 10, "output_tokens": 42}],
        [{"output_tokens": 20}, {"output_tokens": 42}],
        [{"output_tokens": 42, "input_tokens": None, "cache_read_input_tokens": None}],
        [{"input_tokens": 10, "output_tokens": 42, "cache_creation_input_tokens": 200}],
    ],
)
def test_cache_tokens_are_counted_once(deltas: list[dict[str, Any]]) -> None:
    parts = [{"type": "message_delta", "delta": {}, "usage": usage} for usage in deltas]
    usage = report(start(**CACHED), text("x"), *parts, {"type": "message_stop"})
    assert usage == EXPECTED
    assert usage.prompt_tokens == 1210


def test_thinking_tokens_are_part_of_the_output() -> None:
    usage = Played(THINKING).translator.usage
    assert usage == TokenUsage(
        input_tokens=40,
        cache_write_5m_tokens=150,
        cache_write_1h_tokens=50,
        output_tokens=30,
        reasoning_tokens=70,
    )


def test_a_broken_stream_is_charged_for_its_text_and_not_for_a_placeholder() -> None:
    translator = AnthropicStreamTranslator(FRAME, include_usage=True)
    for event in (start(**CACHED), text("x" * 400)):
        translator.feed(orjson.dumps(event))
    assert translator.usage is not None
    assert translator.usage.prompt_tokens == 1210
    assert translator.usage.completion_tokens == 100
    assert translator.output_bytes == 400


def test_what_the_vendor_counted_is_not_raised() -> None:
    usage = report(start(), text("x" * 400), *end(usage={"output_tokens": 3}))
    assert usage is not None
    assert usage.completion_tokens == 3


def test_text_that_is_held_back_counts_as_output() -> None:
    translator = AnthropicStreamTranslator(ASKED_FRAME, include_usage=True)
    translator.feed(orjson.dumps(start()))
    assert translator.feed(orjson.dumps(text("No JSON yet"))) is None
    assert translator.has_output
    assert translator.output_bytes == 11


# Failures


def test_a_stream_without_its_end_is_not_whole() -> None:
    cut = TEXT_AND_TOOL[: TEXT_AND_TOOL.index(b"event: message_stop")]
    translator = Played(cut).translator
    assert translator.finished
    assert not translator.complete
    with pytest.raises(UpstreamFailed):
        collected(cut)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("overloaded_error", UpstreamUnavailable),
        ("rate_limit_error", UpstreamLimited),
        ("timeout_error", UpstreamTimedOut),
        ("api_error", UpstreamFailed),
        ("invalid_request_error", UpstreamFailed),
        (None, UpstreamFailed),
    ],
)
def test_an_error_inside_a_stream_is_an_error(kind: str | None, expected: type[RelayError]) -> None:
    error = {"type": "error", "error": {"type": kind, "message": "org_abc123 did it"}}
    translator = AnthropicStreamTranslator(FRAME, include_usage=True)
    translator.feed(orjson.dumps(start()))
    translator.feed(orjson.dumps(text("Once upon a time there was")))
    with pytest.raises(expected) as caught:
        translator.feed(orjson.dumps(error))
    assert "org_" not in caught.value.message
    assert "othing was charged" not in caught.value.message
    assert translator.output_bytes == 26
    assert not translator.complete


def test_an_overloaded_stream_never_says_stop() -> None:
    with pytest.raises(UpstreamUnavailable):
        Played(OVERLOADED)
    with pytest.raises(UpstreamUnavailable):
        collected(OVERLOADED)


@pytest.mark.parametrize("payload", [b"<html>", b"[]", b"1", b'"x"', b"null", b'{"type":"message_start"}'])
def test_nonsense_is_a_failure_of_the_vendor(payload: bytes) -> None:
    with pytest.raises(UpstreamFailed):
        AnthropicStreamTranslator(FRAME, include_usage=False).feed(payload)


def test_an_end_without_a_beginning_is_no_answer() -> None:
    with pytest.raises(UpstreamFailed):
        Played(stream({"type": "message_stop"}))
    with pytest.raises(UpstreamFailed):
        AnswerCollector(FRAME).answer()


def test_nothing_counts_behind_the_end() -> None:
    played = Played(stream(start(), text("x"), *end(), text("y"), start(), *end("max_tokens")))
    assert played.message["content"] == "x"
    assert played.translator.finish_reasons == ("stop",)


def test_a_second_beginning_changes_nothing() -> None:
    again = {"type": "message_start", "message": {"model": "other", "usage": {"input_tokens": 999}}}
    played = Played(stream(start(), text("x"), again, text("y"), *end()))
    assert played.message["content"] == "xy"
    assert played.translator.upstream_model == "claude-x"
    assert played.translator.usage == TokenUsage(input_tokens=10, output_tokens=7)


def test_the_tier_that_was_used_shows() -> None:
    assert Played(THINKING).translator.service_tier == "default"
    assert Played(CITED).translator.service_tier == ""


def test_another_model_than_the_one_asked_for_shows() -> None:
    frame = replace(FRAME, model_fallback="claude-opus-4-5")
    assert Played(TEXT_AND_TOOL, frame=frame).translator.upstream_model == "claude-x-20260101"
