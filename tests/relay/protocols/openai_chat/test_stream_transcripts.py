# ruff: noqa: E501  transcripts stay on the lines vendors send them on
"""Whole streams as vendors send them, cut anywhere, and what a client must get for each."""

import itertools
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from billing.contracts import TokenUsage
from relay.errors import UpstreamFailed
from relay.protocols.openai_chat.stream import ChatStreamTranslator, error_event
from relay.sse import SSESplitter

OPENAI = b"""\
data: {"id":"chatcmpl-A","object":"chat.completion.chunk","created":1764000000,"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_44","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"q1"}

data: {"id":"chatcmpl-A","object":"chat.completion.chunk","created":1764000000,"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_44","choices":[{"index":0,"delta":{"content":"Hel"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"q"}

data: {"id":"chatcmpl-A","object":"chat.completion.chunk","created":1764000000,"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_44","choices":[{"index":0,"delta":{"content":"lo \xe4\xb8\x96"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":""}

data: {"id":"chatcmpl-A","object":"chat.completion.chunk","created":1764000000,"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_44","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null,"obfuscation":"zz"}

data: {"id":"chatcmpl-A","object":"chat.completion.chunk","created":1764000000,"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_44","choices":[],"usage":{"prompt_tokens":2006,"completion_tokens":300,"total_tokens":2306,"prompt_tokens_details":{"cached_tokens":1920,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"obfuscation":"a"}

data: [DONE]

"""

OPENAI_TOOLS = b"""\
data: {"id":"c","model":"gpt-4o-2024-08-06","choices":[{"index":0,"delta":{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"call_a","type":"function","function":{"name":"weather","arguments":""}}],"refusal":null},"logprobs":null,"finish_reason":null}]}

data: {"id":"c","model":"gpt-4o-2024-08-06","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\\"city\\""}}]},"logprobs":null,"finish_reason":null}]}

data: {"id":"c","model":"gpt-4o-2024-08-06","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":":\\"Bonn\\"}"}}]},"logprobs":null,"finish_reason":null}]}

data: {"id":"c","model":"gpt-4o-2024-08-06","choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"call_b","type":"function","function":{"name":"clock","arguments":""}}]},"logprobs":null,"finish_reason":null}]}

data: {"id":"c","model":"gpt-4o-2024-08-06","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"tool_calls"}]}

data: {"id":"c","model":"gpt-4o-2024-08-06","choices":[],"usage":{"prompt_tokens":82,"completion_tokens":17,"total_tokens":99}}

data: [DONE]

"""

DEEPSEEK = b"""\
: keep-alive

: keep-alive

data: {"id":"d1","object":"chat.completion.chunk","created":1764000000,"model":"deepseek-flash","system_fingerprint":"fp_ds","choices":[{"index":0,"delta":{"role":"assistant","content":null,"reasoning_content":""},"logprobs":null,"finish_reason":null}]}

data: {"id":"d1","object":"chat.completion.chunk","created":1764000000,"model":"deepseek-flash","system_fingerprint":"fp_ds","choices":[{"index":0,"delta":{"content":null,"reasoning_content":"2 and 2"},"logprobs":null,"finish_reason":null}]}

: keep-alive

data: {"id":"d1","object":"chat.completion.chunk","created":1764000000,"model":"deepseek-flash","system_fingerprint":"fp_ds","choices":[{"index":0,"delta":{"content":"4","reasoning_content":null},"logprobs":null,"finish_reason":null}]}

data: {"id":"d1","object":"chat.completion.chunk","created":1764000000,"model":"deepseek-flash","system_fingerprint":"fp_ds","choices":[{"index":0,"delta":{"content":"","reasoning_content":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":100,"completion_tokens":30,"total_tokens":130,"prompt_tokens_details":{"cached_tokens":64},"completion_tokens_details":{"reasoning_tokens":25},"prompt_cache_hit_tokens":64,"prompt_cache_miss_tokens":36}}

data: [DONE]

"""

