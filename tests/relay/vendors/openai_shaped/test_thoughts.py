"""What a model thought beside its tool calls is kept, and given back where clients drop it."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from relay.adapters import ADAPTERS, Asked, frame_of
from relay.protocols.openai_chat.request import parse_request
from relay.vendors.openai_shaped.thoughts import MOST_BYTES, ThoughtfulStreamTranslator
from tests.doubles.process import VendorDouble, directive
from tests.relay.vendors.openai_shaped.talk import HELLO, USER, ask, build

CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
SAID = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "rain"}
TELL = directive(tool_calls=[{"name": "f", "id": "call_1"}], reasoning=3)


@pytest.fixture(scope="module")
def double() -> Iterator[VendorDouble]:
    with VendorDouble() as double:
        yield double


def sent_back(memory: dict[str, Any], said: dict[str, Any] | None = None) -> Any:
    """What DeepSeek gets beside the call."""
    adapter = ADAPTERS["deepseek"]
    body = orjson.dumps({"model": "m", "messages": [*HELLO, said or SAID, RESULT]})
    asked = Asked(parse_request(body), "m", adapter.traits, limit=256, user_id=USER, memory=memory)
    return orjson.loads(adapter.build(asked).body)["messages"][1]["reasoning_content"]


def streamed(*deltas: dict[str, Any]) -> ThoughtfulStreamTranslator:
    translator = ThoughtfulStreamTranslator(
        completion_id="chatcmpl-1", created=7, include_usage=False, model_fallback="m"
    )
    for delta in deltas:
        chunk = {"model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        translator.feed(orjson.dumps(chunk))
    return translator


@pytest.mark.parametrize("streams", [True, False])
async def test_a_thought_is_kept_by_its_call(double: VendorDouble, *, streams: bool) -> None:
    request = build("deepseek", messages=TELL, stream=streams)
    raw = await ask(double, "deepseek", request)
    adapter, frame = ADAPTERS["deepseek"], frame_of(request, "chatcmpl-1", 7, "m")
    if not streams:
        assert adapter.translate(raw, frame).remember == {"call_1": {"text": "t0 t1 t2 "}}
        return
    translator = adapter.stream(frame, include_usage=False)
    for line in raw.splitlines():
        if line.startswith(b"data: "):
            translator.feed(line.removeprefix(b"data: "))
    assert translator.remember == {"call_1": {"text": "t0 t1 t2 "}}


def test_what_is_known_of_a_call_goes_back_beside_it() -> None:
    assert sent_back({"call_1": {"text": "It may rain."}}) == "It may rain."


def test_what_the_client_sends_goes_before_what_is_known() -> None:
    said = {**SAID, "reasoning_content": "Its own."}
    assert sent_back({"call_1": {"text": "It may rain."}}, said) == "Its own."


@pytest.mark.parametrize("entry", [{"model": "m", "signature": "x"}, {"text": ""}, {"text": 1}, "text", None])
def test_another_vendors_entry_is_no_thought(entry: Any) -> None:
    assert sent_back({"call_1": entry}) == " "


def test_nothing_is_kept_of_an_answer_that_calls_nothing() -> None:
    assert streamed({"role": "assistant", "reasoning_content": "hm"}, {"content": "a"}).remember == {}


def test_a_thought_in_any_letters_and_pieces_is_kept_as_it_was() -> None:
    pieces = ["It ", "may ", '"rain', '": ', "\\n\n", "雨🚃"]
    deltas = [{"role": "assistant"}, *({"reasoning_content": piece} for piece in pieces)]
    calls = {"tool_calls": [{"index": 0, **CALL}]}
    assert streamed(*deltas, calls).remember == {"call_1": {"text": "".join(pieces)}}


def test_a_text_that_speaks_of_the_fields_is_no_thought() -> None:
    said = {"content": 'like "reasoning_content": and "tool_calls": here'}
    assert streamed({"role": "assistant"}, said, {"tool_calls": [{"index": 0, **CALL}]}).remember == {}


def test_more_than_memory_keeps_is_not_kept() -> None:
    deltas = [{"reasoning_content": "x" * (MOST_BYTES // 2)}] * 3
    assert streamed(*deltas, {"tool_calls": [{"index": 0, **CALL}]}).remember == {}
