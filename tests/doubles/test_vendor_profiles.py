"""The vendors that the double plays beside OpenAI, seen by the official SDK as their customers use it."""

import http.client
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import AzureOpenAI, OpenAI
from openai.types.chat import ChatCompletionChunk

from tests.doubles.process import VendorDouble, directive
from tests.doubles.vendor_profiles import PROFILES

KEY = "sk-double-77se"
WITH_USAGE = {"include_usage": True}
HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Hello"}]
TWO_CALLS = [{"name": "look_up", "arguments": '{"city":"Zürich"}'}, {"name": "sum_up", "arguments": "{}"}]
USED = {"prompt_tokens": 100, "completion_tokens": 20, "cached_tokens": 64, "reasoning_tokens": 5}
ALL = sorted(PROFILES)
THINKING = ["deepseek", "openrouter", "qwen", "xai"]


@pytest.fixture(scope="module")
def running() -> Iterator[VendorDouble]:
    with VendorDouble() as double:
        yield double


@pytest.fixture
def double(running: VendorDouble) -> VendorDouble:
    running.reset()
    return running


def client_of(double: VendorDouble, vendor: str, key: str = KEY) -> OpenAI:
    headers = {"api-key": key} if vendor == "azure" else {}
    return OpenAI(
        base_url=double.base_url_of(vendor), api_key=key, max_retries=0, default_headers=headers, timeout=20
    )


def ask(double: VendorDouble, vendor: str, messages: Any = None, *, key: str = KEY, **fields: Any) -> Any:
    with client_of(double, vendor, key) as client:
        answer = client.chat.completions.create(**{"model": "m", "messages": messages or HELLO, **fields})
        return list(answer) if fields.get("stream") else answer


def wire(double: VendorDouble, vendor: str, messages: Any, **fields: Any) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", double.port, timeout=10)
    try:
        body = {"model": "m", "messages": messages, **fields}
        path = PROFILES[vendor].base_path + "/chat/completions"
        headers = {"Authorization": f"Bearer {KEY}", "api-key": KEY}
        connection.request("POST", path, json.dumps(body), headers)
        return connection.getresponse().read()
    finally:
        connection.close()


def text_of(chunks: list[ChatCompletionChunk], name: str = "content") -> str:
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
    return "".join(getattr(delta, name, None) or "" for delta in deltas)


@pytest.mark.parametrize("vendor", ALL)
def test_the_sdk_reads_plain_and_streamed_answers(double: VendorDouble, vendor: str) -> None:
    told = directive(**USED, chunks=3)
    answer = ask(double, vendor, told)
    chunks = ask(double, vendor, told, stream=True, stream_options=WITH_USAGE)
    assert answer.choices[0].message.content == text_of(chunks) == "w0 w1 w2 "
    assert answer.usage.prompt_tokens == 100
    usages = [chunk.usage for chunk in chunks if chunk.usage]
    assert [usage.prompt_tokens for usage in usages] == [100]
    assert [record["served"] for record in double.records()] == [True, True]


@pytest.mark.parametrize("vendor", ALL)
@pytest.mark.parametrize("split", ["bytes", "random:3"])
def test_cuts_change_nothing(double: VendorDouble, vendor: str, split: str) -> None:
    chunks = ask(double, vendor, directive(unicode=True, split=split, chunks=4), stream=True)
    assert text_of(chunks) == "词0🚃é 词1🚃é 词2🚃é 词3🚃é "


@pytest.mark.parametrize("vendor", THINKING)
def test_thoughts_come_before_the_answer(double: VendorDouble, vendor: str) -> None:
    name = "reasoning" if vendor == "openrouter" else "reasoning_content"
    told = directive(reasoning=2, chunks=1)
    answer = ask(double, vendor, told, extra_body={"enable_thinking": False})
    chunks = ask(double, vendor, told, stream=True)
    assert getattr(answer.choices[0].message, name) == text_of(chunks, name) == "t0 t1 "


@pytest.mark.parametrize("vendor", sorted(set(ALL) - {"llama"}))
def test_tool_calls_come_whole_and_in_fragments(double: VendorDouble, vendor: str) -> None:
    told = directive(tool_calls=TWO_CALLS)
    calls = ask(double, vendor, told).choices[0].message.tool_calls
    assert [call.function.name for call in calls] == ["look_up", "sum_up"]
    arguments = ["", ""]
    for chunk in ask(double, vendor, told, stream=True):
        for choice in chunk.choices:
            for call in (choice.delta and choice.delta.tool_calls) or []:
                arguments[call.index] += call.function.arguments or ""
    assert arguments == [call["arguments"] for call in TWO_CALLS]


