"""The vendor double, seen by the official SDK and, where that hides the wire, by a bare connection."""

import contextlib
import http.client
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.doubles.process import VendorDouble, directive
from tests.doubles.vendor_chat import whole_text

WITH_USAGE = {"include_usage": True}
HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Hello, double!"}]


@pytest.fixture(scope="module")
def running() -> Iterator[VendorDouble]:
    with VendorDouble() as double:
        yield double


@pytest.fixture
def double(running: VendorDouble) -> VendorDouble:
    running.reset()
    return running


@pytest.fixture
def client(double: VendorDouble) -> Iterator[OpenAI]:
    with OpenAI(base_url=double.base_url, api_key="sk-test-a1b2", max_retries=0) as client:
        yield client


@pytest.fixture
async def async_client(double: VendorDouble) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=double.base_url, api_key="sk-x", max_retries=0) as client:
        yield client


def ask(client: OpenAI, messages: list[dict[str, Any]] = HELLO, **fields: Any) -> ChatCompletion:
    answer: ChatCompletion = client.chat.completions.create(
        **{"model": "gpt-4o", "messages": messages, **fields}
    )
    return answer


def stream(
    client: OpenAI, messages: list[dict[str, Any]] = HELLO, **fields: Any
) -> list[ChatCompletionChunk]:
    answer = client.chat.completions.create(
        **{"model": "gpt-4o", "messages": messages, "stream": True, **fields}
    )
    return list(answer)


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    deltas = (chunk.choices[0].delta.content for chunk in chunks if chunk.choices)
    return "".join(delta or "" for delta in deltas)


def finish_reasons(chunks: list[ChatCompletionChunk]) -> list[str]:
    choices = (choice for chunk in chunks for choice in chunk.choices)
    return [choice.finish_reason for choice in choices if choice.finish_reason]


@contextlib.contextmanager
def connected(double: VendorDouble) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", double.port, timeout=10)
    try:
        yield connection
    finally:
        connection.close()


def post(connection: http.client.HTTPConnection, **fields: Any) -> bytes:
    body = {"model": "m", "messages": HELLO, **fields}
    connection.request("POST", "/v1/chat/completions", json.dumps(body))
    return connection.getresponse().read()


def events_of(body: bytes) -> list[Any]:
    lines = (line[len("data: ") :] for line in body.decode().splitlines() if line)
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def test_a_plain_answer_reports_the_usage_it_was_told(client: OpenAI) -> None:
    told = directive(prompt_tokens=100, completion_tokens=20, cached_tokens=64, reasoning_tokens=5, chunks=3)
    answer = ask(client, told)
    assert answer.choices[0].message.content == whole_text(3, unicode=False)
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (100, 20)
    assert answer.usage.total_tokens == 120
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 64
    assert answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.reasoning_tokens == 5


def test_without_a_directive_usage_follows_from_the_request(client: OpenAI) -> None:
    answer = ask(client, [{"role": "user", "content": "x" * 40}])
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (20, 8)


async def test_the_async_sdk_reads_plain_and_streamed_answers(async_client: AsyncOpenAI) -> None:
    plain = await async_client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "Hello"}]
    )
    streamed = await async_client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "Hello"}], stream=True
    )
    assert text_of([chunk async for chunk in streamed]) == plain.choices[0].message.content


def test_a_stream_has_no_usage_unless_asked(client: OpenAI) -> None:
    chunks = stream(client)
    assert all(chunk.choices for chunk in chunks)
    assert not any("usage" in chunk.model_fields_set for chunk in chunks)
    assert finish_reasons(chunks) == ["stop"]


def test_a_stream_asked_for_usage_ends_with_it(client: OpenAI) -> None:
    *earlier, last = stream(client, stream_options=WITH_USAGE)
    assert all("usage" in chunk.model_fields_set and chunk.usage is None for chunk in earlier)
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == 8


