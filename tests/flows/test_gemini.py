"""Gemini through the OpenAI SDK: asked natively, charged exactly, tool loops with thoughts included."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.doubles.gemini_process import GeminiDouble
from tests.doubles.process import directive
from tests.flows.asking import finish_reasons, sdk, stream, text_of
from tests.installation import Customer, Installation

CATALOG = """
[[channel]]
name = "google"
vendor = "gemini"
base_url = "{vendor}"
api_key = "AIza-double"

[[model]]
id = "gemini-3.1-pro-preview"
routes = [{{ channel = "google", upstream_model = "gemini-3.1-pro-preview" }}]
context_window = 1048576
max_output_tokens = 65536
capabilities = ["vision", "tools"]
traits = {{ reasoning_efforts = ["low", "high"] }}
price = {{ input = "2.00", cache_read = "0.20", output = "12.00" }}
cost = {{ input = "2.00", cache_read = "0.20", output = "12.00" }}
"""
MODEL = "gemini-3.1-pro-preview"
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


@pytest.fixture(scope="module")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Customer]:
    """An installation of its own: others count on what is offered in the shared one."""
    with GeminiDouble() as vendor, Installation() as installation:
        catalog: Path = tmp_path_factory.mktemp("catalog") / "google.toml"
        catalog.write_text(CATALOG.format(vendor=vendor.origin))
        installation.output_of("apply_catalog", str(catalog))
        yield installation.create_customer("10.00")


@pytest.fixture
def client(google: Customer) -> Iterator[OpenAI]:
    with sdk(google, max_retries=3) as client:
        yield client


def told(**tell: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": directive(**tell)}


def test_an_answer_is_openais_and_the_charge_is_of_its_tokens(client: OpenAI, google: Customer) -> None:
    usage = {"promptTokenCount": 1_500, "cachedContentTokenCount": 1_000}
    raw = client.chat.completions.with_raw_response.create(**told(text="Good morning.", usage=usage))
    answer = raw.parse()
    assert answer.choices[0].message.content == "Good morning."
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 1_500
    record = google.wait_for_record(raw.headers["x-request-id"])
    expected = 500 * 2_000 + 1_000 * 200 + answer.usage.completion_tokens * 12_000
    assert record["charge_nano"] == expected


def test_a_signature_that_is_not_known_again_does_not_end_the_conversation(client: OpenAI) -> None:
    asked: list[Any] = directive(tools=[{"name": "get_weather", "args": {}}])
    call = {
        "id": "call_9",
        "type": "function",
        "function": {"name": "get_weather", "arguments": "{}"},
        "extra_content": {"google": {"thought_signature": "Zm9yZ2Vk"}},
    }
    said = {"role": "assistant", "content": None, "tool_calls": [call]}
    messages = [*asked, said, {"role": "tool", "tool_call_id": "call_9", "content": "rain"}]
    tools: list[Any] = [TOOL]
    answer = client.with_options(max_retries=0).chat.completions.create(
        model=MODEL, messages=messages, tools=tools
    )
    assert answer.choices[0].finish_reason == "stop"


def test_a_stream_ends_once_and_carries_its_usage(client: OpenAI) -> None:
    chunks = stream(client, model=MODEL, tell={"chunks": 12}, stream_options={"include_usage": True})
    assert len(text_of(chunks).split()) == 12
    assert finish_reasons(chunks) == ["stop"]
    assert chunks[-1].usage is not None
    assert len({chunk.id for chunk in chunks}) == 1


@pytest.mark.parametrize("is_stream", [False, True])
def test_tools_go_there_and_back_with_their_signatures(client: OpenAI, is_stream: bool) -> None:
    """Signatures survive a client that never heard of them."""
    asked: list[Any] = directive(tools=[{"name": "get_weather", "args": {"city": "Oslo"}}], thinking=True)
    common: dict[str, Any] = {"model": MODEL, "tools": [TOOL], "max_tokens": 4_000}
    if is_stream:
        with client.chat.completions.stream(messages=asked, **common) as events:
            for _ in events:
                pass
            answer: Any = events.get_final_completion()
    else:
        answer = client.chat.completions.create(messages=asked, **common)
    [call] = answer.choices[0].message.tool_calls or []
    assert call.function.name == "get_weather"
    assert answer.choices[0].finish_reason == "tool_calls"
    function = {"name": call.function.name, "arguments": call.function.arguments}
    replied: list[Any] = [
        *asked,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": call.id, "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": call.id, "content": "rain"},
    ]
    final = client.chat.completions.create(messages=replied, **common)
    assert final.choices[0].finish_reason == "stop"


def test_a_blocked_prompt_is_a_filtered_answer(client: OpenAI) -> None:
    answer = client.chat.completions.create(**told(block_reason="SAFETY"))
    assert answer.choices[0].finish_reason == "content_filter"


def test_an_error_of_the_vendor_is_told_in_openais_shape_and_costs_nothing(
    client: OpenAI, google: Customer
) -> None:
    before = google.balance().posted
    tell = told(status=503, error={"status": "UNAVAILABLE", "message": "The model is overloaded."})
    with pytest.raises(openai.InternalServerError):
        client.with_options(max_retries=0).chat.completions.create(**tell)
    assert google.balance().posted == before


def test_an_image_that_only_we_could_reach_is_not_fetched(client: OpenAI, google: Customer) -> None:
    """Gemini takes images inline only, so we would have to ask for it."""
    inside = f"{google.installation.url}/static/img/favicon.svg"
    content: list[Any] = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": inside}},
    ]
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": content}])
    assert caught.value.code == "invalid_image_url"
    assert caught.value.param == "messages[0].content[1].image_url.url"
