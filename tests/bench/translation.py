"""What translating costs by itself: a chat of 2 kB into a vendor's request, and one event of its stream."""

import json
import time
from collections.abc import Callable
from typing import Any

from relay.adapters import ADAPTERS, Asked
from relay.contracts import AnswerFrame
from relay.protocols.openai_chat.request import parse_request

ROUNDS = 3_000
REQUEST_BUDGET_US, EVENT_BUDGET_US = 150, 15
WORD = "word "
CHAT: dict[str, Any] = {
    "model": "m",
    "stream": True,
    "max_tokens": 500,
    "temperature": 0.5,
    "messages": [
        {"role": "system", "content": WORD * 80},
        {"role": "user", "content": WORD * 120},
        {"role": "assistant", "content": WORD * 120},
        {"role": "user", "content": WORD * 60},
    ],
}
# What opens a stream, and the event that is repeated; the number keeps one from being like another.
STREAMS: dict[str, tuple[list[dict[str, Any]], Callable[[int], dict[str, Any]]]] = {
    "openai": (
        [{"model": "m", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}],
        lambda number: {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "delta": {"content": f"w{number} "}, "finish_reason": None}],
        },
    ),
    "anthropic": (
        [
            {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 5}}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        ],
        lambda number: {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": f"w{number} "},
        },
    ),
    "gemini": (
        [],
        lambda number: {
            "candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": f"w{number} "}]}}],
            "usageMetadata": {"promptTokenCount": 5, "totalTokenCount": 5},
            "modelVersion": "m",
            "responseId": "r",
        },
    ),
}


def print_translation() -> None:
    """CPU time of this process, beside what it may be. A request counts on top of reading and checking it."""
    print(
        f"\n{'translation alone, CPU µs':<48}"
        + "".join(f"{name:>11}" for name in STREAMS)
        + f"{'at most':>11}"
    )
    requests = "".join(f"{_request_us(vendor):>11.0f}" for vendor in STREAMS)
    print(f"{'a request of 2 kB into a vendor':<48}{requests}{REQUEST_BUDGET_US:>11}")
    events = "".join(f"{_event_us(vendor):>11.1f}" for vendor in STREAMS)
    print(f"{'an event of a stream into a chunk':<48}{events}{EVENT_BUDGET_US:>11}")


def _request_us(vendor: str) -> float:
    chat = parse_request(json.dumps(CHAT).encode())
    adapter = ADAPTERS[vendor]
    asked = Asked(chat, "m", adapter.traits, 500, "user", {})
    return _measure(lambda _number: adapter.build(asked))


def _event_us(vendor: str) -> float:
    opening, event = STREAMS[vendor]
    payloads = [json.dumps(event(number)).encode() for number in range(ROUNDS)]
    translator = ADAPTERS[vendor].stream(AnswerFrame("chatcmpl-1", 1, "m"), include_usage=False)
    for each in opening:
        translator.feed(json.dumps(each).encode())
    return _measure(lambda number: translator.feed(payloads[number]))


def _measure(step: Callable[[int], object]) -> float:
    """Microseconds of CPU a step."""
    step(0)
    began = time.process_time()
    for number in range(1, ROUNDS):
        step(number)
    return (time.process_time() - began) / (ROUNDS - 1) * 1e6