def test_a_streams_chunks_share_id_time_and_model(client: OpenAI, double: VendorDouble) -> None:
    chunks = stream(client, directive(model="gpt-4o-2024-08-06"))
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert chunks[0].model == "gpt-4o-2024-08-06"
    assert chunks[0].id == double.records()[0]["id"]
    assert [bool(chunk.choices[0].delta.role) for chunk in chunks].count(True) == 1


def test_answers_have_ids_of_their_own(client: OpenAI) -> None:
    assert len({ask(client).id for _ in range(3)}) == 3


def test_choices_of_a_stream_interleave(client: OpenAI) -> None:
    chunks = stream(client, directive(chunks=2), n=2)
    assert [chunk.choices[0].index for chunk in chunks] == [0, 1] * 4
    assert finish_reasons(chunks) == ["stop", "stop"]


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_a_limit_lowers_the_completion(client: OpenAI, limit: str) -> None:
    answer = ask(client, HELLO, **{limit: 3})
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3
    assert answer.choices[0].finish_reason == "length"
    assert finish_reasons(stream(client, HELLO, **{limit: 3})) == ["length"]


def test_tool_calls_arrive_whole_and_in_fragments(client: OpenAI) -> None:
    told = directive(tool_calls=[{"name": "look_up", "arguments": '{"city": "Zürich"}'}] * 2)
    answer = ask(client, told)
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.choices[0].message.content is None
    assert answer.choices[0].message.tool_calls is not None
    calls = [call.function for call in answer.choices[0].message.tool_calls if call.type == "function"]
    arguments = ["", ""]
    for chunk in stream(client, told):
        for fragment in chunk.choices[0].delta.tool_calls or []:
            assert fragment.function is not None
            arguments[fragment.index] += fragment.function.arguments or ""
    assert arguments == [call.arguments for call in calls] == ['{"city": "Zürich"}'] * 2


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("streaming", [False, True])
def test_a_status_becomes_the_sdks_exception(
    client: OpenAI, *, streaming: bool, status: int, expected: type[openai.APIStatusError]
) -> None:
    with pytest.raises(expected) as caught:
        ask(client, directive(status=status), stream=streaming)
    assert caught.value.status_code == status


def test_an_error_carries_what_the_directive_says(client: OpenAI) -> None:
    error = {"message": "No credit.", "type": "insufficient_quota", "code": "insufficient_quota"}
    with pytest.raises(openai.RateLimitError) as caught:
        ask(client, directive(status=429, error=error, retry_after=7))
    assert caught.value.code == "insufficient_quota"
    assert caught.value.response.headers["retry-after"] == "7"


def test_an_html_page_is_no_envelope(client: OpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        ask(client, directive(html_error=True))
    assert caught.value.status_code == 502
    assert caught.value.response.headers["content-type"].startswith("text/html")


def test_an_error_in_the_stream_follows_the_chunks_before_it(client: OpenAI, double: VendorDouble) -> None:
    answer = client.chat.completions.create(
        model="m",
        messages=[{"role": "user", "content": json.dumps({"error_in_stream_after": 3})}],
        stream=True,
    )
    seen: list[ChatCompletionChunk] = []
    with pytest.raises(openai.APIError, match="The double failed"):
        seen.extend(answer)
    (record,) = double.records()
    assert (record["ended"], record["served"], record["chunks_sent"]) == ("error", False, 3)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("place", ["before_headers", "after_headers", "after_chunks:3", "in_usage"])
def test_a_dying_vendor_closes_the_connection(double: VendorDouble, *, place: str, streaming: bool) -> None:
    options = {"stream": True, "stream_options": WITH_USAGE} if streaming else {}
    with connected(double) as connection, pytest.raises((http.client.HTTPException, OSError)):
        post(connection, messages=directive(die=place), **options)
    (record,) = double.records()
    assert (record["ended"], record["served"]) == ("cut", False)


def test_death_after_three_chunks_comes_after_three_chunks(double: VendorDouble) -> None:
    with connected(double) as connection, pytest.raises(http.client.IncompleteRead) as caught:
        post(connection, messages=directive(die="after_chunks:3"), stream=True)
    assert len(events_of(caught.value.partial)) == 1 + 3
    assert double.records()[0]["chunks_sent"] == 3


def test_a_hanging_vendor_is_logged_as_cut_when_its_client_gives_up(
    client: OpenAI, double: VendorDouble
) -> None:
    with pytest.raises(openai.APITimeoutError):
        ask(client.with_options(timeout=0.2), directive(hang=True))
    (record,) = double.wait_for_records(1)
    assert (record["ended"], record["served"]) == ("cut", False)


def test_an_answer_its_client_does_not_read_is_not_served(double: VendorDouble) -> None:
    told = directive(chunks=100_000, split="whole")
    with connected(double) as connection:
        body = json.dumps({"model": "m", "messages": told, "stream": True})
        connection.request("POST", "/v1/chat/completions", body)
        time.sleep(0.5)
        assert double.records() == []
    (record,) = double.wait_for_records(1)
    assert (record["ended"], record["served"]) == ("cut", False)


def test_a_client_that_leaves_cuts_the_stream(client: OpenAI, double: VendorDouble) -> None:
    told = json.dumps({"chunks": 1000, "delay_ms": 5})
    answer = client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": told}], stream=True
    )
    for _ in range(3):
        next(iter(answer))
    answer.close()
    (record,) = double.wait_for_records(1)
    assert record["ended"] == "cut"
    assert 1 <= record["chunks_sent"] < 1000


