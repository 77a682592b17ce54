"""The demo vendor as the relay meets it: a process on loopback, called with the official SDK."""

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk

HELLO: list[dict[str, Any]] = [
    {"role": "system", "content": "You are a pirate."},
    {"role": "user", "content": "Where is the harbour?"},
]
MODEL = "farebox-demo"


@contextlib.contextmanager
def started(*arguments: str, listener: socket.socket | None = None) -> Iterator[tuple[str, Any]]:
    """A demo vendor's base URL and process; the process is gone afterwards."""
    inherited = () if listener is None else (listener.fileno(),)
    command = [sys.executable, "-m", "relay.demo_vendor", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, pass_fds=inherited) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline().strip()
            yield line.rpartition(" ")[2], process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with started("--port", "0", "--token-seconds", "0.0005") as (url, _):
        yield url


@pytest.fixture
def client(base_url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
async def async_client(base_url: str) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        yield client


def ask(client: OpenAI, **fields: Any) -> ChatCompletion:
    answer: ChatCompletion = client.chat.completions.create(**{"model": MODEL, "messages": HELLO, **fields})
    return answer


def stream(client: OpenAI, **fields: Any) -> list[ChatCompletionChunk]:
    answer = client.chat.completions.create(**{"model": MODEL, "messages": HELLO, "stream": True, **fields})
    return list(answer)


def text_of(chunks: list[ChatCompletionChunk], index: int = 0) -> str:
    choices = (choice for chunk in chunks for choice in chunk.choices)
    return "".join(choice.delta.content or "" for choice in choices if choice.index == index)


def finish_reasons(chunks: list[ChatCompletionChunk]) -> list[str]:
    choices = (choice for chunk in chunks for choice in chunk.choices)
    return [choice.finish_reason for choice in choices if choice.finish_reason]


def origin_of(base_url: str) -> str:
    return base_url.removeprefix("http://").removesuffix("/v1")


@contextlib.contextmanager
def connected(base_url: str) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(origin_of(base_url), timeout=10)
    try:
        yield connection
    finally:
        connection.close()


def test_a_plain_answer_quotes_the_last_user_message(client: OpenAI) -> None:
    answer = ask(client)
    choice = answer.choices[0]
    assert choice.message.content is not None
    assert "demo model" in choice.message.content
    assert "Where is the harbour?" in choice.message.content
    assert (choice.finish_reason, choice.message.role, choice.logprobs) == ("stop", "assistant", None)
    assert answer.id.startswith("chatcmpl-")
    assert answer.object == "chat.completion"
    assert answer.model == MODEL


def test_usage_counts_all_messages_and_the_answer(client: OpenAI) -> None:
    usage = ask(client, max_tokens=4).usage
    assert usage is not None
    assert usage.prompt_tokens == 3 + (4 + 5) + (4 + 5)
    assert usage.completion_tokens == 4
    assert usage.total_tokens == 25


def test_a_stream_says_what_the_plain_answer_says(client: OpenAI) -> None:
    chunks = stream(client)
    assert text_of(chunks) == ask(client).choices[0].message.content
    assert finish_reasons(chunks) == ["stop"]
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert [bool(chunk.choices[0].delta.role) for chunk in chunks].count(True) == 1


async def test_the_async_sdk_reads_it_too(async_client: AsyncOpenAI) -> None:
    chunks = await async_client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "你好"}], stream=True
    )
    assert "演示模型" in text_of([chunk async for chunk in chunks])


def test_a_stream_has_no_usage_unless_asked(client: OpenAI) -> None:
    chunks = stream(client)
    assert all(chunk.choices for chunk in chunks)
    assert not any("usage" in chunk.model_fields_set for chunk in chunks)


def test_a_stream_asked_for_usage_ends_with_it(client: OpenAI) -> None:
    *earlier, last = stream(client, stream_options={"include_usage": True})
    assert all("usage" in chunk.model_fields_set and chunk.usage is None for chunk in earlier)
    assert last.choices == []
    assert last.usage == ask(client).usage


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_limit_ends_the_answer(client: OpenAI, name: str) -> None:
    choice = ask(client, **{name: 2}).choices[0]
    assert (choice.message.content, choice.finish_reason) == ("Hello!", "length")
    assert finish_reasons(stream(client, **{name: 2})) == ["length"]


def test_a_stop_ends_the_answer_before_it(client: OpenAI) -> None:
    choice = ask(client, stop=["demo", "Farebox"]).choices[0]
    assert (choice.message.content, choice.finish_reason) == ("Hello! I am ", "stop")


def test_several_choices_are_all_paid(client: OpenAI) -> None:
    answer = ask(client, n=3, max_tokens=5)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 15
    chunks = stream(client, n=3, max_tokens=5)
    streamed = [text_of(chunks, index) for index in range(3)]
    assert streamed == [choice.message.content for choice in answer.choices]
    assert finish_reasons(chunks) == ["length"] * 3


