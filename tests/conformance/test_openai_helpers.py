"""The helpers of the official Python SDK work with every vendor's models, as with OpenAI's own."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel

from tests.conformance.desk import SECONDS, Desk
from tests.doubles.process import directive


class Forecast(BaseModel):
    city: str
    days: int


class GetWeather(BaseModel):
    """The weather in a city"""

    city: str


@pytest.fixture
def client(desk: Desk) -> Iterator[OpenAI]:
    key = desk.customer.api_key
    with OpenAI(base_url=desk.base_url, api_key=key, max_retries=0, timeout=SECONDS) as client:
        yield client


def told(**tell: Any) -> Any:
    return directive(**tell)


HELLO: Any = [{"role": "user", "content": "Hello!"}]


def test_the_stream_helper_adds_up_what_it_saw(client: OpenAI, desk: Desk) -> None:
    with client.chat.completions.stream(
        model=desk.vendor.model, messages=told(chunks=6), stream_options={"include_usage": True}
    ) as stream:
        seen = [event.delta for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion()
    assert "".join(seen) == final.choices[0].message.content == "w0 w1 w2 w3 w4 w5 "
    assert final.usage is not None


def test_an_answer_is_parsed_into_a_model(client: OpenAI, desk: Desk) -> None:
    answer = client.chat.completions.parse(model=desk.vendor.model, messages=HELLO, response_format=Forecast)
    assert answer.choices[0].message.parsed == Forecast(city="w0", days=1)


def test_a_stream_is_parsed_into_a_model(client: OpenAI, desk: Desk) -> None:
    with client.chat.completions.stream(
        model=desk.vendor.model, messages=HELLO, response_format=Forecast
    ) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.parsed == Forecast(city="w0", days=1)


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
def test_tools_are_parsed_and_answered(client: OpenAI, desk: Desk, *, streamed: bool) -> None:
    tools: Any = [openai.pydantic_function_tool(GetWeather)]
    messages = told(**desk.vendor.manner.tools([("GetWeather", {"city": "Oslo"})]))
    common: Any = {"model": desk.vendor.model, "tools": tools}
    if streamed:
        with client.chat.completions.stream(messages=messages, **common) as stream:
            message = stream.get_final_completion().choices[0].message
    else:
        message = client.chat.completions.parse(messages=messages, **common).choices[0].message
    [call] = message.tool_calls or []
    assert call.function.parsed_arguments == GetWeather(city="Oslo")
    said: Any = message.model_dump(exclude_unset=True)
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
    final = client.chat.completions.parse(messages=[*messages, said, result], **common)
    assert final.choices[0].finish_reason == "stop"
