"""What the official SDK gets from a running installation."""

import asyncio

import pytest
from openai import AsyncOpenAI, NotFoundError, OpenAI
from openai.resources.chat.completions import AsyncCompletions
from openai.types.chat import ChatCompletion

from tests.flows.asking import ask, fields, finish_reasons, stream, text_of
from tests.installation import OFFERED, Customer, request_hex

WEATHER = [{"name": "get_weather", "arguments": '{"city": "Oslo"}'}]
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}


class TestPlain:
    def test_an_answer_is_openais_object(self, client: OpenAI) -> None:
        answer = ask(client, tell={"chunks": 5, "prompt_tokens": 21})
        assert answer.object == "chat.completion"
        assert answer.id.startswith("chatcmpl-")
        assert answer.model == "gpt-4o-2024-08-06"
        [choice] = answer.choices
        assert choice.message.role == "assistant"
        assert choice.message.content
        assert choice.finish_reason == "stop"

    def test_usage_is_what_the_vendor_reported(self, client: OpenAI) -> None:
        tell = {
            "prompt_tokens": 1200,
            "completion_tokens": 340,
            "cached_tokens": 1024,
            "reasoning_tokens": 64,
        }
        usage = ask(client, tell=tell).usage
        assert usage is not None
        assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (1200, 340, 1540)
        assert usage.prompt_tokens_details is not None
        assert usage.prompt_tokens_details.cached_tokens == 1024
        assert usage.completion_tokens_details is not None
        assert usage.completion_tokens_details.reasoning_tokens == 64

    def test_the_request_id_is_the_one_on_the_bill(self, client: OpenAI, customer: Customer) -> None:
        raw = client.chat.completions.with_raw_response.create(**fields(tell={"prompt_tokens": 7007}))
        [line] = [line for line in customer.usage() if line["prompt_tokens"] == 7007]
        assert raw.headers["x-request-id"] == line["request_id"]
        assert request_hex(raw.parse().id) == request_hex(line["request_id"])

    def test_several_choices_come_in_one_answer(self, client: OpenAI) -> None:
        answer = ask(client, n=3)
        assert [choice.index for choice in answer.choices] == [0, 1, 2]
        assert all(choice.message.content for choice in answer.choices)

    def test_a_limit_ends_the_answer_with_length(self, client: OpenAI) -> None:
        answer = ask(client, tell={"chunks": 50}, max_tokens=5)
        assert answer.choices[0].finish_reason == "length"
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 5

    def test_a_limit_is_called_what_the_model_understands(self, client: OpenAI, customer: Customer) -> None:
        ask(client, model="thinker", tell={"chunks": 50}, max_tokens=37)
        vendor = customer.installation.vendor
        [served] = [one for one in vendor.records() if one["request"].get("max_completion_tokens") == 37]
        assert "max_tokens" not in served["request"]

    def test_an_end_user_is_told_apart_but_not_named(self, client: OpenAI, customer: Customer) -> None:
        for user in ("ann@example.com", "bob@example.com", "ann@example.com"):
            ask(client, tell={"chunks": 1}, max_tokens=41, user=user)
        records = customer.installation.vendor.records()
        asked = [one["request"] for one in records if one["request"].get("max_tokens") == 41]
        told = [one["safety_identifier"] for one in asked]
        assert told[0] == told[2] != told[1]
        assert all(len(name) == 64 for name in told)
        assert not any("user" in one for one in asked)

    def test_tool_calls_arrive_whole(self, client: OpenAI) -> None:
        answer = ask(client, tell={"tool_calls": WEATHER}, tools=[TOOL])
        [call] = answer.choices[0].message.tool_calls or []
        assert answer.choices[0].finish_reason == "tool_calls"
        assert call.type == "function"
        assert (call.function.name, call.function.arguments) == ("get_weather", '{"city": "Oslo"}')

    def test_the_built_in_vendor_answers(self, client: OpenAI) -> None:
        assert ask(client, model="farebox-demo").choices[0].message.content