@pytest.mark.parametrize("vendor", ALL)
def test_a_wrong_key_is_refused_as_the_vendor_does(double: VendorDouble, vendor: str) -> None:
    expected = openai.BadRequestError if vendor == "xai" else openai.AuthenticationError
    with pytest.raises(expected):
        ask(double, vendor, key="sk-wrong")


@pytest.mark.parametrize(
    ("vendor", "about"), [(vendor, about) for vendor in ALL for about in PROFILES[vendor].refusals]
)
def test_canned_errors_reach_the_sdk(double: VendorDouble, vendor: str, about: str) -> None:
    status, body = PROFILES[vendor].refusals[about]
    if status == 200:
        assert ask(double, vendor, directive(refusal=about)).error == body["error"]  # type: ignore[index]
        return
    with pytest.raises(openai.APIStatusError) as caught:
        ask(double, vendor, directive(refusal=about, retry_after=7))
    assert caught.value.status_code == status
    assert caught.value.response.json() == body


@pytest.mark.parametrize("vendor", ALL)
def test_an_error_in_the_stream_follows_what_came_before(double: VendorDouble, vendor: str) -> None:
    body = wire(double, vendor, directive(error_in_stream_after=2), stream=True).decode()
    *_, before, last, _ = body.split("\n\n")
    assert "w1 " in before
    assert "The double failed." in last


def test_deepseek_counts_hits_and_misses_and_tells_unasked(double: VendorDouble) -> None:
    usage = ask(double, "deepseek", directive(**USED)).usage
    assert (usage.prompt_cache_hit_tokens, usage.prompt_cache_miss_tokens) == (64, 36)
    chunks = ask(double, "deepseek", directive(**USED), stream=True)
    assert chunks[-1].usage.completion_tokens == 20
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert wire(double, "deepseek", HELLO).startswith(b"\n\n\n{")
    assert b": keep-alive\n\n" in wire(double, "deepseek", HELLO, stream=True)


def test_xai_counts_reasoning_beside_the_completion(double: VendorDouble) -> None:
    usage = ask(double, "xai", directive(**USED)).usage
    assert (usage.completion_tokens, usage.total_tokens) == (15, 120)
    assert usage.completion_tokens_details.reasoning_tokens == 5
    assert usage.cost_in_usd_ticks == 1_234_500


def test_qwen_tells_usage_of_a_stream_on_demand_only(double: VendorDouble) -> None:
    assert not any(chunk.usage for chunk in ask(double, "qwen", stream=True))
    assert ask(double, "qwen", stream=True, stream_options=WITH_USAGE)[-1].usage


def test_a_llama_host_leaves_out_ids_indices_and_totals(double: VendorDouble) -> None:
    body = wire(double, "llama", directive(tool_calls=TWO_CALLS), stream=True, stream_options=WITH_USAGE)
    assert b'"index":1' not in body
    assert b"call_double" not in body
    assert b"total_tokens" not in body
    assert ask(double, "llama").choices[0].finish_reason == "eos_token"


def test_azure_begins_with_an_empty_chunk_and_speaks_its_own_sdk(double: VendorDouble) -> None:
    with AzureOpenAI(
        azure_endpoint=f"{double.origin}/azure", api_key=KEY, api_version="2024-10-21", max_retries=0
    ) as client:
        chunks = list(
            client.chat.completions.create(
                model="my-gpt-4o", messages=[{"role": "user", "content": "Hello"}], stream=True
            )
        )
        assert (chunks[0].choices, chunks[0].model, chunks[0].id) == ([], "", "")
        assert text_of(chunks).startswith("w0 ")
        with pytest.raises(openai.NotFoundError) as caught:
            client.chat.completions.create(model="missing", messages=[{"role": "user", "content": "Hello"}])
    assert caught.value.code == "DeploymentNotFound"


def test_an_azure_deployment_needs_the_apis_version(double: VendorDouble) -> None:
    url = f"{double.origin}/azure/openai/deployments/gpt-4o"
    headers = {"api-key": KEY}
    with (
        OpenAI(base_url=url, api_key=KEY, max_retries=0, default_headers=headers) as client,
        pytest.raises(openai.NotFoundError),
    ):
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}])