AZURE = b"""\
data: {"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0,"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}}}]}

data: {"choices":[{"content_filter_results":{},"delta":{"content":"","refusal":null,"role":"assistant"},"finish_reason":null,"index":0,"logprobs":null}],"created":1764000000,"id":"chatcmpl-B","model":"gpt-4o-2024-08-06","object":"chat.completion.chunk","system_fingerprint":"fp_az"}

data: {"choices":[{"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}},"delta":{"content":"Hi"},"finish_reason":null,"index":0,"logprobs":null}],"created":1764000000,"id":"chatcmpl-B","model":"gpt-4o-2024-08-06","object":"chat.completion.chunk","system_fingerprint":"fp_az"}

data: {"choices":[{"content_filter_results":{},"delta":{},"finish_reason":"stop","index":0,"logprobs":null}],"created":1764000000,"id":"chatcmpl-B","model":"gpt-4o-2024-08-06","object":"chat.completion.chunk","system_fingerprint":"fp_az"}

data: {"choices":[],"created":1764000000,"id":"chatcmpl-B","model":"gpt-4o-2024-08-06","object":"chat.completion.chunk","system_fingerprint":"fp_az","usage":{"completion_tokens":2,"prompt_tokens":11,"total_tokens":13}}

data: [DONE]

"""

VLLM = b"""\
data: {"id":"v","object":"chat.completion.chunk","created":1764000000,"model":"meta-llama/Llama-3.3-70B-Instruct","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],"usage":{"prompt_tokens":9,"total_tokens":9,"completion_tokens":0}}

data: {"id":"v","object":"chat.completion.chunk","created":1764000000,"model":"meta-llama/Llama-3.3-70B-Instruct","choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"},"logprobs":null,"finish_reason":""}],"usage":{"prompt_tokens":9,"total_tokens":10,"completion_tokens":1}}

data: {"id":"v","object":"chat.completion.chunk","created":1764000000,"model":"meta-llama/Llama-3.3-70B-Instruct","choices":[{"index":0,"delta":{"role":"assistant","content":"!"},"logprobs":null,"finish_reason":"eos_token","stop_reason":null}],"usage":{"prompt_tokens":9,"total_tokens":12,"completion_tokens":3}}

data: {"id":"v","object":"chat.completion.chunk","created":1764000000,"model":"meta-llama/Llama-3.3-70B-Instruct","choices":[],"usage":{"prompt_tokens":9,"total_tokens":12,"completion_tokens":3}}

data: [DONE]

"""

XAI = b"""\
data: {"id":"x","object":"chat.completion.chunk","created":1764000000,"model":"grok-4.3","choices":[{"index":0,"delta":{"role":"assistant","content":"","tool_calls":[{"id":"call_x","function":{"name":"f","arguments":"{\\"a\\":1}"},"index":0,"type":"function"}]},"finish_reason":""}],"system_fingerprint":"fp_x"}

data: {"id":"x","object":"chat.completion.chunk","created":1764000000,"model":"grok-4.3","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":115,"completion_tokens_details":{"reasoning_tokens":100}},"system_fingerprint":"fp_x"}

data: [DONE]

"""

OPENROUTER_FAILURE = b"""\
: OPENROUTER PROCESSING

data: {"id":"gen-1","provider":"P","model":"meta-llama/llama-3.3-70b-instruct","object":"chat.completion.chunk","created":1764000000,"choices":[{"index":0,"delta":{"role":"assistant","content":"Once"},"finish_reason":null,"native_finish_reason":null,"logprobs":null}]}

data: {"id":"gen-1","provider":"P","model":"meta-llama/llama-3.3-70b-instruct","object":"chat.completion.chunk","created":1764000000,"error":{"code":502,"message":"Provider disconnected","metadata":{"provider_name":"P","raw":"key sk-or-123"}},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error","native_finish_reason":"error"}]}

"""

# transcript, text, reasoning, tool calls, finish reason, usage
WHOLE: dict[str, tuple[bytes, str, str, list[tuple[str, str]], str, TokenUsage]] = {
    "openai": (
        OPENAI,
        "Hello 世",
        "",
        [],
        "stop",
        TokenUsage(input_tokens=86, cache_read_tokens=1920, output_tokens=300),
    ),
    "openai tools": (
        OPENAI_TOOLS,
        "",
        "",
        [("weather", '{"city":"Bonn"}'), ("clock", "{}")],
        "tool_calls",
        TokenUsage(input_tokens=82, output_tokens=17),
    ),
    "deepseek": (
        DEEPSEEK,
        "4",
        "2 and 2",
        [],
        "stop",
        TokenUsage(input_tokens=36, cache_read_tokens=64, output_tokens=5, reasoning_tokens=25),
    ),
    "azure": (AZURE, "Hi", "", [], "stop", TokenUsage(input_tokens=11, output_tokens=2)),
    "vllm": (VLLM, "Hi!", "", [], "stop", TokenUsage(input_tokens=9, output_tokens=3)),
    "xai": (
        XAI,
        "",
        "",
        [("f", '{"a":1}')],
        "tool_calls",
        TokenUsage(input_tokens=10, output_tokens=5, reasoning_tokens=100),
    ),
}