class TestStreaming:
    def test_a_stream_says_what_the_plain_answer_says(self, client: OpenAI) -> None:
        tell = {"chunks": 12, "unicode": True}
        chunks = stream(client, tell=tell)
        assert text_of(chunks) == ask(client, tell=tell).choices[0].message.content
        assert finish_reasons(chunks) == ["stop"]
        assert len({chunk.id for chunk in chunks}) == 1

    def test_usage_stays_hidden_unless_asked_for(self, client: OpenAI) -> None:
        chunks = stream(client)
        assert all(chunk.usage is None for chunk in chunks)
        assert all(chunk.choices for chunk in chunks)

    def test_usage_comes_last_when_asked_for(self, client: OpenAI) -> None:
        tell = {"prompt_tokens": 900, "cached_tokens": 512, "chunks": 6}
        *before, last = stream(client, tell=tell, stream_options={"include_usage": True})
        assert all(chunk.usage is None for chunk in before)
        assert last.choices == []
        assert last.usage is not None
        assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (900, 6)

    def test_a_stream_whose_usage_is_hidden_is_charged_by_it(
        self, client: OpenAI, customer: Customer
    ) -> None:
        chunks = stream(client, tell={"prompt_tokens": 1111, "completion_tokens": 77})
        record = customer.record(chunks[0].id)
        assert record is not None
        assert (record["input_tokens"], record["output_tokens"]) == (1111, 77)
        assert record["usage_source"] == "reported"

    def test_a_stream_carries_the_request_id_of_the_bill(self, client: OpenAI, customer: Customer) -> None:
        request = fields(tell={"prompt_tokens": 7117})
        with client.chat.completions.with_streaming_response.create(**request, stream=True) as raw:
            for _ in raw.iter_bytes():
                pass
        [line] = [line for line in customer.usage() if line["prompt_tokens"] == 7117]
        assert raw.headers["x-request-id"] == line["request_id"]

    def test_tool_calls_can_be_put_together_again(self, client: OpenAI) -> None:
        chunks = stream(client, tell={"tool_calls": WEATHER}, tools=[TOOL])
        calls = [
            call for chunk in chunks for choice in chunk.choices for call in choice.delta.tool_calls or []
        ]
        assert [call.function.name for call in calls if call.function and call.function.name] == [
            "get_weather"
        ]
        arguments = "".join((call.function.arguments or "") for call in calls if call.function)
        assert arguments == '{"city": "Oslo"}'
        assert finish_reasons(chunks) == ["tool_calls"]

    @pytest.mark.parametrize("split", ["whole", "bytes", "random:7"])
    def test_how_the_network_cuts_a_stream_does_not_matter(self, client: OpenAI, split: str) -> None:
        chunks = stream(client, tell={"chunks": 9, "unicode": True, "split": split})
        assert text_of(chunks) == text_of(stream(client, tell={"chunks": 9, "unicode": True}))

    def test_the_built_in_vendor_streams(self, client: OpenAI) -> None:
        chunks = stream(client, model="farebox-demo")
        assert len(chunks) > 3
        assert text_of(chunks)


class TestAsync:
    async def test_plain_and_streamed_answers_run_beside_each_other(self, async_client: AsyncOpenAI) -> None:
        completions = async_client.chat.completions
        texts = await asyncio.gather(
            *(_plain(completions, number) for number in range(8)),
            *(_streamed(completions, number) for number in range(8)),
        )
        assert texts[:8] == texts[8:]
        assert all(texts)


async def _plain(completions: AsyncCompletions, number: int) -> str:
    answer: ChatCompletion = await completions.create(**fields(tell={"chunks": 3 + number, "delay_ms": 5}))
    return answer.choices[0].message.content or ""


async def _streamed(completions: AsyncCompletions, number: int) -> str:
    request = fields(tell={"chunks": 3 + number, "delay_ms": 5})
    async with await completions.create(**request, stream=True) as chunks:
        return text_of([chunk async for chunk in chunks])


class TestModels:
    def test_the_list_holds_what_can_be_called(self, client: OpenAI) -> None:
        models = client.models.list().data
        assert [model.id for model in models] == OFFERED
        assert all(model.object == "model" and model.created > 1_600_000_000 for model in models)

    def test_one_model_says_who_made_it(self, client: OpenAI) -> None:
        model = client.models.retrieve("gpt-4o")
        assert (model.id, model.owned_by) == ("gpt-4o", "OpenAI")

    @pytest.mark.parametrize("model", ["gpt-9", "unpriced", "gpt-4-32k", "a/b"])
    def test_what_is_not_offered_cannot_be_looked_up(self, client: OpenAI, model: str) -> None:
        with pytest.raises(NotFoundError) as caught:
            client.models.retrieve(model)
        assert caught.value.code == "model_not_found"