def test_openrouter_comments_tells_costs_and_ends_in_an_error_chunk(double: VendorDouble) -> None:
    body = wire(double, "openrouter", directive(error_in_stream_after=1), stream=True)
    assert body.startswith(b": OPENROUTER PROCESSING\n\n")
    error = json.loads(body.split(b"\n\n")[-2].removeprefix(b"data: "))
    assert error["choices"][0]["finish_reason"] == "error"
    assert error["error"]["code"] == 502
    assert ask(double, "openrouter").usage.cost == 0.00014


ASSISTANT_CALLS = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
}
LOOP = [*HELLO, ASSISTANT_CALLS, {"role": "tool", "tool_call_id": "c", "content": "1"}]
TOOL = {"type": "function", "function": {"name": "f", "strict": True}}
IMAGE = [{"type": "image_url", "image_url": {"url": "https://a.example/a.png"}}]
DEVELOPER = [{"role": "developer", "content": "Be brief."}, *HELLO]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}


@pytest.mark.parametrize(
    ("vendor", "fields", "words"),
    [
        ("deepseek", {"messages": DEVELOPER}, "unknown variant `developer`"),
        ("deepseek", {"messages": [{"role": "user", "content": IMAGE}]}, "unknown variant `image_url`"),
        ("deepseek", {"tools": [{"type": "custom", "custom": {"name": "c"}}]}, "unknown variant `custom`"),
        ("deepseek", {"response_format": SCHEMA}, "response_format type is unavailable"),
        ("deepseek", {"response_format": {"type": "json_object"}}, "must contain the word"),
        ("deepseek", {"messages": LOOP}, "must be passed back"),
        ("xai", {"presence_penalty": 0.5}, "presencePenalty"),
        ("xai", {"stop": ["x"]}, "not supported on this model: stop"),
        ("xai", {"model": "grok-4", "reasoning_effort": "low"}, "reasoningEffort"),
        ("xai", {"messages": [{"role": "system", "content": "x", "name": "a"}, *HELLO]}, "can have a name"),
        ("xai", {"tools": [TOOL]}, "strict"),
        ("qwen", {"messages": DEVELOPER}, "developer is not one of"),
        ("qwen", {"extra_body": {"enable_thinking": True}}, "must be set to false for non-streaming"),
        ("qwen", {"model": "qwen3-32b"}, "must be set to false for non-streaming"),
        ("qwen", {"temperature": 2}, "Temperature should be in"),
        ("qwen", {"top_p": 0}, "Range of top_p"),
        ("qwen", {"tools": [TOOL], "tool_choice": "required"}, "tool_choice is one of"),
        ("qwen", {"response_format": {"type": "json_object"}}, "must contain the word"),
        ("llama", {"messages": DEVELOPER}, "Input should be one of"),
        ("llama", {"messages": [{"role": "user", "content": IMAGE}]}, "valid string"),
        ("llama", {"logit_bias": {"1": 1}}, "logit_bias is not supported"),
        ("llama", {"max_tokens": 131_072}, "maximum context length"),
        ("azure", {"messages": [{"role": "user", "content": "x", "reasoning_content": "y"}]}, "unexpected"),
    ],
)
def test_what_the_vendor_would_refuse_is_refused(
    double: VendorDouble, vendor: str, fields: dict[str, Any], words: str
) -> None:
    with pytest.raises((openai.BadRequestError, openai.UnprocessableEntityError)) as caught:
        ask(double, vendor, **fields)
    assert words in caught.value.response.text


def test_thinking_loops_are_taken_by_deepseek_with_their_thoughts(double: VendorDouble) -> None:
    thought = [HELLO[0], {**ASSISTANT_CALLS, "reasoning_content": " "}, LOOP[2]]
    assert ask(double, "deepseek", thought).choices
    assert ask(double, "deepseek", LOOP, extra_body={"thinking": {"type": "disabled"}}).choices
    with pytest.raises(openai.BadRequestError):
        ask(double, "deepseek", thought, model="deepseek-reasoner")


def test_only_other_vendors_have_canned_errors(double: VendorDouble) -> None:
    with (
        OpenAI(base_url=double.base_url, api_key=KEY, max_retries=0) as client,
        pytest.raises(openai.BadRequestError),
    ):
        client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": '{"refusal": "limit"}'}]
        )
