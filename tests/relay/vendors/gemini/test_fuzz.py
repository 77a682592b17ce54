"""Nonsense from customers and from the vendor: nothing but RelayError comes of it, and every call ends."""

import os
import random
from dataclasses import replace
from typing import Any

import orjson
import pytest

from billing.contracts import TokenUsage
from relay.contracts import AnswerFrame
from relay.errors import InvalidRequest, RelayError
from relay.protocols.openai_chat.request import parse_request
from relay.sse import SSEOverflow, SSESplitter
from relay.vendors.gemini import (
    GeminiStreamTranslator,
    JsonArraySplitter,
    build_request,
    read_usage,
    refusal,
    refuses_thoughts,
    retry_class,
    translate_answer,
)
from relay.vendors.gemini.schema import openapi_schema, standard_schema
from tests.doubles.gemini_rules import check_request
from tests.doubles.gemini_schemas import check_schema
from tests.relay.vendors.gemini.families import HELLO, PDF, PNG, TRAITS, WAV, calls, result, tool
from tests.relay.vendors.gemini.transcripts import ALL, FRAME, OVERLOADED, as_array

# `make fuzz` walks many more.
ROUNDS = int(os.environ.get("FUZZ_ROUNDS", "1500"))
FRAMES: list[AnswerFrame] = [FRAME, replace(FRAME, json_text=True), replace(FRAME, function_form=True)]
VALUES: list[Any] = [
    None, True, -1, 0, 1.5, 1 << 62, "", "x", " ", "🚃", [], {}, [None], {"text": None}, {"text": "{"},
    {"functionCall": {}}, {"promptTokenCount": -3, "totalTokenCount": 1e30}, [[[]]], "STOP", "SAFETY",
    {"$ref": "#"}, {"allOf": [{"$ref": "#"}]}, [{}], "format", {"type": "array", "items": [{}]},
    {"enum": [[1], {}, 2]}, {"blockReason": "OTHER"}, {"index": 3, "finishReason": "X"},
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
    return b"".join(b"data: %b\r\n\r\n" % payload for payload in payloads)


def _parsed(payload: bytes) -> Any:
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        return {}


def play(data: bytes, frame: AnswerFrame) -> tuple[bytes, GeminiStreamTranslator]:
    translator = GeminiStreamTranslator(frame, include_usage=True)
    out = []
    try:
        out = [translator.feed(payload) or b"" for payload in SSESplitter().feed(data)]
        if translator.complete:
            out.append(translator.closing(translator.usage or TokenUsage()))
    except (RelayError, SSEOverflow):
        pass
    return b"".join(out), translator


def check_chunks(out: bytes) -> None:
    """A role first and once for each choice, dense tool calls, a reason at the end and nothing behind it."""
    roles: dict[int, int] = {}
    reasons: set[int] = set()
    tools: dict[int, list[int]] = {}
    for payload in SSESplitter().feed(out):
        for choice in () if payload == b"[DONE]" else orjson.loads(payload)["choices"]:
            index = choice["index"]
            assert index not in reasons
            roles[index] = roles.get(index, 0) + ("role" in choice["delta"])
            assert roles[index] == 1
            numbers = [call["index"] for call in choice["delta"].get("tool_calls", ()) if "id" in call]
            tools.setdefault(index, []).extend(numbers)
            if choice["finish_reason"] is not None:
                reasons.add(index)
    assert all(numbers == list(range(len(numbers))) for numbers in tools.values())
    assert (reasons == set(roles)) == out.endswith(b"[DONE]\n\n") or not roles


@pytest.mark.parametrize("seed", range(4))
def test_mutated_streams_never_crash_and_never_break_the_rules_of_chunks(seed: int) -> None:
    dice = random.Random(seed)
    transcripts = [*ALL.values(), OVERLOADED]
    for _ in range(ROUNDS):
        data = mutate_stream(dice.choice(transcripts), dice)
        out, translator = play(data, dice.choice(FRAMES))
        check_chunks(out)
        usage = translator.usage
        assert usage is None or min(usage.prompt_tokens, usage.completion_tokens) >= 0
        orjson.dumps(translator.remember)
        assert translator.output_bytes <= len(data) * 4


def test_mutated_arrays_never_crash_or_hang() -> None:
    dice = random.Random(8)
    for _ in range(ROUNDS):
        data = bytearray(as_array(dice.choice(list(ALL.values()))))
        for _ in range(dice.randint(1, 5)):
            data[dice.randrange(len(data))] = dice.choice(b'{}[]",\\ x')
        splitter = JsonArraySplitter(limit=1_000)
        try:
            step = dice.choice([1, 13, 500])
            pieces = [bytes(data[at : at + step]) for at in range(0, len(data), step)]
            payloads = [payload for piece in pieces for payload in splitter.feed(piece)]
        except SSEOverflow:
            continue
        assert len(b"".join([*payloads, *splitter.flush()])) <= len(data)


WHOLE: dict[str, Any] = {
    "candidates": [
        {
            "index": 0,
            "content": {
                "role": "model",
                "parts": [
                    {"text": "Hm.", "thought": True},
                    {"text": "Hi"},
                    {"functionCall": {"name": "f", "args": {"a": [1.5, {"b": "c"}]}, "id": "c1"},
                     "thoughtSignature": "AA=="},
                ],
            },
            "finishReason": "STOP",
            "logprobsResult": {"chosenCandidates": [{"token": "a", "logProbability": -1}],
                               "topCandidates": [{"candidates": [{"token": "a", "logProbability": -1}]}]},
            "citationMetadata": {"citationSources": [{"uri": "https://a.example", "endIndex": 1}]},
        }
    ],
    "usageMetadata": {
        "promptTokenCount": 10, "cachedContentTokenCount": 3, "toolUsePromptTokenCount": 2,
        "candidatesTokenCount": 4, "thoughtsTokenCount": 5, "totalTokenCount": 21,
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 4}, {"modality": "TEXT"}],
        "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 1}],
        "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 2}], "trafficType": "ON_DEMAND",
    },
    "modelVersion": "gemini-x",
}  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_mutated_answers_are_answers_or_fail(seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(ROUNDS):
        payload = orjson.dumps(mutate(mutate(WHOLE, dice), dice))
        try:
            answer = translate_answer(payload, dice.choice(FRAMES))
        except RelayError:
            continue
        for choice in orjson.loads(answer.body)["choices"]:
            assert ("tool_calls" in choice["message"]) <= (choice["finish_reason"] != "stop")
        orjson.dumps(answer.remember)


def test_mutated_usage_is_never_negative() -> None:
    dice = random.Random(1)
    for _ in range(ROUNDS * 2):
        report = read_usage(mutate(mutate(WHOLE["usageMetadata"], dice), dice))
        if report is not None:
            counts = report.usage
            assert all(getattr(counts, name) >= 0 for name in counts.__dataclass_fields__)


def test_mutated_errors_are_errors() -> None:
    dice = random.Random(2)
    error = {
        "error": {
            "code": 429,
            "message": "Quota exceeded for thought_signature",
            "status": "RESOURCE_EXHAUSTED",
            "details": [
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"},
                {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": "x"}]},
                {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [{"field": "x"}]},
            ],
        }
    }
    for _ in range(ROUNDS):
        body = orjson.dumps(mutate(mutate(error, dice), dice))
        status = dice.choice([400, 401, 404, 413, 429, 500, 503, 600])
        assert isinstance(refusal(status, {}, body), RelayError)
        retry_class(status, body)
        refuses_thoughts(status, body)


SCHEMA = {
    "type": "object",
    "properties": {
        "a": {"type": ["string", "null"], "format": "email"},
        "b": {"anyOf": [{"$ref": "#/$defs/X"}, {"type": "array", "items": {"enum": [1, "x", None]}}]},
        "c": {"allOf": [{"$ref": "#/$defs/X"}, {"properties": {"d": {"const": 3}}, "required": ["d"]}]},
    },
    "required": ["a", "z"],
    "$defs": {"X": {"type": "object", "properties": {"x": {"$ref": "#/$defs/X"}}, "description": "d"}},
}


def test_mutated_schemas_are_schemas_or_refused() -> None:
    dice = random.Random(3)
    for _ in range(ROUNDS * 2):
        schema: Any = SCHEMA
        for _ in range(dice.randint(1, 4)):
            schema = mutate(schema, dice)
        try:
            check_schema(openapi_schema(schema, "x"), "x")
            orjson.dumps(standard_schema(schema, "x"))
        except InvalidRequest as refused:
            assert refused.param == "x"  # noqa: PT017


REQUEST: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "S"},
        {"role": "developer", "content": [{"type": "text", "text": "D"}]},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "x"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}"}},
                {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}},
            ],
        },
        calls("c.1", "c.2", content="y"),
        result("c.2"),
        result("c.1", [{"type": "text", "text": '{"a":1}'}]),
        {"role": "assistant", "content": None, "function_call": {"name": "g", "arguments": "{}"}},
        {"role": "function", "name": "g", "content": "r"},
        {"role": "system", "content": "late"},
        *HELLO,
        {"role": "assistant", "content": "{ ", "refusal": "no"},
    ],
    "tools": [
        {"type": "function", "function": {"name": "f", "parameters": SCHEMA}},
        tool("1-g", strict=True, description="d"),
    ],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "parallel_tool_calls": False,
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}},
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 3,
    "presence_penalty": 2,
    "frequency_penalty": -2,
    "max_tokens": 5_000,
    "stop": ["a", "", "\n"],
    "reasoning_effort": "low",
    "seed": 1 << 60,
    "user": "u",
    "service_tier": "flex",
    "thinking": {"type": "enabled", "budget_tokens": 2_000},
    "logprobs": True,
    "top_logprobs": 3,
    "n": 2,
}  # fmt: skip