def relay_stream(reads: list[bytes], *, include_usage: bool) -> bytes:
    """What the relay does with a stream, without its engines."""
    translator = ChatStreamTranslator(
        completion_id="chatcmpl-ours", created=7, include_usage=include_usage, model_fallback="m"
    )
    splitter = SSESplitter()
    sent = bytearray()
    try:
        for payload in _payloads(splitter, reads):
            sent += translator.feed(payload) or b""
    except UpstreamFailed as error:
        return bytes(sent) + error_event(error)
    assert translator.complete
    return bytes(sent) + translator.closing(translator.usage or TokenUsage())


def _payloads(splitter: SSESplitter, reads: list[bytes]) -> Iterator[bytes]:
    for read in reads:
        yield from splitter.feed(read)
    yield from splitter.flush()


def read_events(data: bytes) -> list[Any]:
    events = SSESplitter().feed(data)
    assert b"".join(b"data: " + event + b"\n\n" for event in events) == data
    assert events[-1] == b"[DONE]"
    return [orjson.loads(event) for event in events[:-1]]


def assert_well_formed(events: list[Any], *, include_usage: bool) -> None:
    """What stays true of every stream a client sees to its end."""
    assert {(event["id"], event["object"], event["created"]) for event in events} == {
        ("chatcmpl-ours", "chat.completion.chunk", 7)
    }
    assert len({event["model"] for event in events}) == 1
    last = events.pop() if include_usage else {"choices": [], "usage": 1}
    assert last["choices"] == []
    assert last["usage"]
    for event in events:
        assert event["choices"]
        assert event.get("usage", 0) is (None if include_usage else 0)
    choices = [choice for event in events for choice in event["choices"]]
    for index in {choice["index"] for choice in choices}:
        _assert_choice_well_formed([choice for choice in choices if choice["index"] == index])


def _assert_choice_well_formed(choices: list[Any]) -> None:
    assert ["role" in choice["delta"] for choice in choices] == [True] + [False] * (len(choices) - 1)
    reasons = [choice["finish_reason"] for choice in choices]
    assert reasons[-1] in {"stop", "length", "tool_calls", "content_filter", "function_call"}
    assert set(reasons[:-1]) <= {None}
    seen = 0
    for fragment in _fragments(choices):
        assert fragment.keys() >= {"index", "function"}
        if "id" in fragment:
            assert (fragment["index"], fragment["type"]) == (seen, "function")
            assert fragment["function"]["name"]
            seen += 1
        else:
            assert fragment["index"] < seen
            assert fragment["function"].keys() == {"arguments"}


def _fragments(choices: list[Any]) -> Iterator[Any]:
    for choice in choices:
        yield from choice["delta"].get("tool_calls", ())


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("include_usage", [True, False])
def test_a_client_gets_a_whole_stream(name: str, include_usage: bool) -> None:
    transcript, *expected, usage = WHOLE[name]
    events = read_events(relay_stream([transcript], include_usage=include_usage))
    choices = [choice for event in events for choice in event["choices"]]
    calls: dict[int, list[str]] = {}
    for fragment in _fragments(choices):
        call = calls.setdefault(fragment["index"], ["", ""])
        call[0] += fragment["function"].get("name", "")
        call[1] += fragment["function"]["arguments"]
    assert [
        "".join(choice["delta"].get("content") or "" for choice in choices),
        "".join(choice["delta"].get("reasoning_content") or "" for choice in choices),
        [tuple(call) for call in calls.values()],
        choices[-1]["finish_reason"],
    ] == expected
    if include_usage:
        assert events[-1]["usage"]["total_tokens"] == usage.prompt_tokens + usage.completion_tokens
    assert_well_formed(events, include_usage=include_usage)


@pytest.mark.parametrize("name", WHOLE)
def test_the_official_sdk_understands_the_stream(name: str) -> None:
    transcript, text, _, calls, reason, usage = WHOLE[name]
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    for event in read_events(relay_stream([transcript], include_usage=True)):
        state.handle_chunk(ChatCompletionChunk.model_validate(event))
    completion = state.get_final_completion()
    [choice] = completion.choices
    functions = [call.function for call in choice.message.tool_calls or ()]
    assert (choice.message.content or "") == text
    assert [(function.name, function.arguments) for function in functions] == calls
    assert choice.finish_reason == reason
    assert completion.usage is not None
    assert completion.usage.prompt_tokens == usage.prompt_tokens


