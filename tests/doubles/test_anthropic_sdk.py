"""The Anthropic double, seen by the vendor's own SDK."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.doubles.anthropic_process import AnthropicDouble

anthropic = pytest.importorskip("anthropic", reason="the vendor's SDK is not installed")

MODEL = "claude-opus-4-5-20251101"
TOOLS = [{"name": "f", "input_schema": {"type": "object", "properties": {"a": {"type": "integer"}}}}]


@pytest.fixture(scope="module")
def double() -> Iterator[AnthropicDouble]:
    with AnthropicDouble() as double:
        yield double


@pytest.fixture
def client(double: AnthropicDouble) -> Iterator[Any]:
    with anthropic.Anthropic(base_url=double.origin, api_key="sk-ant-a1b2", max_retries=0) as client:
        yield client


def told(**directive: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": json.dumps(directive)}]
    return {"model": MODEL, "max_tokens": 3_000, "messages": messages}


def test_a_plain_answer(client: Any) -> None:
    message = client.messages.create(**told(chunks=3))
    assert [block.text for block in message.content] == ["w0 w1 w2 "]
    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 3)


@pytest.mark.parametrize("split", ["events", "bytes", "random:1"])
def test_a_stream(client: Any, split: str) -> None:
    with client.messages.stream(**told(chunks=3, split=split)) as stream:
        assert "".join(stream.text_stream) == "w0 w1 w2 "
        message = stream.get_final_message()
    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 3)


def test_parallel_tools_streamed(client: Any) -> None:
    wanted = [{"name": "f", "input": {"a": 1}}, {"name": "f"}]
    with client.messages.stream(**told(tools=wanted), tools=TOOLS) as stream:
        message = stream.get_final_message()
    assert [block.input for block in message.content] == [{"a": 1}, {}]
    assert message.stop_reason == "tool_use"


def test_a_tool_loop_with_thinking(client: Any) -> None:
    asked = told(tools=[{"name": "f"}], redacted=True)
    fields = {"tools": TOOLS, "thinking": {"type": "enabled", "budget_tokens": 1_024}}
    with client.messages.stream(**asked, **fields) as stream:
        first = stream.get_final_message()
    assert [block.type for block in first.content] == ["thinking", "redacted_thinking", "tool_use"]
    assert first.usage.output_tokens == 25
    result = {"type": "tool_result", "tool_use_id": first.content[-1].id, "content": "42"}
    asked["messages"] += [
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [result]},
    ]
    assert client.messages.create(**asked, **fields).stop_reason == "end_turn"
    asked["messages"][1] = {"role": "assistant", "content": first.content[-1:]}
    with pytest.raises(anthropic.BadRequestError, match="thinking"):
        client.messages.create(**asked, **fields)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, "BadRequestError"),
        (401, "AuthenticationError"),
        (403, "PermissionDeniedError"),
        (404, "NotFoundError"),
        (429, "RateLimitError"),
        (500, "InternalServerError"),
        (529, "InternalServerError"),
    ],
)
def test_errors_before_an_answer(client: Any, status: int, error: str) -> None:
    with pytest.raises(getattr(anthropic, error)) as caught:
        client.messages.create(**told(status=status))
    assert caught.value.status_code == status
    assert caught.value.body["type"] == "error"


def test_an_error_inside_a_stream(client: Any) -> None:
    with (
        pytest.raises(anthropic.APIStatusError, match="Overloaded"),
        client.messages.stream(**told(error_in_stream_after=2)) as stream,
    ):
        stream.get_final_message()


def test_a_refusal(client: Any) -> None:
    message = client.messages.create(**told(chunks=1, stop_reason="refusal"))
    assert message.stop_reason == "refusal"


def test_a_request_that_breaks_the_rules(client: Any) -> None:
    with pytest.raises(anthropic.BadRequestError, match="cannot both be specified"):
        client.messages.create(**told(), extra_body={"temperature": 0.5, "top_p": 0.5})


def test_models_and_token_counts(client: Any) -> None:
    assert any(model.id.startswith("claude-") for model in client.models.list())
    counted = client.messages.count_tokens(model=MODEL, messages=told()["messages"])
    assert counted.input_tokens > 0
