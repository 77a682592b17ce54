"""Nonsense from customers and from the vendor: nothing but RelayError comes of it, and every call ends."""

import os
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest

from billing.contracts import TokenUsage
from relay.contracts import AnswerFrame
from relay.errors import InvalidRequest, RelayError
from relay.protocols.openai_chat.request import parse_request
from relay.sse import SSEOverflow, SSESplitter
from relay.vendors.anthropic import (
    AnswerCollector,
    AnthropicStreamTranslator,
    build_request,
    read_usage,
    refusal,
    retry_class,
    translate_answer,
)
from tests.doubles.anthropic_rules import check_request
from tests.relay.vendors.anthropic.families import HELLO, PDF, PNG, TRAITS, calls, result, tool
from tests.relay.vendors.anthropic.transcripts import ALL, FRAME, OVERLOADED

# `make fuzz` walks many more.
ROUNDS = int(os.environ.get("FUZZ_ROUNDS", "1500"))
FRAMES: list[AnswerFrame] = [
    FRAME,
    replace(FRAME, json_tool="json_response"),
    replace(FRAME, json_text=True),
    replace(FRAME, function_form=True),
]
VALUES: list[Any] = [
    None, True, -1, 0, 1.5, 1 << 62, "", "x", " ", "🚃", [], {}, [None], {"type": None}, {"type": "text"},
    {"type": "tool_use"}, {"input_tokens": -3, "output_tokens": 1e30}, [[[]]], "text_delta", "message_stop",
]  # fmt: skip


def mutate(value: Any, dice: random.Random) -> Any:
    """`value` with something changed, lost, doubled or exchanged somewhere inside."""
    if dice.random() < 0.15 or not isinstance(value, list | dict) or not value:
        return dice.choice(VALUES)
    if isinstance(value, list):
        at = dice.randrange(len(value))
        change = dice.choice([[], [value[at]] * 2, [mutate(value[at], dice)]])
        return [*value[:at], *change, *value[at + 1 :]]
    name = dice.choice(list(value))
    if dice.random() < 0.2:
        return {key: each for key, each in value.items() if key != name}
    return {**value, name: mutate(value[name], dice)}


def mutate_stream(data: bytes, dice: random.Random) -> bytes:
    """Events changed, lost, doubled and out of order; now and then the bytes themselves."""
    payloads = SSESplitter().feed(data)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(payloads))
        kind = dice.randrange(5)
        if kind == 0:
            payloads[at] = orjson.dumps(mutate(_parsed(payloads[at]), dice))
        elif kind == 1:
            payloads.insert(at, payloads[dice.randrange(len(payloads))])
        elif kind == 2 and len(payloads) > 1:
            del payloads[at]
        elif kind == 3:
            cut = dice.randrange(len(payloads[at]) + 1)
            payloads[at] = payloads[at][:cut] + bytes(dice.choices(range(256), k=2)) + payloads[at][cut:]
        else:
            payloads = payloads[: at + 1]
    return b"".join(b"data: %b\n\n" % payload for payload in payloads)


def _parsed(payload: bytes) -> Any:
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        return {}


def play(data: bytes, frame: AnswerFrame) -> tuple[bytes, AnthropicStreamTranslator]:
    translator = AnthropicStreamTranslator(frame, include_usage=True)
    out = []
    try:
        out = [translator.feed(payload) or b"" for payload in SSESplitter().feed(data)]
        if translator.complete:
            out.append(translator.closing(translator.usage or TokenUsage()))
    except (RelayError, SSEOverflow):
        pass
    return b"".join(out), translator


@pytest.mark.parametrize("seed", range(4))
def test_mutated_streams_never_crash_and_never_break_the_rules_of_chunks(seed: int) -> None:
    dice = random.Random(seed)
    transcripts = [*ALL.values(), OVERLOADED]
    for _ in range(ROUNDS):
        data = mutate_stream(dice.choice(transcripts), dice)
        out, translator = play(data, dice.choice(FRAMES))
        roles, reasons = 0, 0
        for payload in SSESplitter().feed(out):
            if payload != b"[DONE]":
                for choice in orjson.loads(payload)["choices"]:
                    assert reasons == 0
                    roles += "role" in choice["delta"]
                    reasons += choice["finish_reason"] is not None
        assert roles <= 1
        assert reasons == out.endswith(b"[DONE]\n\n")
        usage = translator.usage
        assert usage is None or min(usage.prompt_tokens, usage.completion_tokens) >= 0
        orjson.dumps(translator.remember)
        assert translator.output_bytes <= len(data) * 4


def test_mutated_streams_can_be_collected_or_fail() -> None:
    dice = random.Random(5)
    for _ in range(ROUNDS):
        frame = dice.choice(FRAMES)
        collector = AnswerCollector(frame)
        try:
            for payload in SSESplitter().feed(mutate_stream(dice.choice(list(ALL.values())), dice)):
                collector.feed(payload)
            answer = collector.answer()
        except RelayError:
            continue
        assert orjson.loads(answer.body)["choices"][0]["finish_reason"] == answer.finish_reasons[0]


