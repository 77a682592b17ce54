"""A stream put together is the answer it would have been."""

from typing import Any

import orjson
import pytest

from billing.contracts import TokenUsage
from relay.errors import UpstreamFailed
from relay.protocols.openai_chat.collect import ChunkCollector
from relay.protocols.openai_chat.stream import ChatStreamTranslator


def collector() -> ChunkCollector:
    return ChunkCollector(
        ChatStreamTranslator(
            completion_id="chatcmpl-ours", created=7, include_usage=False, model_fallback="m"
        )
    )


def collected(*chunks: dict[str, Any]) -> dict[str, Any]:
    collecting = collector()
    for chunk in chunks:
        collecting.feed(orjson.dumps(chunk))
    collecting.feed(b"[DONE]")
    assert collecting.done
    return dict(orjson.loads(collecting.answer().body))


def said(delta: dict[str, Any], *, index: int = 0, reason: str | None = None, **more: Any) -> dict[str, Any]:
    return {"model": "m-1", "choices": [{"index": index, "delta": delta, "finish_reason": reason, **more}]}


def call(arguments: str, **first: Any) -> dict[str, Any]:
    return {"index": 0, **first, "function": {"arguments": arguments, **({"name": "f"} if first else {})}}


def test_text_thoughts_and_usage_are_those_of_the_stream() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 2}}
    whole = collected(
        said({"role": "assistant", "reasoning_content": "hm"}),
        said({"content": "Hel"}),
        said({"content": "lo"}),
        said({}, reason="stop"),
        {"choices": [], "usage": usage},
    )
    assert (whole["object"], whole["id"], whole["model"]) == ("chat.completion", "chatcmpl-ours", "m-1")
    [choice] = whole["choices"]
    assert choice["message"] == {
        "role": "assistant",
        "content": "Hello",
        "refusal": None,
        "reasoning_content": "hm",
    }
    assert choice["finish_reason"] == "stop"
    assert whole["usage"]["completion_tokens_details"]["reasoning_tokens"] == 2


def test_calls_are_whole_and_have_no_index() -> None:
    whole = collected(
        said({"tool_calls": [call("", id="call_1", type="function")]}),
        said({"tool_calls": [call('{"a":')]}),
        said({"tool_calls": [call("1}")]}),
        said({}, reason="tool_calls"),
    )
    [choice] = whole["choices"]
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"] == [
        {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    ]
    assert choice["finish_reason"] == "tool_calls"


def test_choices_and_probabilities_stay_apart() -> None:
    told = {"content": [{"token": "a", "logprob": -0.1}]}
    whole = collected(
        said({"content": "b"}, index=1),
        said({"content": "a"}, logprobs=told),
        said({"content": "a"}, logprobs=told),
        said({}, reason="stop"),
        said({}, index=1, reason="length"),
    )
    assert [choice["message"]["content"] for choice in whole["choices"]] == ["aa", "b"]
    assert [choice["finish_reason"] for choice in whole["choices"]] == ["stop", "length"]
    assert len(whole["choices"][0]["logprobs"]["content"]) == 2
    assert whole["choices"][1]["logprobs"] is None


def test_a_refusal_is_no_content() -> None:
    [choice] = collected(said({"refusal": "No."}), said({}, reason="stop"))["choices"]
    assert (choice["message"]["content"], choice["message"]["refusal"]) == (None, "No.")


def test_an_answer_without_a_word_has_empty_content() -> None:
    [choice] = collected(said({"role": "assistant"}), said({}, reason="stop"))["choices"]
    assert choice["message"]["content"] == ""


def test_what_is_charged_is_what_was_reported() -> None:
    collecting = collector()
    report = {"prompt_tokens": 3, "completion_tokens": 2}
    for chunk in (said({"content": "a"}), said({}, reason="stop"), {"choices": [], "usage": report}):
        collecting.feed(orjson.dumps(chunk))
    answer = collecting.answer()
    assert answer.usage == TokenUsage(input_tokens=3, output_tokens=2)
    assert (answer.finish_reasons, answer.output_bytes) == (("stop",), 1)


def test_a_stream_that_breaks_off_is_no_answer() -> None:
    collecting = collector()
    collecting.feed(orjson.dumps(said({"content": "a"})))
    with pytest.raises(UpstreamFailed):
        collecting.answer()
