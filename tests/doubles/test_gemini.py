"""The Gemini double: as strict as the vendor, and understood by our own translation from end to end."""

import http.client
import json
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from relay.contracts import AnswerFrame, ChatAnswer
from relay.errors import RelayError, UpstreamFailed, UpstreamLimited, UpstreamUnavailable
from relay.protocols.openai_chat.request import parse_request
from relay.sse import SSESplitter
from relay.vendors.gemini import (
    GeminiStreamTranslator,
    JsonArraySplitter,
    build_request,
    headers,
    refusal,
    refuses_thoughts,
    retry_class,
    translate_answer,
)
from tests.doubles.gemini_process import GeminiDouble
from tests.relay.vendors.gemini.families import (
    FLASH_2_0,
    FLASH_3_8,
    PDF,
    PNG,
    PRO_2_5,
    PRO_3_1,
    TRAITS,
    WAV,
    tool,
)

KEY = "AIza-a1b2"
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA, "strict": True}}


@pytest.fixture(scope="module")
def running() -> Iterator[GeminiDouble]:
    with GeminiDouble() as double:
        yield double


@pytest.fixture
def double(running: GeminiDouble) -> GeminiDouble:
    running.reset()
    return running


def tell(**fields: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": json.dumps(fields)}]


class Answered:
    """One request of a customer, sent to the double by our translation."""

    def __init__(
        self,
        double: GeminiDouble,
        messages: list[dict[str, Any]],
        *,
        model: str = PRO_3_1,
        memory: dict[str, Any] | None = None,
        key: str = KEY,
        sends_thoughts: bool = True,
        **fields: Any,
    ) -> None:
        self.chat = parse_request(orjson.dumps({"model": "alias", "messages": messages, **fields}))
        self.request = build_request(
            self.chat,
            upstream_model=model,
            traits=TRAITS[model],
            max_output_tokens=None,
            memory=memory or {},
            user_id="u1",
            sends_thoughts=sends_thoughts,
        )
        self.frame = AnswerFrame(
            completion_id="chatcmpl-1",
            created=1764000000,
            model_fallback=model,
            tool_names=self.request.tool_names,
            json_text=self.request.json_text,
            function_form=self.request.function_form,
        )
        self.status, self.headers, self.body = post(double, self.request.path, self.request.body, key)

    @property
    def error(self) -> RelayError:
        return refusal(self.status, self.headers, self.body)

    @property
    def answer(self) -> ChatAnswer:
        assert self.status == 200, self.body
        return translate_answer(self.body, self.frame)

    @property
    def message(self) -> dict[str, Any]:
        message: dict[str, Any] = orjson.loads(self.answer.body)["choices"][0]["message"]
        return message

    def translator(self) -> GeminiStreamTranslator:
        assert self.status == 200, self.body
        translator = GeminiStreamTranslator(self.frame, include_usage=True)
        splitter = SSESplitter()
        for payload in [*splitter.feed(self.body), *splitter.flush()]:
            translator.feed(payload)
        return translator


def post(double: GeminiDouble, path: str, body: bytes, key: str = KEY) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", double.port, timeout=10)
    try:
        connection.request("POST", f"/v1beta{path}", body, dict(headers(key)))
        response = connection.getresponse()
        named = {name.lower(): value for name, value in response.getheaders()}
        return response.status, named, response.read()
    finally:
        connection.close()


# What it refuses

HELLO = {"contents": [{"role": "user", "parts": [{"text": "x"}]}]}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "contents is not specified"),
        ({"contents": [{"role": "user", "parts": []}]}, "must not be empty"),
        ({**HELLO, "max_tokens": 5}, 'Unknown name "maxTokens"'),
        ({**HELLO, "generationConfig": {"temperature": 3}}, "temperature"),
        ({**HELLO, "generationConfig": {"candidateCount": 2}}, "Multiple candidates"),
        ({**HELLO, "generationConfig": {"stopSequences": list("abcdef")}}, "stop_sequences"),
        ({"contents": [{"role": "model", "parts": [{"text": "x"}]}]}, "take turns"),
        ({"contents": [{"role": "user", "parts": [{"text": "x", "thought": 1, "fileData": {}}]}]}, "oneof"),
        ({"contents": [7]}, "Invalid value"),
        (
            {
                "contents": [
                    *HELLO["contents"],
                    {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
                    {
                        "role": "user",
                        "parts": [{"functionResponse": {"name": "f", "response": {"output": "r"}}}],
                    },
                ]
            },
            "missing a thought_signature",
        ),
    ],
)
def test_what_the_vendor_refuses_it_refuses(double: GeminiDouble, body: Any, told: str) -> None:
    status, _, answer = post(double, f"/models/{PRO_3_1}:generateContent", orjson.dumps(body))
    error = orjson.loads(answer)["error"]
    assert (status, error["code"], error["status"]) == (400, 400, "INVALID_ARGUMENT")
    assert told in error["message"]
    (record,) = double.records()
    assert (record["status"], record["ended"]) == (400, "error")


