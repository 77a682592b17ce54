"""Requests nobody would write: whatever passes validation is built for every vendor, or refused in words."""

import os
import random
from typing import Any

import orjson
import pytest

from relay.errors import InvalidRequest
from relay.vendors.openai_shaped import DIALECTS, vendor_refusal
from tests.relay.vendors.openai_shaped.talk import build
from tests.relay.vendors.openai_shaped.test_request import BY_SCHEMA, EVERYTHING, FUNCTION, IMAGE, LOOP

# `make fuzz` walks many more.
ROUNDS = int(os.environ.get("FUZZ_ROUNDS", "400"))
ODD: tuple[Any, ...] = (None, 0, 1, -1, 1.5, 10**18, "", "x", True, [], {}, [None], {"type": "x"}, "\u2028")
MORE: dict[str, Any] = {
    "n": 3,
    "stop": ["a", "b"],
    "logprobs": True,
    "top_logprobs": 2,
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "response_format": BY_SCHEMA,
    "messages": [*LOOP, {"role": "user", "content": [{"type": "text", "text": "?"}, IMAGE]}],
    "tools": [FUNCTION, {"type": "custom", "custom": {"name": "c"}}],
    "modalities": ["text"],
    "stream": True,
    "stream_options": {"include_usage": True},
}


def mutated(value: Any, dice: random.Random) -> Any:
    """The same with something in it exchanged, left out or doubled."""
    if dice.random() < 0.02:
        return dice.choice(ODD)
    if isinstance(value, dict):
        kept = {name: mutated(each, dice) for name, each in value.items() if dice.random() > 0.02}
        return {**kept, **({"strange": dice.choice(ODD)} if dice.random() < 0.1 else {})}
    if isinstance(value, list):
        return [mutated(each, dice) for each in value for _ in range(1 + (dice.random() < 0.05))]
    return value


@pytest.mark.parametrize("vendor", sorted(DIALECTS))
def test_odd_requests_are_built_or_refused(vendor: str) -> None:
    dice = random.Random(f"requests {vendor}")
    built = 0
    for _ in range(ROUNDS):
        fields = {**EVERYTHING, **MORE}
        fields = {name: mutated(fields[name], dice) for name in fields if dice.random() < 0.4}
        try:
            request = build(vendor, **fields)
        except InvalidRequest:
            continue
        body = orjson.loads(request.body)
        assert body["model"] == "m"
        assert "strange" not in body
        assert not any("strange" in message for message in body["messages"])
        built += 1
    assert built > ROUNDS // 40


def test_odd_errors_are_answered_in_words() -> None:
    dice = random.Random("errors")
    whole = {
        "error": {
            "message": "This model's maximum context length is 1.",
            "code": "content_filter",
            "type": "x",
            "param": "messages",
            "innererror": {"code": "ResponsibleAIPolicyViolation"},
            "metadata": {"flagged_input": "x"},
        },
        "detail": [{"msg": "x"}],
    }
    for _ in range(ROUNDS):
        body = orjson.dumps(mutated(whole, dice))
        body = body[: dice.randrange(len(body) + 1)] if dice.random() < 0.2 else body
        status = dice.choice([400, 401, 402, 403, 404, 408, 413, 422, 429, 500, 502, 503, 529, 302])
        error = vendor_refusal(status, {"retry-after": str(dice.choice(ODD))}, body)
        assert error.message
        assert error.http_status >= 400
