"""The chunks a client gets, whatever order a vendor says things in."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from billing.contracts import TokenUsage
from relay.contracts import (
    Annotation,
    AnswerFrame,
    ChatEvent,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ThinkingBlock,
    ToolCallArguments,
    ToolCallEnd,
    ToolCallStart,
)
from relay.protocols.openai_chat.writer import ChunkWriter
from relay.sse import SSESplitter

FRAME = AnswerFrame(completion_id="chatcmpl-1", created=1764000000, model_fallback="m")
LEGACY = AnswerFrame(completion_id="chatcmpl-1", created=1764000000, model_fallback="m", function_form=True)
USAGE = TokenUsage(input_tokens=7, output_tokens=2)


def play(*events: ChatEvent, frame: AnswerFrame = FRAME, include_usage: bool = False) -> list[dict[str, Any]]:
    """The parsed chunks of a whole stream."""
    writer = ChunkWriter(frame, include_usage=include_usage)
    stream = b"".join(writer.write(event) for event in events) + writer.closing(USAGE)
    *payloads, done = SSESplitter().feed(stream)
    assert done == b"[DONE]"
    return [orjson.loads(payload) for payload in payloads]


def deltas(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [choice["delta"] for chunk in chunks for choice in chunk["choices"]]


def completion(chunks: list[dict[str, Any]]) -> ChatCompletion:
    """What the official SDK makes of the chunks."""
    state = ChatCompletionStreamState()
    for chunk in chunks:
        state.handle_chunk(ChatCompletionChunk.model_validate(chunk))
    return state.get_final_completion()


def test_text_comes_with_a_role_before_and_a_reason_behind() -> None:
    chunks = play(TextDelta("Hel"), TextDelta("lo"), Finish("stop"))
    assert deltas(chunks) == [{"role": "assistant", "content": ""}, {"content": "Hel"}, {"content": "lo"}, {}]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, None, "stop"]
    assert {(c["id"], c["created"], c["model"], c["object"]) for c in chunks} == {
        ("chatcmpl-1", 1764000000, "m", "chat.completion.chunk")
    }
    assert not any("usage" in chunk for chunk in chunks)


def test_usage_is_null_until_the_last_chunk_where_it_was_asked_for() -> None:
    *chunks, last = play(TextDelta("Hi"), Finish("stop"), include_usage=True)
    assert all(chunk["usage"] is None for chunk in chunks)
    assert last["choices"] == []
    assert (last["usage"]["prompt_tokens"], last["usage"]["completion_tokens"]) == (7, 2)


def test_tool_calls_are_numbered_densely_and_named_once() -> None:
    chunks = play(
        TextDelta("Let me see."),
        ToolCallStart(1, "toolu_1", "f"),
        ToolCallArguments(1, '{"a"'),
        ToolCallArguments(1, ":1}"),
        ToolCallEnd(1),
        ToolCallStart(4, "toolu_2", "g"),
        ToolCallEnd(4),
        Finish("tool_calls"),
    )
    fragments = [call for delta in deltas(chunks) for call in delta.get("tool_calls", ())]
    assert fragments == [
        {"index": 0, "id": "toolu_1", "type": "function", "function": {"name": "f", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"a"'}},
        {"index": 0, "function": {"arguments": ":1}"}},
        {"index": 1, "id": "toolu_2", "type": "function", "function": {"name": "g", "arguments": ""}},
        {"index": 1, "function": {"arguments": "{}"}},
    ]
    message = completion(chunks).choices[0].message
    assert message.content == "Let me see."
    calls = [call.model_dump()["function"] for call in message.tool_calls or ()]
    assert [call["arguments"] for call in calls] == ['{"a":1}', "{}"]


def test_an_answer_that_only_calls_has_no_content() -> None:
    chunks = play(ToolCallStart(0, "c", "f", "{}"), Finish("tool_calls"))
    assert deltas(chunks)[0] == {"role": "assistant", "content": None}
    assert completion(chunks).choices[0].message.content is None


def test_a_call_without_id_gets_one_and_extras_go_along() -> None:
    chunks = play(ToolCallStart(0, "", "f", "{}", extra={"extra_content": {"x": 1}}))
    (fragment,) = deltas(chunks)[1]["tool_calls"]
    assert fragment["id"].startswith("call_")
    assert fragment["extra_content"] == {"x": 1}


def test_a_number_used_again_begins_another_call() -> None:
    chunks = play(ToolCallStart(0, "a", "f", "{}"), ToolCallStart(0, "b", "g"), ToolCallArguments(0, "{}"))
    message = completion(chunks).choices[0].message
    assert [call.id for call in message.tool_calls or ()] == ["a", "b"]


def test_arguments_of_a_call_nobody_began_are_left_out() -> None:
    assert deltas(play(ToolCallArguments(3, "{}"), TextDelta("x"), Finish("stop")))[1] == {"content": "x"}


def test_calls_never_end_in_stop_and_no_call_never_in_tool_calls() -> None:
    calling = play(ToolCallStart(0, "a", "f", "{}"), Finish("stop"))
    silent = play(TextDelta("x"), Finish("tool_calls"))
    assert calling[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert silent[-1]["choices"][0]["finish_reason"] == "stop"


def test_the_deprecated_form_has_one_call_and_its_own_reason() -> None:
    chunks = play(
        ToolCallStart(0, "a", "f"),
        ToolCallArguments(0, '{"x":1}'),
        ToolCallStart(1, "b", "g"),
        ToolCallArguments(1, "{}"),
        Finish("tool_calls"),
        frame=LEGACY,
    )
    message = completion(chunks).choices[0].message
    assert message.function_call is not None
    assert (message.function_call.name, message.function_call.arguments) == ("f", '{"x":1}')
    assert not message.tool_calls
    assert chunks[-1]["choices"][0]["finish_reason"] == "function_call"


def test_choices_have_a_role_and_a_reason_each() -> None:
    chunks = play(TextDelta("a"), TextDelta("b", choice=1), Finish("length", choice=1), Finish("stop"))
    roles = [c["choices"][0]["index"] for c in chunks if "role" in c["choices"][0]["delta"]]
    reasons = {c["choices"][0]["index"]: c["choices"][0]["finish_reason"] for c in chunks}
    assert roles == [0, 1]
    assert reasons == {0: "stop", 1: "length"}


def test_reasoning_refusals_annotations_and_thinking_have_deltas_of_their_own() -> None:
    chunks = play(
        ReasoningDelta("hm"),
        ThinkingBlock({"type": "thinking", "thinking": "hm", "signature": "s"}),
        RefusalDelta("no"),
        Annotation({"type": "url_citation"}),
        Finish("content_filter"),
    )
    assert deltas(chunks)[1:-1] == [
        {"reasoning_content": "hm"},
        {"thinking_blocks": [{"index": 0, "type": "thinking", "thinking": "hm", "signature": "s"}]},
        {"refusal": "no"},
        {"annotations": [{"index": 0, "type": "url_citation"}]},
    ]


def test_lists_can_be_put_together_by_the_official_sdk() -> None:
    """It asks every entry of a list for its index, and fails at the second delta without."""
    chunks = play(
        ThinkingBlock({"type": "thinking", "thinking": "a", "signature": "s"}),
        ThinkingBlock({"type": "redacted_thinking", "data": "d"}),
        Annotation({"type": "x", "n": 1}),
        Annotation({"type": "x", "n": 2}),
        Finish("stop"),
    )
    message = completion(chunks).choices[0].message.model_dump()
    assert [block["type"] for block in message["thinking_blocks"]] == ["thinking", "redacted_thinking"]
    assert [each["n"] for each in message["annotations"]] == [1, 2]


def test_an_answer_without_a_word_still_has_a_role_and_an_end() -> None:
    chunks = play(Finish("stop"))
    assert deltas(chunks) == [{"role": "assistant", "content": ""}, {}]


def test_logprobs_go_with_their_text() -> None:
    chunks = play(TextDelta("x", logprobs={"content": [], "refusal": None}), Finish("stop"))
    assert chunks[1]["choices"][0]["logprobs"] == {"content": [], "refusal": None}


def test_the_model_may_be_set_until_the_first_chunk() -> None:
    writer = ChunkWriter(FRAME, include_usage=False)
    writer.model = "m-2026"
    (role, text) = SSESplitter().feed(writer.write(TextDelta("x")))
    assert (orjson.loads(role)["model"], orjson.loads(text)["model"]) == ("m-2026", "m-2026")


def test_output_is_counted_in_bytes_of_utf_8() -> None:
    writer = ChunkWriter(FRAME, include_usage=False)
    assert not writer.has_output
    writer.write(TextDelta("词"))
    writer.write(ReasoningDelta("ab"))
    writer.write(ToolCallStart(0, "a", "f"))
    writer.write(ToolCallArguments(0, "{}"))
    assert writer.output_bytes == 3 + 2 + 1 + 2
    assert writer.has_output


@pytest.mark.parametrize("text", ['"', "\\", "\n\r\u2028\u0085", "\x00", "🚃"])
def test_any_text_arrives_as_it_was(text: str) -> None:
    assert deltas(play(TextDelta(text)))[1] == {"content": text}


EVENTS = st.one_of(
    st.builds(TextDelta, st.text(max_size=5), choice=st.integers(0, 2)),
    st.builds(ReasoningDelta, st.text(max_size=5), choice=st.integers(0, 2)),
    st.builds(
        ToolCallStart,
        call=st.integers(0, 2),
        call_id=st.text(max_size=3),
        name=st.text("fg", min_size=1, max_size=3),
        choice=st.integers(0, 2),
    ),
    st.builds(ToolCallArguments, call=st.integers(0, 2), text=st.text(max_size=5), choice=st.integers(0, 2)),
    st.builds(ToolCallEnd, call=st.integers(0, 2), choice=st.integers(0, 2)),
    st.builds(Finish, st.sampled_from(["stop", "length", "tool_calls"]), choice=st.integers(0, 2)),
)


@given(events=st.lists(EVENTS, min_size=1, max_size=12), include_usage=st.booleans())
def test_the_rules_hold_in_any_order(events: list[ChatEvent], include_usage: bool) -> None:
    chunks = play(*events, include_usage=include_usage)
    seen: dict[int, list[Any]] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            seen.setdefault(choice["index"], []).append(choice)
    for parts in seen.values():
        assert ["role" in part["delta"] for part in parts] == [True] + [False] * (len(parts) - 1)
        assert [part["finish_reason"] is None for part in parts] == [True] * (len(parts) - 1) + [False]
        starts = [f["index"] for p in parts for f in p["delta"].get("tool_calls", ()) if "id" in f]
        assert starts == list(range(len(starts)))
