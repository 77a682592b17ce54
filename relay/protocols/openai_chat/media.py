"""Images of a prompt that lie elsewhere: which ones a vendor will not fetch, and putting them in."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from relay.capabilities import ModelTraits
from relay.contracts import ChatRequest


def media_to_inline(chat: ChatRequest, traits: ModelTraits) -> tuple[str, ...]:
    """The addresses somebody must fetch before the request can be built, each once, in order."""
    if not traits.vision:
        return ()
    fetched_by_vendor = tuple(f"{scheme}:" for scheme in (*traits.image_url_schemes, "data"))
    urls = [_image_url(part) for part in _parts(chat.body["messages"])]
    return tuple(dict.fromkeys(url for url in urls if url and not url.startswith(fetched_by_vendor)))


def inline_media(chat: ChatRequest, fetched: Mapping[str, str]) -> ChatRequest:
    """The same request with data URLs in the place of addresses; `chat` stays as it is."""
    messages = [_inline_message(message, fetched) for message in chat.body["messages"]]
    return replace(chat, body={**chat.body, "messages": messages})


def _parts(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    contents = [message.get("content") for message in messages]
    return [part for content in contents if type(content) is list for part in content]


def _image_url(part: Mapping[str, Any]) -> str | None:
    return part["image_url"]["url"] if part.get("type") == "image_url" else None


def _inline_message(message: dict[str, Any], fetched: Mapping[str, str]) -> dict[str, Any]:
    content = message.get("content")
    if type(content) is not list:
        return message
    return {**message, "content": [_inline_part(part, fetched) for part in content]}


def _inline_part(part: dict[str, Any], fetched: Mapping[str, str]) -> dict[str, Any]:
    url = _image_url(part)
    if url is None or url not in fetched:
        return part
    return {**part, "image_url": {**part["image_url"], "url": fetched[url]}}
