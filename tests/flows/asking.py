"""Asking as customers do: with the official SDK, and with other bytes where it would not send them."""

from collections.abc import Iterable
from typing import Any

import httpx
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.doubles.process import directive
from tests.installation import Customer

SDK_SECONDS = 30.0
HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Hello!"}]


def sdk(customer: Customer, **options: Any) -> OpenAI:
    """The official client; it asks once and does not try again unless told otherwise."""
    return OpenAI(**_client_options(customer, options))


def async_sdk(customer: Customer, **options: Any) -> AsyncOpenAI:
    return AsyncOpenAI(**_client_options(customer, options))


def _client_options(customer: Customer, options: dict[str, Any]) -> dict[str, Any]:
    base_url = f"{customer.installation.url}/v1"
    usual = {"api_key": customer.api_key, "max_retries": 0, "timeout": SDK_SECONDS}
    return {"base_url": base_url, **usual, **options}


def fields(*, model: str = "gpt-4o", tell: dict[str, Any] | None = None, **others: Any) -> dict[str, Any]:
    """A chat request. `tell` is what the vendor double shall do."""
    return {"model": model, "messages": directive(**tell) if tell else HELLO, **others}


def ask(client: OpenAI, **request: Any) -> ChatCompletion:
    answer: ChatCompletion = client.chat.completions.create(**fields(**request))
    return answer


def stream(client: OpenAI, **request: Any) -> list[ChatCompletionChunk]:
    """All chunks of a streamed answer."""
    with client.chat.completions.create(**fields(**request), stream=True) as chunks:
        return list(chunks)


def text_of(chunks: Iterable[ChatCompletionChunk]) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def finish_reasons(chunks: Iterable[ChatCompletionChunk]) -> list[str]:
    reasons = (choice.finish_reason for chunk in chunks for choice in chunk.choices)
    return [reason for reason in reasons if reason]


def post(customer: Customer, content: bytes, *, api_key: str | None = None) -> httpx.Response:
    """A chat request whose body may be anything."""
    return httpx.post(
        f"{customer.installation.url}/v1/chat/completions",
        content=content,
        headers={
            "authorization": f"Bearer {api_key or customer.api_key}",
            "content-type": "application/json",
        },
        timeout=SDK_SECONDS,
    )