def test_azures_first_chunk_does_not_settle_the_model() -> None:
    events = read_events(relay_stream([AZURE], include_usage=True))
    assert {event["model"] for event in events} == {"gpt-4o-2024-08-06"}
    assert {event["system_fingerprint"] for event in events} == {"fp_az"}
    assert b"filter" not in relay_stream([AZURE], include_usage=True)


def test_a_broken_stream_ends_in_an_error_and_nothing_that_looks_complete() -> None:
    sent = relay_stream([OPENROUTER_FAILURE], include_usage=True)
    first, last = SSESplitter().feed(sent)
    assert orjson.loads(first)["choices"][0]["delta"]["content"] == "Once"
    assert orjson.loads(last)["error"]["code"] == "upstream_error"
    assert b"sk-or" not in sent
    assert b'"finish_reason":"' not in sent
    assert b"[DONE]" not in sent


@pytest.mark.parametrize("name", WHOLE)
def test_the_last_blank_line_may_be_missing(name: str) -> None:
    whole = relay_stream([WHOLE[name][0]], include_usage=True)
    assert relay_stream([WHOLE[name][0].rstrip()], include_usage=True) == whole


def cut(data: bytes, points: list[int]) -> list[bytes]:
    edges = [0, *sorted(point % (len(data) + 1) for point in points), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


TRANSCRIPTS = [*(transcript for transcript, *_ in WHOLE.values()), OPENROUTER_FAILURE]


@pytest.mark.parametrize("transcript", TRANSCRIPTS)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_byte_by_byte_and_with_any_line_end_the_client_gets_the_same(transcript: bytes, end: bytes) -> None:
    data = transcript.replace(b"\n", end)
    reads = [data[at : at + 1] for at in range(len(data))]
    expected = relay_stream([transcript], include_usage=True)
    assert relay_stream(reads, include_usage=True) == expected


@given(
    st.sampled_from(TRANSCRIPTS),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.lists(st.integers(0, 10_000), max_size=20),
    st.booleans(),
)
def test_however_a_stream_is_cut_the_client_gets_the_same(
    transcript: bytes, end: bytes, points: list[int], include_usage: bool
) -> None:
    reads = cut(transcript.replace(b"\n", end), points)
    expected = relay_stream([transcript], include_usage=include_usage)
    assert relay_stream(reads, include_usage=include_usage) == expected


texts = st.sampled_from([None, "", "a", "深度", '"\\\n\u2028'])
fragments = st.fixed_dictionaries(
    {"function": st.fixed_dictionaries({"arguments": texts}, optional={"name": st.just("f")})},
    optional={"index": st.integers(0, 2), "id": st.sampled_from([None, "", "x", "y"])},
)
delta_values = st.fixed_dictionaries(
    {},
    optional={
        "role": st.just("assistant"),
        "content": texts,
        "reasoning_content": texts,
        "reasoning": texts,
        "refusal": texts,
        "tool_calls": st.none() | st.lists(fragments, max_size=2),
    },
)
choice_values: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"delta": st.none() | delta_values},
    optional={
        "index": st.integers(0, 1),
        "finish_reason": st.sampled_from([None, "", "stop", "length", "tool_calls", "eos"]),
        "logprobs": st.sampled_from([None, {"content": []}]),
    },
)
chunk_values = st.fixed_dictionaries(
    {},
    optional={
        "id": st.just("vendor"),
        "model": st.sampled_from(["", "m-1", "m-2"]),
        "choices": st.none() | st.lists(choice_values, max_size=2),
        "usage": st.sampled_from([None, {"prompt_tokens": 1, "completion_tokens": 2}]),
    },
)


@given(st.lists(chunk_values, max_size=8), st.booleans())
def test_whatever_a_vendor_streams_the_client_gets_a_well_formed_stream(
    chunks: list[Any], include_usage: bool
) -> None:
    translator = ChatStreamTranslator(
        completion_id="chatcmpl-ours", created=7, include_usage=include_usage, model_fallback="m"
    )
    sent = [translator.feed(orjson.dumps(chunk)) or b"" for chunk in chunks]
    translator.feed(b"[DONE]")
    if translator.complete:
        events = read_events(b"".join([*sent, translator.closing(TokenUsage(output_tokens=1))]))
        assert_well_formed(events, include_usage=include_usage)