def test_who_is_refused(double: GeminiDouble) -> None:
    path = f"/models/{PRO_3_1}:generateContent"
    assert post(double, path, b"{}", key="")[0] == 403
    status, _, body = post(double, path, b"{}", key="AIza-wrong")
    assert (status, retry_class(status, body).value) == (400, "key_bad")
    status, _, body = post(double, "/models/palm-2:generateContent", b"{}")
    assert (status, retry_class(status, body).value) == (404, "model_gone")


# From end to end


@pytest.mark.parametrize("split", ["events", "whole", "bytes", "random:3"])
def test_plain_and_stream_say_the_same(double: GeminiDouble, split: str) -> None:
    messages = tell(chunks=5, unicode=True, split=split)
    whole = Answered(double, messages, max_tokens=500)
    streamed = Answered(double, messages, max_tokens=500, stream=True).translator()
    assert streamed.complete
    assert whole.answer.usage == streamed.usage
    assert whole.answer.output_bytes == streamed.output_bytes
    assert whole.answer.finish_reasons == streamed.finish_reasons == ("stop",)
    assert whole.answer.upstream_model == streamed.upstream_model == PRO_3_1
    first, second = double.records()
    assert (first["auth_last4"], first["stream"], second["stream"]) == ("a1b2", False, True)
    assert first["request"] == second["request"]


def test_without_events_it_streams_an_array(double: GeminiDouble) -> None:
    answered = Answered(double, tell(chunks=4), stream=True)
    path = answered.request.path.removesuffix("?alt=sse")
    _, named, body = post(double, path, answered.request.body)
    assert named["content-type"].startswith("application/json")
    translator = GeminiStreamTranslator(answered.frame, include_usage=True)
    for payload in JsonArraySplitter().feed(body):
        translator.feed(payload)
    assert translator.usage == answered.translator().usage


def test_length(double: GeminiDouble) -> None:
    answered = Answered(double, tell(chunks=50), model=FLASH_2_0, max_tokens=4)
    assert answered.answer.finish_reasons == ("length",)
    assert answered.answer.usage is not None
    assert answered.answer.usage.completion_tokens == 4


def test_a_limit_that_thoughts_use_up(double: GeminiDouble) -> None:
    answered = Answered(double, tell(chunks=5), max_tokens=8)
    assert (answered.answer.finish_reasons, answered.message["content"]) == (("length",), "")
    assert answered.answer.usage is not None
    assert answered.answer.usage.reasoning_tokens == 8


def test_several_choices_with_log_probabilities(double: GeminiDouble) -> None:
    fields: dict[str, Any] = {"model": FLASH_2_0, "n": 2, "logprobs": True, "top_logprobs": 2}
    whole = orjson.loads(Answered(double, tell(chunks=3), **fields).answer.body)
    assert [len(choice["logprobs"]["content"]) for choice in whole["choices"]] == [3, 3]
    assert len(whole["choices"][0]["logprobs"]["content"][0]["top_logprobs"]) == 2
    streamed = Answered(double, tell(chunks=3), stream=True, **fields).translator()
    assert streamed.finish_reasons == ("stop", "stop")


