"""The Anthropic double: as strict as the vendor, and understood by our own translation from end to end."""

import http.client
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest

from relay.capabilities import ModelTraits
from relay.contracts import AnswerFrame, ChatAnswer, ChatRequest, UpstreamRequest
from relay.errors import RelayError, UpstreamLimited, UpstreamUnavailable
from relay.protocols.openai_chat.request import parse_request
from relay.sse import SSESplitter
from relay.vendors.anthropic import (
    DEFAULT_TRAITS,
    AnswerCollector,
    AnthropicStreamTranslator,
    build_request,
    headers,
    refusal,
    translate_answer,
)
from tests.doubles.anthropic_process import AnthropicDouble

MODEL = "claude-sonnet-4-5-20250929"
OLD = "claude-3-5-haiku-20241022"
OLD_TRAITS = replace(
    DEFAULT_TRAITS, max_output=8_192, default_max_tokens=4_096, reasoning="none", json_schema="tool_trick"
)
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA, "strict": True}}


@pytest.fixture(scope="module")
def running() -> Iterator[AnthropicDouble]:
    with AnthropicDouble() as double:
        yield double


@pytest.fixture
def double(running: AnthropicDouble) -> AnthropicDouble:
    running.reset()
    return running


def tell(**fields: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": json.dumps(fields)}]


class Answered:
    """One request of a customer, sent to the double by our translation."""

    def __init__(
        self,
        double: AnthropicDouble,
        messages: list[dict[str, Any]],
        *,
        model: str = MODEL,
        traits: ModelTraits = DEFAULT_TRAITS,
        memory: dict[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        self.chat = parse_request(orjson.dumps({"model": "alias", "messages": messages, **fields}))
        self.request = build_request(
            self.chat,
            upstream_model=model,
            traits=traits,
            max_output_tokens=None,
            memory=memory or {},
            user_id="u1",
        )
        self.frame = frame_for(self.request, model)
        self.status, self.headers, self.body = post(double, self.request.body)

    @property
    def error(self) -> RelayError:
        return refusal(self.status, self.headers, self.body)

    @property
    def answer(self) -> ChatAnswer:
        """The whole answer, whichever way it came."""
        assert self.status == 200, self.body
        if not self.request.stream_answer:
            return translate_answer(self.body, self.frame)
        collector = AnswerCollector(self.frame)
        for payload in SSESplitter().feed(self.body):
            collector.feed(payload)
        return collector.answer()

    @property
    def message(self) -> dict[str, Any]:
        message: dict[str, Any] = orjson.loads(self.answer.body)["choices"][0]["message"]
        return message

    def translator(self) -> AnthropicStreamTranslator:
        assert self.status == 200, self.body
        translator = AnthropicStreamTranslator(self.frame, include_usage=True)
        for payload in SSESplitter().feed(self.body):
            translator.feed(payload)
        return translator


def frame_for(request: UpstreamRequest, model: str) -> AnswerFrame:
    return AnswerFrame(
        completion_id="chatcmpl-1",
        created=1764000000,
        model_fallback=model,
        tool_names=request.tool_names,
        json_tool=request.json_tool,
        json_text=request.json_text,
        function_form=request.function_form,
    )


def post(double: AnthropicDouble, body: bytes, **more: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", double.port, timeout=10)
    try:
        connection.request("POST", "/v1/messages", body, {**dict(headers("sk-ant-a1b2")), **more})
        response = connection.getresponse()
        named = {name.lower(): value for name, value in response.getheaders()}
        return response.status, named, response.read()
    finally:
        connection.close()


# What it refuses


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"model": MODEL, "messages": [{"role": "user", "content": "x"}]}, "max_tokens: Field required"),
        ({"model": MODEL, "max_tokens": 9, "messages": []}, "at least one message"),
        ({"model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": ""}]}, "non-empty"),
        (
            {"model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": "x"}], "n": 2},
            "n: Extra inputs",
        ),
        (
            {
                "model": MODEL,
                "max_tokens": 9,
                "temperature": 0.5,
                "top_p": 0.5,
                "messages": [{"role": "user", "content": "x"}],
            },
            "cannot both be specified",
        ),
        ({"model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": [1]}]}, "valid"),
    ],
)
def test_what_the_vendor_refuses_it_refuses(double: AnthropicDouble, body: Any, told: str) -> None:
    status, _, answer = post(double, orjson.dumps(body))
    error = orjson.loads(answer)
    assert (status, error["type"], error["error"]["type"]) == (400, "error", "invalid_request_error")
    assert told in error["error"]["message"]
    (record,) = double.records()
    assert (record["status"], record["ended"]) == (400, "error")