WHOLE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-x",
    "content": [
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
        {
            "type": "text",
            "text": "Hi",
            "citations": [{"type": "x", "url": "https://a.example", "title": "A"}],
        },
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": [1.5, {"b": "c"}]}},
    ],
    "stop_reason": "tool_use",
    "stop_details": {"category": None, "explanation": "x"},
    "usage": {
        "input_tokens": 1,
        "output_tokens": 2,
        "cache_creation_input_tokens": 3,
        "cache_creation": {"ephemeral_5m_input_tokens": 3},
        "output_tokens_details": {"thinking_tokens": 1},
    },
}


@pytest.mark.parametrize("seed", range(3))
def test_mutated_answers_are_answers_or_fail(seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(ROUNDS):
        payload = orjson.dumps(mutate(mutate(WHOLE, dice), dice))
        try:
            answer = translate_answer(payload, dice.choice(FRAMES))
        except RelayError:
            continue
        (choice,) = orjson.loads(answer.body)["choices"]
        assert ("tool_calls" in choice["message"]) <= (choice["finish_reason"] != "stop")


def test_mutated_usage_is_never_negative() -> None:
    dice = random.Random(1)
    for _ in range(ROUNDS):
        report = read_usage(mutate(mutate(WHOLE["usage"], dice), dice))
        if report is not None:
            counts = report.usage
            assert all(getattr(counts, name) >= 0 for name in counts.__dataclass_fields__)


def test_mutated_errors_are_errors() -> None:
    dice = random.Random(2)
    error = {
        "type": "error",
        "error": {"type": "api_error", "message": "m: x", "details": {"error_code": "y"}},
    }
    for _ in range(ROUNDS):
        body = orjson.dumps(mutate(mutate(error, dice), dice))
        status = dice.choice([400, 401, 404, 413, 429, 500, 529, 600])
        assert isinstance(refusal(status, {}, body), RelayError)
        retry_class(status, body)


MARK = {"cache_control": {"type": "ephemeral"}}
BLOCKS = [{"type": "thinking", "thinking": "a", "signature": "s"}]
PDF_URL = f"data:application/pdf;base64,{PDF}"
REQUEST: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "S"},
        {"role": "developer", "content": [{"type": "text", "text": "D", **MARK}]},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "x"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                {"type": "file", "file": {"file_data": PDF_URL, "filename": "a"}},
            ],
        },
        calls("c.1", "c.2", content="y", thinking_blocks=BLOCKS),
        result("c.1"),
        result("c.2", [{"type": "text", "text": "z"}]),
        {"role": "assistant", "content": None, "function_call": {"name": "g", "arguments": "{}"}},
        {"role": "function", "name": "g", "content": "r"},
        {"role": "system", "content": "late"},
        *HELLO,
        {"role": "assistant", "content": "{ "},
    ],
    "tools": [tool("f"), tool("g", strict=True, description="d")],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": {"type": "object", "properties": {"a": {"type": "string"}}}},
    },
    "temperature": 0.5,
    "top_p": 0.9,
    "max_tokens": 5_000,
    "stop": ["a", "\n"],
    "reasoning_effort": "low",
    "seed": 4,
    "user": "u",
    "service_tier": "auto",
    "thinking": {"type": "enabled", "budget_tokens": 2_000},
}  # fmt: skip


def _slimmed(request: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    """Without some of its parts, so that less gets in the way of the rest."""
    kept = {key: each for key, each in request.items() if key in ("model", "messages") or dice.random() < 0.5}
    start = dice.randrange(4)
    return {**kept, "messages": request["messages"][start : start + dice.randrange(1, 12)]}


def _build(raw: bytes, model: str, change: Callable[[], Any]) -> bytes | None:
    try:
        chat = parse_request(raw)
        request = build_request(
            chat,
            upstream_model=model,
            traits=TRAITS[model],
            max_output_tokens=change(),
            memory={},
            user_id="u",
        )
    except InvalidRequest:
        return None
    return request.body


@pytest.mark.parametrize("seed", range(6))
def test_whatever_we_let_through_the_vendor_takes(seed: int) -> None:
    dice = random.Random(seed)
    taken = 0
    for _ in range(ROUNDS):
        request = _slimmed(REQUEST, dice)
        for _ in range(dice.randrange(3)):
            request = mutate(request, dice)
        raw = orjson.dumps(request)
        body = _build(raw, dice.choice(list(TRAITS)), lambda: dice.choice([None, 1, 1_024, 9_000]))
        if body is not None:
            taken += 1
            problem = check_request(orjson.loads(body))
            assert problem is None or _is_the_customers(problem), (problem, raw)
    assert taken > ROUNDS // 20


def _is_the_customers(problem: str) -> bool:
    """What we pass on as it is, and the vendor says better than we could: signatures, breakpoints, PDFs."""
    told_by_vendor = (
        "Invalid `signature`",
        "cache_control",
        "not a valid PDF",
        "base64 data",
        "PDF specified",
    )
    return any(each in problem for each in told_by_vendor)