def test_pictures_papers_and_sound(double: GeminiDouble) -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
        {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}"}},
        {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}},
        {"type": "text", "text": "What is it?"},
    ]
    answered = Answered(double, [{"role": "user", "content": parts}])
    assert answered.answer.finish_reasons == ("stop",)


@pytest.mark.parametrize("model", [FLASH_2_0, PRO_2_5, PRO_3_1])
@pytest.mark.parametrize("together", [True, False])
def test_parallel_tools_and_the_answer_after_them(double: GeminiDouble, model: str, together: bool) -> None:
    wanted = [{"name": "f", "args": {"a": 1}}, {"name": "f", "args": {"a": 2.5}}, {"name": "f"}]
    messages = tell(tools=wanted, chunks=2, together=together)
    fields: dict[str, Any] = {"tools": [tool()], "model": model}
    streamed = Answered(double, messages, stream=True, **fields).translator()
    assert streamed.finish_reasons == ("tool_calls",)
    first = Answered(double, messages, **fields)
    calls = first.message["tool_calls"]
    assert [call["function"]["arguments"] for call in calls] == ['{"a":1}', '{"a":2.5}', "{}"]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "42"} for call in reversed(calls)]
    second = Answered(double, [*messages, first.message, *results], **fields)
    assert second.answer.finish_reasons == ("stop",)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("keeps", ["client", "memory", "nobody"])
def test_a_tool_loop_with_thinking(double: GeminiDouble, stream: bool, keeps: str) -> None:
    """The client keeps the signature, or drops it and memory has it, or it is lost."""
    asked: dict[str, Any] = {"tools": [tool()], "reasoning_effort": "low"}
    messages = tell(tools=[{"name": "f", "args": {"a": 1}}])
    first = Answered(double, messages, stream=stream, **asked)
    remember = dict(first.translator().remember if stream else first.answer.remember)
    ((call_id, kept),) = remember.items()
    call: dict[str, Any] = {
        "id": call_id,
        "type": "function",
        "function": {"name": "f", "arguments": '{"a":1}'},
    }
    if keeps == "client":
        call["extra_content"] = {"google": {"thought_signature": kept["signature"]}}
    turn = [
        *messages,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call_id, "content": "42"},
    ]
    second = Answered(double, turn, memory=remember if keeps == "memory" else {}, **asked)
    assert second.answer.finish_reasons == ("stop",)
    (part,) = double.records()[1]["request"]["contents"][1]["parts"]
    assert (part["thoughtSignature"] == kept["signature"]) is (keeps != "nobody")