def test_without_a_key_or_a_version_nothing_goes(double: AnthropicDouble) -> None:
    assert post(double, b"{}", **{"x-api-key": ""})[0] == 401
    assert post(double, b"{")[0] == 400


# From end to end


@pytest.mark.parametrize("split", ["events", "whole", "bytes", "random:3"])
def test_plain_and_stream_say_the_same(double: AnthropicDouble, split: str) -> None:
    messages = tell(chunks=5, unicode=True, split=split)
    whole = Answered(double, messages, max_tokens=500)
    streamed = Answered(double, messages, max_tokens=500, stream=True)
    translator = streamed.translator()
    assert translator.done
    assert whole.answer.usage == translator.usage
    assert whole.answer.output_bytes == translator.output_bytes
    assert whole.answer.finish_reasons == translator.finish_reasons == ("stop",)
    assert double.records()[0]["auth_last4"] == "a1b2"
    assert double.records()[0]["request"]["metadata"] == {"user_id": "u1"}


def test_a_long_whole_answer_comes_as_a_stream(double: AnthropicDouble) -> None:
    answered = Answered(double, tell(chunks=3))
    assert answered.request.stream_answer
    assert answered.message["content"] == "w0 w1 w2 "
    assert double.records()[0]["stream"] is True


def test_length(double: AnthropicDouble) -> None:
    answered = Answered(double, tell(chunks=50), max_tokens=4)
    assert answered.answer.finish_reasons == ("length",)
    assert answered.answer.usage is not None
    assert answered.answer.usage.completion_tokens == 4


def test_parallel_tools_and_the_answer_after_them(double: AnthropicDouble) -> None:
    wanted = [{"name": "f", "input": {"a": 1}}, {"name": "f"}]
    messages = tell(tools=wanted, chunks=2)
    first = Answered(double, messages, tools=[TOOL], max_tokens=900)
    calls = first.message["tool_calls"]
    assert [call["function"]["arguments"] for call in calls] == ['{"a":1}', "{}"]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "42"} for call in calls]
    second = Answered(double, [*messages, first.message, *results], tools=[TOOL], max_tokens=900)
    assert second.answer.finish_reasons == ("stop",)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("keeps", [False, True])
def test_a_tool_loop_with_thinking(double: AnthropicDouble, stream: bool, keeps: bool) -> None:
    """The client keeps the thinking, or drops it and memory has it."""
    asked: dict[str, Any] = {"tools": [TOOL], "max_tokens": 3_000, "reasoning_effort": "low"}
    messages = tell(tools=[{"name": "f"}], redacted=True)
    first = Answered(double, messages, stream=stream, **asked)
    if stream:
        translator = first.translator()
        remember = dict(translator.remember)
        (call_id,) = remember
        call = {"id": call_id, "type": "function", "function": {"name": "f", "arguments": "{}"}}
        message: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": [call]}
        blocks = remember[call_id]["blocks"]
    else:
        message, remember = first.message, dict(first.answer.remember)
        blocks = message.pop("thinking_blocks")
    if keeps:
        message["thinking_blocks"], remember = blocks, {}
    (call,) = message["tool_calls"]
    turn = [*messages, message, {"role": "tool", "tool_call_id": call["id"], "content": "42"}]
    second = Answered(double, turn, memory=remember, **asked)
    assert second.answer.finish_reasons == ("stop",)
    assert double.records()[1]["request"]["thinking"]["type"] == "enabled"
    lost = Answered(double, [*messages, {**message, "thinking_blocks": None}, turn[-1]], **asked)
    assert lost.answer.finish_reasons == ("stop",)
    assert "thinking" not in double.records()[2]["request"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("model", "traits"), [(MODEL, DEFAULT_TRAITS), (OLD, OLD_TRAITS)])
def test_json_by_schema(double: AnthropicDouble, model: str, traits: ModelTraits, stream: bool) -> None:
    fields: dict[str, Any] = {"model": model, "traits": traits, "response_format": FORMAT, "max_tokens": 900}
    answered = Answered(double, [{"role": "user", "content": "Who?"}], stream=stream, **fields)
    if stream:
        assert answered.translator().finish_reasons == ("stop",)
        assert b"tool_calls" not in b"".join(_chunks(answered))
    else:
        assert json.loads(answered.message["content"]) == {"name": "w0", "age": 1}
        assert "tool_calls" not in answered.message


