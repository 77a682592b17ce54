"""The short cut through a usual chunk says exactly what the long way says."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.protocols.openai_chat.stream import ChatStreamTranslator

TEXTS = st.lists(
    st.one_of(
        st.text(max_size=12), st.sampled_from(["stop", "content", '","finish_reason":"stop', "\\", '"', "m"])
    ),
    max_size=12,
)
KEYS = ("content", "reasoning_content", "reasoning")


def payload(delta: dict[str, object], *, spaced: bool = False, **extra: object) -> bytes:
    chunk = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}],
        **extra,
    }
    separators = (", ", ": ") if spaced else (",", ":")
    return json.dumps(chunk, separators=separators, ensure_ascii=False).encode()


def translator() -> ChatStreamTranslator:
    return ChatStreamTranslator(completion_id="c", created=1, include_usage=True, model_fallback="m")


@given(texts=TEXTS, key=st.sampled_from(KEYS), spaced=st.booleans())
def test_short_and_long_way_agree(texts: list[str], key: str, spaced: bool) -> None:
    short, long = translator(), translator()
    payloads = [payload({"role": "assistant", "content": ""}, spaced=spaced)]
    payloads += [payload({key: text}, spaced=spaced) for text in texts]
    assert [short.feed(one) for one in payloads] == [long._feed_parsed(one) for one in payloads]
    assert short.output_bytes == long.output_bytes


@pytest.mark.parametrize(
    "other",
    [
        payload({"content": "x"}, usage={"prompt_tokens": 1, "completion_tokens": 1}),
        payload({"content": "x", "tool_calls": [{"index": 0, "id": "i", "function": {"name": "f"}}]}),
        payload({"content": "x"}, error={"message": "no"}),
        b"[DONE]",
        b"not json",
    ],
)
def test_what_is_not_usual_is_not_cut_short(other: bytes) -> None:
    def outcome(way: str) -> object:
        made = translator()
        for one in (payload({"role": "assistant", "content": ""}), payload({"content": "hello"})):
            made.feed(one)
        try:
            answer = getattr(made, way)(other)
        except Exception as error:  # noqa: BLE001 - whatever it is, both ways must end in it
            return type(error)
        return answer, made.done, made.usage, getattr(made, way)(payload({"content": "after"}))

    assert outcome("feed") == outcome("_feed_parsed")
