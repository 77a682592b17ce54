"""Claude through the OpenAI SDK: a vendor with a protocol of its own, asked natively, charged exactly."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.doubles.anthropic_process import AnthropicDouble
from tests.doubles.process import directive
from tests.flows.asking import finish_reasons, sdk, stream, text_of
from tests.installation import Customer, Installation

CATALOG = """
[[channel]]
name = "claude"
vendor = "anthropic"
base_url = "{vendor}"
api_key = "sk-ant-double"

[[model]]
id = "claude-sonnet-4-5"
routes = [{{ channel = "claude", upstream_model = "claude-sonnet-4-5-20250929" }}]
context_window = 200000
max_output_tokens = 64000
capabilities = ["vision", "tools"]
lifecycle = {{ state = "deprecated", shutdown = 2026-11-30, successor = "claude-sonnet-5-5" }}
price = {{ input = "3.00", cache_read = "0.30", cache_write_5m = "3.75", output = "15.00" }}
cost = {{ input = "3.00", cache_read = "0.30", cache_write_5m = "3.75", output = "15.00" }}
"""
MODEL = "claude-sonnet-4-5"
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


@pytest.fixture(scope="module")
def claude(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Customer]:
    """An installation of its own: others count on what is offered in the shared one."""
    with AnthropicDouble() as vendor, Installation() as installation:
        catalog: Path = tmp_path_factory.mktemp("catalog") / "claude.toml"
        catalog.write_text(CATALOG.format(vendor=vendor.base_url))
        installation.output_of("apply_catalog", str(catalog))
        yield installation.create_customer("10.00")


@pytest.fixture
def client(claude: Customer) -> Iterator[OpenAI]:
    with sdk(claude, max_retries=3) as client:
        yield client


def told(**tell: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": directive(**tell)}


def test_an_answer_is_openais_and_the_charge_is_of_its_tokens(client: OpenAI, claude: Customer) -> None:
    usage = {"input_tokens": 700, "cache_read_input_tokens": 1_000, "cache_creation_input_tokens": 0}
    raw = client.chat.completions.with_raw_response.create(**told(text="Good morning.", usage=usage))
    answer = raw.parse()
    assert answer.choices[0].message.content == "Good morning."
    assert answer.model == "claude-sonnet-4-5-20250929"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 1_700
    record = claude.wait_for_record(raw.headers["x-request-id"])
    expected = 700 * 3_000 + 1_000 * 300 + answer.usage.completion_tokens * 15_000
    assert record["charge_nano"] == expected
    assert raw.headers["x-farebox-deprecation"] == "shutdown=2026-11-30; successor=claude-sonnet-5-5"


def test_a_stream_ends_once_and_carries_its_usage(client: OpenAI) -> None:
    chunks = stream(client, model=MODEL, tell={"chunks": 12}, stream_options={"include_usage": True})
    assert len(text_of(chunks).split()) == 12
    assert finish_reasons(chunks) == ["stop"]
    assert chunks[-1].usage is not None
    assert len({chunk.id for chunk in chunks}) == 1


def test_tools_go_there_and_back_with_thinking(client: OpenAI) -> None:
    """The signature of the thinking survives a client that never heard of it."""
    asked: list[Any] = directive(
        tools=[{"name": "get_weather", "input": {"city": "Oslo"}, "id": "toolu_1"}], thinking=True
    )
    common: dict[str, Any] = {"model": MODEL, "tools": [TOOL], "reasoning_effort": "low", "max_tokens": 4_000}
    answer = client.chat.completions.create(messages=asked, **common)
    [call] = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert (call.function.name, call.function.arguments) == ("get_weather", '{"city":"Oslo"}')
    assert answer.choices[0].finish_reason == "tool_calls"
    replied: list[Any] = [
        *asked,
        {"role": "assistant", "content": None, "tool_calls": [call.model_dump()]},
        {"role": "tool", "tool_call_id": call.id, "content": "rain"},
    ]
    final = client.chat.completions.create(messages=replied, **common)
    assert final.choices[0].finish_reason == "stop"


def test_thinking_that_is_not_known_again_does_not_end_the_conversation(client: OpenAI) -> None:
    """Signatures of another account of ours, for one: the model goes on without its earlier thoughts."""
    asked: list[Any] = directive(tools=[{"name": "get_weather", "input": {}}], thinking=True)
    call = {"id": "toolu_9", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    forged = {"type": "thinking", "thinking": "Hm.", "signature": "Zm9yZ2Vk"}
    said = {"role": "assistant", "content": None, "tool_calls": [call], "thinking_blocks": [forged]}
    messages = [*asked, said, {"role": "tool", "tool_call_id": "toolu_9", "content": "rain"}]
    common: dict[str, Any] = {"model": MODEL, "tools": [TOOL], "reasoning_effort": "low", "max_tokens": 4_000}
    answer = client.with_options(max_retries=0).chat.completions.create(messages=messages, **common)
    assert answer.choices[0].finish_reason == "stop"


def test_what_the_vendor_cannot_do_is_refused_by_name(client: OpenAI, claude: Customer) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**told(), logprobs=True)
    assert (caught.value.param, caught.value.code) == ("logprobs", "unsupported_parameter")


def test_best_effort_parameters_are_dropped_and_named(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(**told(), seed=7, presence_penalty=0.5)
    assert raw.headers["x-farebox-dropped-params"] == "seed, presence_penalty"


def test_an_error_of_the_vendor_is_told_in_openais_shape_and_costs_nothing(
    client: OpenAI, claude: Customer
) -> None:
    before = claude.balance().posted
    tell = told(status=529, error={"type": "overloaded_error", "message": "Overloaded"})
    with pytest.raises(openai.InternalServerError) as caught:
        client.with_options(max_retries=0).chat.completions.create(**tell)
    assert caught.value.status_code == 503
    assert claude.balance().posted == before


def test_an_error_inside_a_stream_raises_and_charges_what_came(client: OpenAI) -> None:
    with pytest.raises(openai.APIError, match="vendor"):
        stream(client, model=MODEL, tell={"chunks": 9, "error_in_stream_after": 3})
