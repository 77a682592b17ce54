"""Answers of vendors with an accent, from a double of each, as customers get them."""

from collections.abc import Iterator
from typing import Any

import pytest

from billing.contracts import TokenUsage
from relay.errors import RelayError, UpstreamFailed
from relay.protocols.openai_chat.stream import VendorStreamError
from tests.doubles.process import VendorDouble, directive
from tests.doubles.vendor_profiles import PROFILES
from tests.relay.vendors.openai_shaped.talk import Heard, plain, stream

ALL = sorted(PROFILES)
THINKING = ["deepseek", "openrouter", "qwen", "xai"]
USED = {"prompt_tokens": 100, "completion_tokens": 20, "cached_tokens": 64, "reasoning_tokens": 5}
CALLS = [
    {"name": "look_up", "arguments": '{"city":"Zürich"}'},
    {"name": "sum_up", "arguments": '{"n":[1,2]}'},
]
TOOLS = [{"type": "function", "function": {"name": call["name"]}} for call in CALLS]
# What every chunk may have, and nothing of a vendor's own.
CHUNK_KEYS = {"id", "object", "created", "model", "system_fingerprint", "service_tier", "choices", "usage"}
CHOICE_KEYS = {"index", "delta", "logprobs", "finish_reason"}
DELTA_KEYS = {"role", "content", "reasoning_content", "tool_calls"}


@pytest.fixture(scope="module")
def running() -> Iterator[VendorDouble]:
    with VendorDouble() as double:
        yield double


@pytest.fixture
def double(running: VendorDouble) -> VendorDouble:
    running.reset()
    return running


def check_shape(heard: Heard) -> None:
    """What holds of every stream, whoever the vendor is."""
    finishes: dict[int, int] = {}
    assert {chunk["id"] for chunk in heard.chunks} == {"chatcmpl-1"}
    assert len({chunk["model"] for chunk in heard.chunks}) == 1
    for chunk in heard.chunks:
        assert chunk.keys() <= CHUNK_KEYS
        for choice in chunk["choices"]:
            assert choice.keys() == CHOICE_KEYS
            assert choice["delta"].keys() <= DELTA_KEYS
            assert choice["index"] not in finishes, "nothing follows a finish reason"
            if choice["finish_reason"] is not None:
                finishes[choice["index"]] = 1
    roles = [choice for chunk in heard.chunks for choice in chunk["choices"] if "role" in choice["delta"]]
    assert len(roles) == len(finishes) == 1
    assert [bool(chunk["usage"]) for chunk in heard.chunks] == [False] * (len(heard.chunks) - 1) + [True]
    assert heard.chunks[-1]["choices"] == []


@pytest.mark.parametrize("vendor", ALL)
async def test_a_plain_answer_reads_like_openais(double: VendorDouble, vendor: str) -> None:
    answer, body = await plain(double, vendor, messages=directive(**USED, chunks=3))
    (choice,) = body["choices"]
    assert choice["message"]["content"] == "w0 w1 w2 "
    assert (choice["finish_reason"], answer.finish_reasons) == ("stop", ("stop",))
    assert choice.keys() == {"index", "message", "logprobs", "finish_reason"}
    assert choice["message"].keys() <= {"role", "content", "refusal", "annotations", "reasoning_content"}
    assert body.keys() <= CHUNK_KEYS


@pytest.mark.parametrize("vendor", ALL)
@pytest.mark.parametrize("split", ["events", "bytes", "random:1"])
async def test_a_stream_reads_like_openais(double: VendorDouble, vendor: str, split: str) -> None:
    heard = await stream(double, vendor, messages=directive(**USED, chunks=4, unicode=True, split=split))
    check_shape(heard)
    assert heard.said() == "词0🚃é 词1🚃é 词2🚃é 词3🚃é "
    assert heard.finish_reasons == ("stop",)
    assert heard.is_whole


@pytest.mark.parametrize("vendor", ALL)
@pytest.mark.parametrize("streams", [True, False])
async def test_what_is_charged_is_what_the_vendor_counted(
    double: VendorDouble, vendor: str, *, streams: bool
) -> None:
    """xAI's reasoning outside its completion, DeepSeek's hits and misses, hosts that tell two numbers."""
    if streams:
        heard = await stream(double, vendor, messages=directive(**USED))
        assert heard.reported is not None
        assert not heard.reported.clamped
        usage, shown = heard.reported.usage, heard.chunks[-1]["usage"]
    else:
        answer, body = await plain(double, vendor, messages=directive(**USED))
        assert answer.usage is not None
        assert not answer.usage_clamped
        usage, shown = answer.usage, body["usage"]
    expected = TokenUsage(input_tokens=36, cache_read_tokens=64, output_tokens=15, reasoning_tokens=5)
    assert usage == (TokenUsage(input_tokens=100, output_tokens=20) if vendor == "llama" else expected)
    assert (shown["prompt_tokens"], shown["completion_tokens"], shown["total_tokens"]) == (100, 20, 120)