_RARE = ("n", "logprobs", "top_logprobs", "tool_choice")  # refused by most models, or without tools


def _slimmed(request: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    """Without some of its parts, so that less gets in the way of the rest."""
    kept = {
        key: each
        for key, each in request.items()
        if key in ("model", "messages") or dice.random() < (0.1 if key in _RARE else 0.5)
    }
    start = dice.randrange(4)
    return {**kept, "messages": request["messages"][start : start + dice.randrange(1, 12)]}


def _build(raw: bytes, model: str, dice: random.Random) -> bytes | None:
    memory = {
        "c.1": dice.choice([*VALUES, {"model": model, "signature": "skip_thought_signature_validator"}])
    }
    try:
        request = build_request(
            parse_request(raw),
            upstream_model=model,
            traits=TRAITS[model],
            max_output_tokens=dice.choice([None, 1, 1_024, 9_000]),
            memory=memory,
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
        raw, model = orjson.dumps(request), dice.choice(list(TRAITS))
        body = _build(raw, model, dice)
        if body is not None:
            taken += 1
            problem = check_request(model, orjson.loads(body))
            assert problem is None or _is_the_customers(problem), (problem, model, raw)
    assert taken > ROUNDS // 10


def _is_the_customers(problem: str) -> bool:
    """What we pass on as it is, and the vendor says better than we could."""
    return any(each in problem for each in ("Base64 decoding", "input image"))