@pytest.mark.parametrize("split", ["whole", "bytes", "random:1", "random:2"])
@pytest.mark.parametrize("crlf", [False, True])
def test_a_streams_meaning_does_not_depend_on_its_cuts(
    client: OpenAI, double: VendorDouble, *, split: str, crlf: bool
) -> None:
    told = directive(split=split, crlf=crlf, unicode=True, chunks=5)
    chunks = stream(client, told, stream_options=WITH_USAGE)
    assert text_of(chunks) == whole_text(5, unicode=True)
    assert chunks[-1].usage is not None
    (record,) = double.records()
    assert (record["chunks_sent"], record["served"]) == (5, True)
    assert {chunk.id for chunk in chunks} == {record["id"]}


def test_delays_come_before_the_first_write_and_between_writes(client: OpenAI) -> None:
    start = time.monotonic()
    stream(client, directive(chunks=4, first_delay_ms=100, delay_ms=20))
    assert time.monotonic() - start >= 0.1 + 4 * 0.02


def test_streams_of_other_vendors(double: VendorDouble) -> None:
    told = directive(no_done=True, no_usage=True, empty_first_choices=True, chunks=1)
    with connected(double) as connection:
        events = events_of(post(connection, messages=told, stream=True, stream_options=WITH_USAGE))
    assert [len(event["choices"]) for event in events] == [0, 1, 1, 1]
    assert not any("usage" in event for event in events)


def test_usage_in_each_chunk_grows_to_the_whole(double: VendorDouble) -> None:
    told = directive(usage_each_chunk=True, completion_tokens=40, prompt_tokens=7)
    with connected(double) as connection:
        *events, done = events_of(post(connection, messages=told, stream=True))
    counts = [event["usage"]["completion_tokens"] for event in events]
    assert done == "[DONE]"
    assert counts == sorted(counts)
    assert counts[-1] == 40
    assert events[-1]["usage"]["total_tokens"] == 47


def test_a_usage_object_can_be_anything(client: OpenAI, double: VendorDouble) -> None:
    answer = ask(client, directive(usage={"prompt_tokens": -5, "prompt_cache_hit_tokens": 3}))
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == -5
    assert double.records()[0]["usage"]["prompt_cache_hit_tokens"] == 3


def test_a_misspelt_directive_is_refused(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="chnks"):
        ask(client, directive(chnks=3, delay_ms=1))


def test_other_json_is_no_directive(client: OpenAI) -> None:
    answer = ask(client, [{"role": "user", "content": '{"city": "Bern"}'}])
    assert answer.choices[0].message.content == whole_text(8, unicode=False)