def test_signatures_the_vendor_does_not_know_again(double: GeminiDouble) -> None:
    """Another account's signatures are refused; the second try goes without them."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    turn = [
        *tell(chunks=1),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "42"},
    ]
    stale = {"c": {"model": PRO_3_1, "signature": "c3RhbGU="}}
    first = Answered(double, turn, memory=stale, tools=[tool()])
    assert refuses_thoughts(first.status, first.body)
    second = Answered(double, turn, memory=stale, tools=[tool()], sends_thoughts=False)
    assert second.answer.finish_reasons == ("stop",)


def test_thoughts_are_reasoning_and_counted(double: GeminiDouble) -> None:
    answered = Answered(double, tell(chunks=2))
    assert answered.message["reasoning_content"] == "The customer wants something. "
    assert answered.answer.usage is not None
    assert answered.answer.usage.reasoning_tokens == 20
    silent = Answered(double, tell(chunks=2), model=PRO_2_5, reasoning_effort="none")
    assert "reasoning_content" not in silent.message


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", [FLASH_2_0, PRO_2_5, FLASH_3_8])
def test_json_by_schema(double: GeminiDouble, model: str, stream: bool) -> None:
    asked = [{"role": "user", "content": "Who?"}]
    answered = Answered(double, asked, model=model, stream=stream, response_format=FORMAT)
    if stream:
        assert answered.translator().finish_reasons == ("stop",)
    else:
        assert json.loads(answered.message["content"]) == {"name": "w0", "age": 1}


def test_a_json_object_in_fences(double: GeminiDouble) -> None:
    messages = tell(text='Sure:\n```json\n{"a": 1}\n```')
    answered = Answered(
        double, messages, model=PRO_2_5, tools=[tool()], response_format={"type": "json_object"}
    )
    assert answered.message["content"] == '{"a": 1}'


def test_a_forced_call(double: GeminiDouble) -> None:
    choice = {"type": "function", "function": {"name": "f"}}
    answered = Answered(
        double, [{"role": "user", "content": "Go"}], tools=[tool("g"), tool()], tool_choice=choice
    )
    assert [call["function"]["name"] for call in answered.message["tool_calls"]] == ["f"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("told", [{"block_reason": "SAFETY"}, {"chunks": 0, "finish_reason": "SAFETY"}])
def test_what_was_filtered(double: GeminiDouble, told: dict[str, Any], stream: bool) -> None:
    answered = Answered(double, tell(**told), stream=stream)
    if stream:
        assert answered.translator().finish_reasons == ("content_filter",)
        assert answered.translator().complete
    else:
        assert answered.answer.finish_reasons == ("content_filter",)
        assert answered.message["refusal"]


@pytest.mark.parametrize("told", [{"empty": True}, {"chunks": 0, "finish_reason": "MALFORMED_FUNCTION_CALL"}])
def test_an_empty_answer_is_an_error(double: GeminiDouble, told: dict[str, Any]) -> None:
    with pytest.raises(UpstreamFailed):
        _ = Answered(double, tell(**told)).answer
    streamed = Answered(double, tell(**told), stream=True)
    if "empty" in told:
        assert not streamed.translator().complete
    else:
        with pytest.raises(UpstreamFailed):
            streamed.translator()


def test_usage_with_cache(double: GeminiDouble) -> None:
    cached = {"promptTokenCount": 1_200, "cachedContentTokenCount": 1_000, "totalTokenCount": None}
    usage = Answered(double, tell(usage=cached), stream=True).translator().usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.cache_read_tokens) == (1_200, 1_000)


def test_citations(double: GeminiDouble) -> None:
    cited = [{"startIndex": 0, "endIndex": 2, "uri": "https://a.example/"}]
    (note,) = Answered(double, tell(citations=cited)).message["annotations"]
    assert note["url_citation"]["url"] == "https://a.example/"


# Failures


@pytest.mark.parametrize(
    ("status", "expected", "wait"), [(429, UpstreamLimited, "38"), (503, UpstreamUnavailable, "38")]
)
def test_errors_before_a_stream(
    double: GeminiDouble, status: int, expected: type[RelayError], wait: str
) -> None:
    answered = Answered(double, tell(status=status, retry_delay="37.5s"), stream=True)
    assert type(answered.error) is expected
    assert answered.error.headers["retry-after"] == wait
    assert "123456789012" not in answered.error.message


def test_a_page_of_html(double: GeminiDouble) -> None:
    answered = Answered(double, tell(html_error=True, status=502))
    assert answered.body.startswith(b"<html>")
    assert answered.error.http_status == 502


def test_an_error_inside_a_stream(double: GeminiDouble) -> None:
    answered = Answered(double, tell(error_in_stream_after=3), stream=True)
    assert answered.status == 200
    with pytest.raises(UpstreamUnavailable):
        answered.translator()


def test_a_stream_without_an_end(double: GeminiDouble) -> None:
    assert not Answered(double, tell(no_finish=True), stream=True).translator().complete


@pytest.mark.parametrize("place", ["before_headers", "after_headers", "after_chunks:2", "in_usage"])
@pytest.mark.parametrize("stream", [False, True])
def test_it_dies_where_it_is_told_to(double: GeminiDouble, place: str, stream: bool) -> None:
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        Answered(double, tell(die=place), stream=stream)
    (record,) = double.wait_for_records(1)
    assert (record["ended"], record["served"], record["usage_sent"]) == ("cut", False, False)
    assert record["chunks_sent"] == (2 if stream and place == "after_chunks:2" else record["chunks_sent"])


def test_it_lists_its_models(double: GeminiDouble) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", double.port, timeout=10)
    connection.request("GET", "/v1beta/models?pageSize=50")
    listed = orjson.loads(connection.getresponse().read())
    connection.close()
    assert "generateContent" in listed["models"][0]["supportedGenerationMethods"]