@pytest.mark.parametrize("vendor", THINKING)
async def test_thoughts_have_one_name(double: VendorDouble, vendor: str) -> None:
    told = directive(reasoning=3, chunks=1)
    heard = await stream(double, vendor, messages=told)
    check_shape(heard)
    answer, body = await plain(double, vendor, messages=told)
    message = body["choices"][0]["message"]
    assert heard.said("reasoning_content") == message["reasoning_content"] == "t0 t1 t2 "
    assert heard.output_bytes == answer.output_bytes == len("t0 t1 t2 w0 ")


@pytest.mark.parametrize("vendor", ALL)
@pytest.mark.parametrize("split", ["events", "bytes"])
async def test_tool_calls_are_numbered_named_and_ended_as_tool_calls(
    double: VendorDouble, vendor: str, split: str
) -> None:
    """Without index and id (Llama hosts), whole (xAI), with empty names (Qwen), ended by "" or stop."""
    told = directive(tool_calls=CALLS, split=split)
    heard = await stream(double, vendor, messages=told, tools=TOOLS)
    check_shape(heard)
    calls = heard.calls()
    assert [(name, arguments) for _, name, arguments in calls.values()] == [
        (call["name"], call["arguments"]) for call in CALLS
    ]
    assert list(calls) == [0, 1]
    ids = {call_id for call_id, _, _ in calls.values()}
    assert len(ids) == 2
    assert all(0 < len(call_id) <= 40 for call_id in ids)
    assert heard.finish_reasons == ("tool_calls",)


@pytest.mark.parametrize("vendor", ALL)
async def test_tool_calls_of_plain_answers_have_ids_of_their_own(double: VendorDouble, vendor: str) -> None:
    _, body = await plain(double, vendor, messages=directive(tool_calls=CALLS), tools=TOOLS)
    (choice,) = body["choices"]
    calls = choice["message"]["tool_calls"]
    assert [call["function"] for call in calls] == CALLS
    assert len({call["id"] for call in calls}) == 2
    assert [call["type"] for call in calls] == ["function", "function"]
    assert choice["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("vendor", ALL)
async def test_an_error_inside_a_stream_is_an_error(double: VendorDouble, vendor: str) -> None:
    with pytest.raises(VendorStreamError) as caught:
        await stream(double, vendor, messages=directive(error_in_stream_after=2))
    assert "double" not in caught.value.message


async def test_an_error_inside_a_200_is_an_error(double: VendorDouble) -> None:
    with pytest.raises(UpstreamFailed):
        await plain(double, "openrouter", messages=directive(refusal="inside_200"))


@pytest.mark.parametrize("vendor", ALL)
async def test_a_limit_ends_with_length(double: VendorDouble, vendor: str) -> None:
    heard = await stream(double, vendor, messages=directive(chunks=300, completion_tokens=300))
    assert heard.finish_reasons == ("length",)


@pytest.mark.parametrize(
    ("vendor", "reason", "expected"),
    [
        ("deepseek", "insufficient_system_resource", "length"),
        ("llama", "eos", "stop"),
        ("llama", "stop_sequence", "stop"),
        ("llama", "abort", "length"),
        ("azure", "content_filter", "content_filter"),
        ("xai", "", "stop"),
    ],
)
async def test_reasons_of_their_own_become_openais(
    double: VendorDouble, vendor: str, reason: str, expected: str
) -> None:
    _, body = await plain(double, vendor, messages=directive(finish_reason=reason or "stop"))
    heard = await stream(double, vendor, messages=directive(finish_reason=reason or "stop"))
    assert heard.finish_reasons == (body["choices"][0]["finish_reason"],) == (expected,)


@pytest.mark.parametrize("vendor", ALL)
@pytest.mark.parametrize("told", [{"no_done": True}, {"usage_each_chunk": True}, {"crlf": True}])
async def test_streams_end_and_count_in_many_ways(
    double: VendorDouble, vendor: str, told: dict[str, Any]
) -> None:
    heard = await stream(double, vendor, messages=directive(**USED, **told))
    assert heard.is_whole
    assert heard.reported is not None
    assert heard.reported.usage.prompt_tokens == 100
    assert heard.reported.usage.completion_tokens == 20


@pytest.mark.parametrize("vendor", ALL)
async def test_a_stream_that_breaks_off_is_not_whole(double: VendorDouble, vendor: str) -> None:
    with pytest.raises(RelayError):
        await stream(double, vendor, messages=directive(die="after_chunks:2"))
