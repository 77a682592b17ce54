"""Thinking through a tool loop, with clients that send it back and clients that have lost it."""

from typing import Any

import orjson
import pytest

from relay.protocols.openai_chat.request import parse_request
from relay.vendors.anthropic import build_request, translate_answer
from tests.doubles.anthropic_rules import sign
from tests.relay.vendors.anthropic.families import (
    HELLO,
    OPUS_4_5,
    OPUS_5,
    OPUS_5_5,
    SONNET_4_5,
    TRAITS,
    build,
    calls,
    result,
    tool,
)
from tests.relay.vendors.anthropic.transcripts import FRAME


def thought(text: str = "Hm.", model: str = SONNET_4_5) -> dict[str, Any]:
    return {"type": "thinking", "thinking": text, "signature": sign(model, text)}


def memory(*ids: str, model: str = SONNET_4_5) -> dict[str, Any]:
    return {each: {"model": model, "blocks": [thought(model=model)]} for each in ids}


def built(messages: list[dict[str, Any]], **fields: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    fields = {"reasoning_effort": "low", "tools": [tool()], **fields}
    request = build(messages, **fields)
    body: dict[str, Any] = orjson.loads(request.body)
    return body, request.dropped


LOOP = [*HELLO, calls("c1", "c2"), result("c1"), result("c2")]


def test_memory_gives_back_what_the_client_lost() -> None:
    body, dropped = built(LOOP, memory=memory("c1", "c2"))
    assert body["thinking"]["type"] == "enabled"
    assert body["messages"][1]["content"][0] == thought()
    assert dropped == ()


def test_one_remembered_call_is_enough() -> None:
    body, _ = built(LOOP, memory=memory("c2"))
    assert body["messages"][1]["content"][0] == thought()


def test_blocks_the_client_sends_back_go_first_and_unchanged() -> None:
    redacted = {"type": "redacted_thinking", "data": "ZGF0YQ=="}
    blocks = [{**thought("own"), "index": 0, "model": SONNET_4_5}, {**redacted, "index": 1}]
    messages = [*HELLO, calls("c1", thinking_blocks=blocks), result("c1")]
    body, _ = built(messages, memory=memory("c1"))
    assert body["messages"][1]["content"][:2] == [thought("own"), redacted]


@pytest.mark.parametrize("model", [SONNET_4_5, OPUS_5])
def test_without_them_the_model_does_not_think_this_time(model: str) -> None:
    body, dropped = built(LOOP, model=model)
    assert "thinking" not in body
    assert dropped == ("reasoning_effort",)
    assert [block["type"] for block in body["messages"][1]["content"]] == ["tool_use", "tool_use"]


def test_a_model_that_always_thinks_goes_on_without_them() -> None:
    body, dropped = built(LOOP, model=OPUS_5_5)
    assert body["thinking"]["type"] == "adaptive"
    assert dropped == ()


@pytest.mark.parametrize("source", ["memory", "client"])
def test_thoughts_of_another_model_are_not_sent(source: str) -> None:
    block = {**thought(), "model": SONNET_4_5}
    blocks = [block] if source == "client" else None
    messages = [*HELLO, calls("c1", thinking_blocks=blocks), result("c1")]
    body, dropped = built(messages, model=OPUS_4_5, memory=memory("c1") if source == "memory" else {})
    assert "thinking" not in body
    assert body["messages"][1]["content"][0]["type"] == "tool_use"
    assert dropped == ("reasoning_effort",)


def test_thoughts_stay_out_when_the_model_does_not_think() -> None:
    body, dropped = built(LOOP, memory=memory("c1"), reasoning_effort="none")
    assert "thinking" not in body
    assert body["messages"][1]["content"][0]["type"] == "tool_use"
    assert dropped == ()


def test_a_finished_turn_needs_no_thoughts() -> None:
    messages = [*LOOP, {"role": "assistant", "content": "Done."}, *HELLO]
    body, dropped = built(messages)
    assert body["thinking"]["type"] == "enabled"
    assert dropped == ()


def test_a_turn_of_several_steps_needs_those_it_began_with() -> None:
    steps = [*LOOP, calls("c3"), result("c3")]
    body, _ = built(steps, memory=memory("c1"))
    assert body["messages"][1]["content"][0]["type"] == "thinking"
    assert body["messages"][3]["content"][0]["type"] == "tool_use"
    body, dropped = built(steps, memory=memory("c3"))
    assert "thinking" not in body
    assert dropped == ("reasoning_effort",)


@pytest.mark.parametrize(
    "blocks",
    [
        "x",
        [None],
        [{"type": "thinking", "thinking": "Hm."}],
        [{"type": "thinking", "thinking": "Hm.", "signature": ""}],
        [{"type": "thinking", "thinking": 1, "signature": "s"}],
        [{"type": "redacted_thinking"}],
        [{"type": "text", "text": "x"}],
        [thought(), {"type": "thinking"}],
    ],
)
def test_blocks_that_are_none_count_as_lost(blocks: Any) -> None:
    messages = [*HELLO, calls("c1", thinking_blocks=blocks), result("c1")]
    body, dropped = built(messages)
    assert "thinking" not in body
    assert dropped == ("reasoning_effort",)


@pytest.mark.parametrize("entry", [None, "x", {}, {"model": SONNET_4_5}, {"model": SONNET_4_5, "blocks": 3}])
def test_memory_that_means_nothing_counts_as_lost(entry: Any) -> None:
    body, _ = built(LOOP, memory={"c1": entry})
    assert "thinking" not in body


def test_reasoning_without_a_signature_is_not_sent_back() -> None:
    messages = [*HELLO, {"role": "assistant", "content": "x", "reasoning_content": "I thought"}, *HELLO]
    body, _ = built(messages)
    assert [block["type"] for block in body["messages"][1]["content"]] == ["text"]


def test_thoughts_that_were_refused_are_left_out_of_the_next_try() -> None:
    blocks = [thought("own")]
    messages = [*HELLO, calls("c1", thinking_blocks=blocks), result("c1")]
    raw = {"model": "m", "messages": messages, "reasoning_effort": "low", "tools": [tool()]}
    request = build_request(
        parse_request(orjson.dumps(raw)),
        upstream_model=SONNET_4_5,
        traits=TRAITS[SONNET_4_5],
        max_output_tokens=None,
        memory=memory("c1"),
        user_id=None,
        sends_thoughts=False,
    )
    assert b"thinking" not in request.body
    assert request.dropped == ("reasoning_effort",)


def test_a_signature_is_the_same_after_a_round_through_a_client() -> None:
    signature = sign(FRAME.model_fallback, "Hm.")
    payload = orjson.dumps(
        {
            "model": FRAME.model_fallback,
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": signature},
                {"type": "tool_use", "id": "c1", "name": "f", "input": {}},
            ],
            "stop_reason": "tool_use",
        }
    )
    answer = translate_answer(payload, FRAME)
    message = orjson.loads(answer.body)["choices"][0]["message"]
    forgetful = {name: message[name] for name in ("role", "content", "tool_calls")}
    for sent, kept in ((message, {}), (forgetful, orjson.loads(orjson.dumps(answer.remember)))):
        chat = parse_request(
            orjson.dumps(
                {
                    "model": "m",
                    "messages": [*HELLO, sent, result("c1")],
                    "reasoning_effort": "low",
                    "tools": [tool()],
                }
            )
        )
        request = build_request(
            chat,
            upstream_model=FRAME.model_fallback,
            traits=TRAITS[SONNET_4_5],
            max_output_tokens=None,
            memory=kept,
            user_id=None,
        )
        assert b'"signature":"%b"' % signature.encode() in request.body