def _chunks(answered: Answered) -> list[bytes]:
    translator = AnthropicStreamTranslator(answered.frame, include_usage=False)
    return [translator.feed(payload) or b"" for payload in SSESplitter().feed(answered.body)]


def test_a_json_object_in_fences(double: AnthropicDouble) -> None:
    messages = tell(text='Sure:\n```json\n{"a": 1}\n```')
    answered = Answered(double, messages, response_format={"type": "json_object"}, max_tokens=900)
    assert answered.message["content"] == '{"a": 1}'


def test_a_refusal(double: AnthropicDouble) -> None:
    details = {"category": "cyber", "explanation": "No."}
    messages = tell(chunks=1, stop_reason="refusal", stop_details=details)
    for stream in (False, True):
        answered = Answered(double, messages, max_tokens=900, stream=stream)
        reasons = answered.translator().finish_reasons if stream else answered.answer.finish_reasons
        assert reasons == ("content_filter",)


def test_usage_with_cache(double: AnthropicDouble) -> None:
    cached = {
        "input_tokens": 10,
        "cache_read_input_tokens": 1000,
        "cache_creation_input_tokens": 200,
        "cache_creation": {"ephemeral_5m_input_tokens": 150, "ephemeral_1h_input_tokens": 50},
    }
    usage = Answered(double, tell(usage=cached), max_tokens=900, stream=True).translator().usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.cache_read_tokens, usage.cache_write_1h_tokens) == (1210, 1000, 50)


def test_input_that_comes_at_once(double: AnthropicDouble) -> None:
    messages = tell(tools=[{"name": "f", "input": {"a": 1}}], input_at_start=True)
    answered = Answered(double, messages, tools=[TOOL])
    assert answered.message["tool_calls"][0]["function"]["arguments"] == '{"a":1}'


def test_citations(double: AnthropicDouble) -> None:
    cited = [{"type": "web_search_result_location", "url": "https://a.example/", "title": "A"}]
    for limit in (900, None):
        annotations = Answered(double, tell(citations=cited), max_tokens=limit).message["annotations"]
        assert annotations[0]["url_citation"]["url"] == "https://a.example/"


# Failures


@pytest.mark.parametrize(("status", "expected"), [(429, UpstreamLimited), (529, UpstreamUnavailable)])
def test_errors_before_a_stream(double: AnthropicDouble, status: int, expected: type[RelayError]) -> None:
    answered = Answered(double, tell(status=status, retry_after=7), stream=True)
    assert type(answered.error) is expected
    assert answered.error.headers["retry-after"] == "7"
    assert "org_" not in answered.error.message


def test_a_page_of_html(double: AnthropicDouble) -> None:
    answered = Answered(double, tell(html_error=True, status=502))
    assert answered.body.startswith(b"<html>")
    assert answered.error.http_status == 502


def test_an_error_inside_a_stream(double: AnthropicDouble) -> None:
    answered = Answered(double, tell(error_in_stream_after=3), stream=True)
    assert answered.status == 200
    with pytest.raises(UpstreamUnavailable):
        answered.translator()


def test_a_stream_without_an_end(double: AnthropicDouble) -> None:
    translator = Answered(double, tell(no_stop=True), stream=True).translator()
    assert not translator.complete


@pytest.mark.parametrize("place", ["before_headers", "after_headers", "after_chunks:2", "in_usage"])
@pytest.mark.parametrize("stream", [False, True])
def test_it_dies_where_it_is_told_to(double: AnthropicDouble, place: str, stream: bool) -> None:
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        Answered(double, tell(die=place), stream=stream, max_tokens=900)
    (record,) = double.wait_for_records(1)
    assert (record["ended"], record["served"], record["usage_sent"]) == ("cut", False, False)
    assert record["chunks_sent"] == (2 if stream and place == "after_chunks:2" else record["chunks_sent"])


def test_it_lists_its_models(double: AnthropicDouble) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", double.port, timeout=10)
    connection.request("GET", "/v1/models")
    listed = orjson.loads(connection.getresponse().read())
    connection.close()
    assert listed["data"][0]["lifecycle"] == "active"
    assert not listed["has_more"]


def test_a_request_is_sent_again_as_it_was(double: AnthropicDouble) -> None:
    answered = Answered(double, tell(chunks=1))
    assert isinstance(answered.chat, ChatRequest)
    assert post(double, answered.request.body)[0] == 200
    first, second = double.records()
    assert first["request"] == second["request"]