def test_only_the_text_parts_of_a_message_are_read(client: OpenAI) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    parts = [{"type": "text", "text": "What is this?"}, image]
    answer = ask(client, messages=[{"role": "user", "content": parts}])
    assert "What is this?" in (answer.choices[0].message.content or "")
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 3 + 4 + 4


def test_optional_parameters_may_be_null(client: OpenAI) -> None:
    nothing = dict.fromkeys(("max_tokens", "stop", "n", "stream", "stream_options"))
    assert ask(client, extra_body=nothing).choices[0].finish_reason == "stop"


def test_the_model_is_listed(client: OpenAI) -> None:
    (model,) = client.models.list()
    assert (model.id, model.object, model.owned_by) == (MODEL, "model", "Farebox")
    assert client.models.retrieve(MODEL) == model


@pytest.mark.parametrize("call", ["chat", "retrieve"])
def test_another_model_is_not_found(client: OpenAI, call: str) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        ask(client, model="gpt-4o") if call == "chat" else client.models.retrieve("gpt-4o")
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": ["hello"]}, "messages[0]"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"n": 129}, "n"),
        ({"stop": [1]}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
    ],
)
def test_a_wrong_parameter_is_named(client: OpenAI, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, extra_body=fields)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/chat/completions", b"{", 400),
        ("POST", "/v1/chat/completions", b"[]", 400),
        ("POST", "/v1/embeddings", b"{}", 404),
        ("GET", "/", b"", 404),
        ("GET", "/v1/chat/completions", b"", 405),
    ],
)
def test_errors_are_envelopes_and_keep_the_connection(
    base_url: str, *, method: str, path: str, body: bytes, status: int
) -> None:
    with connected(base_url) as connection:
        for _ in range(2):
            connection.request(method, path, body)
            response = connection.getresponse()
            envelope = json.loads(response.read())["error"]
            assert response.status == status
            assert set(envelope) == {"message", "type", "param", "code"}


def test_a_body_in_chunks_is_read(base_url: str) -> None:
    body = json.dumps({"model": MODEL, "messages": HELLO}).encode()
    with connected(base_url) as connection:
        for _ in range(2):
            pieces = iter([body[:30], body[30:]])
            connection.request("POST", "/v1/chat/completions", pieces, encode_chunked=True)
            assert (
                "harbour" in json.loads(connection.getresponse().read())["choices"][0]["message"]["content"]
            )


def test_a_body_too_long_is_refused_before_it_is_read(base_url: str) -> None:
    with connected(base_url) as connection:
        connection.putrequest("POST", "/v1/chat/completions")
        connection.putheader("content-length", str(10**9))
        connection.endheaders()
        assert connection.getresponse().status == 413


@pytest.mark.parametrize("head", [b"hello\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n", b"x" * 70_000])
def test_what_is_not_http_1_1_is_refused(base_url: str, head: bytes) -> None:
    host, _, port = origin_of(base_url).partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head)
        assert connection.recv(12) in {b"HTTP/1.1 400", b"HTTP/1.1 505", b"HTTP/1.1 431"}


def test_a_client_may_leave_in_the_middle(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Hi"}], stream=True
    )
    next(iter(answer))
    answer.close()
    assert ask(client).choices


def test_words_come_one_after_the_other() -> None:
    with started("--port", "0") as (url, _), OpenAI(base_url=url, api_key="x") as client:
        start = time.monotonic()
        stream(client, max_tokens=10)
        assert 10 * 0.025 <= time.monotonic() - start < 5


def test_a_socket_of_the_parent_outlives_the_vendor() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for _ in range(2):
            number = str(listener.fileno())
            with started("--fd", number, listener=listener) as (url, process):
                assert url.endswith(f":{listener.getsockname()[1]}/v1")
                with OpenAI(base_url=url, api_key="x") as client:
                    assert ask(client).model == MODEL
                process.send_signal(signal.SIGTERM)
                assert process.wait(5) == 0


def test_sigterm_lets_a_running_answer_end_and_drops_idle_connections() -> None:
    with started("--port", "0") as (url, process), connected(url) as idle, connected(url) as busy:
        idle.request("GET", "/v1/models")
        idle.getresponse().read()
        body = {"model": MODEL, "messages": HELLO, "stream": True, "max_tokens": 30}
        busy.request("POST", "/v1/chat/completions", json.dumps(body))
        response = busy.getresponse()
        process.send_signal(signal.SIGTERM)
        assert response.read().endswith(b"data: [DONE]\n\n")
        assert process.wait(5) == 0


def test_it_runs_without_django() -> None:
    program = "import sys, relay.demo_vendor; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=30).returncode == 0