def test_the_log_tells_what_was_asked_and_served(client: OpenAI, double: VendorDouble) -> None:
    stream(
        client,
        max_tokens=500,
        user="u-1",
        stream_options=WITH_USAGE,
        extra_headers={"x-request-id": "req-7"},
    )
    (record,) = double.records()
    assert record["request"] == {"max_tokens": 500, "user": "u-1", "stream_options": WITH_USAGE}
    assert (record["auth_last4"], record["request_id"]) == ("a1b2", "req-7")
    assert (record["model"], record["stream"], record["status"]) == ("gpt-4o", True, 200)
    assert (record["prompt_tokens"], record["completion_tokens"]) == (13, 8)
    assert (record["served"], record["ended"], record["usage_sent"]) == (True, "complete", True)
    assert record["started_monotonic"] <= record["ended_monotonic"] <= time.monotonic()


def test_a_record_is_there_as_soon_as_its_answer_is(double: VendorDouble) -> None:
    with connected(double) as connection:
        for number in range(1, 101):
            post(connection, stream=bool(number % 2))
            assert len(double.records()) == number


def test_requests_may_come_in_pieces_and_in_chunks(double: VendorDouble) -> None:
    body = json.dumps({"model": "m", "messages": HELLO}).encode()
    with connected(double) as connection:
        for pieces in ([body[:20], body[20:]], [body[at : at + 1] for at in range(len(body))]):
            connection.request("POST", "/v1/chat/completions", iter(pieces), encode_chunked=True)
            assert b"w0 w1" in connection.getresponse().read()
        connection.putrequest("POST", "/v1/chat/completions")
        connection.putheader("content-length", str(len(body)))
        connection.endheaders(body[:9])
        time.sleep(0.02)
        connection.send(body[9:])
        assert b"w0 w1" in connection.getresponse().read()
    assert len(double.records()) == 3


def test_a_body_of_megabytes_is_read(client: OpenAI, double: VendorDouble) -> None:
    answer = ask(client, [{"role": "user", "content": "x" * 8_000_000}])
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 10 + 2_000_000


def test_models_are_listed_and_other_paths_are_not_found(client: OpenAI, double: VendorDouble) -> None:
    assert [model.id for model in client.models.list()] == ["double"]
    with pytest.raises(openai.NotFoundError):
        client.files.list()


def test_stats_count_since_the_last_reset(client: OpenAI, double: VendorDouble) -> None:
    ask(client)
    with pytest.raises(openai.APIStatusError):
        ask(client, directive(status=500))
    stats = double.stats()
    assert (stats["requests"], stats["served"], stats["error"], stats["cut"]) == (2, 1, 1, 0)
    assert 0 < stats["cpu_seconds"] < 5
    double.reset()
    assert double.stats()["requests"] == 0
    assert double.records() == []


def test_the_log_outlives_a_kill_and_the_double_comes_back_on_its_port(tmp_path: Path) -> None:
    with VendorDouble(tmp_path / "log.jsonl") as double:
        port = double.port
        with connected(double) as connection:
            post(connection)
        double.wait_for_records(1)  # its line follows the last byte by a moment
        double.kill()
        double.start()
        with connected(double) as connection:
            post(connection)
        assert double.port == port
        assert [record["served"] for record in double.records()] == [True, True]


@pytest.mark.parametrize("ending", ["SIGTERM", "stdin"])
def test_the_process_ends_cleanly_and_logs_what_it_cuts(tmp_path: Path, ending: str) -> None:
    log = tmp_path / "log.jsonl"
    script = Path(__file__).with_name("vendor.py")
    arguments = [sys.executable, str(script), "--log", str(log), "--until-stdin-closes"]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["port"]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        body = {"model": "m", "messages": directive(hang="after_chunks:2"), "stream": True}
        connection.request("POST", "/v1/chat/completions", json.dumps(body))
        response = connection.getresponse()
        while b"w1" not in response.readline():
            pass
        if ending == "SIGTERM":
            process.terminate()
        else:
            process.stdin.close()
        assert process.wait(10) == 0
        response.close()
        connection.close()
    (record,) = map(json.loads, log.read_text().splitlines())
    assert (record["ended"], record["chunks_sent"]) == ("cut", 2)
