"""Images and files of a prompt that lie elsewhere: which ones we must fetch, and putting them in."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from relay.capabilities import ModelTraits
from relay.contracts import ChatRequest
from relay.protocols.openai_chat.request import count_attachments


@dataclass(frozen=True, slots=True)
class RemotePart:
    """Something to fetch. `param` is its path in the customer's request, for errors."""

    url: str
    param: str
    is_image: bool


def remote_parts(chat: ChatRequest, traits: ModelTraits) -> tuple[RemotePart, ...]:
    """What somebody must fetch before the request can be built: each address once, in order.

    Files always, also for a vendor that would fetch them: what a file costs cannot be held for unseen.
    """
    fetched_by_vendor = tuple(f"{scheme}:" for scheme in (*traits.image_url_schemes, "data"))
    found: dict[str, RemotePart] = {}
    for part in _remote_parts(chat.body["messages"]):
        is_wanted = traits.vision and not part.url.startswith(fetched_by_vendor)
        if is_wanted if part.is_image else traits.pdf:
            found.setdefault(part.url, part)
    return tuple(found.values())


def inline_media(chat: ChatRequest, fetched: Mapping[str, str]) -> ChatRequest:
    """The same request with data URLs in the place of addresses; `chat` stays as it is."""
    messages = [_inline_message(message, fetched) for message in chat.body["messages"]]
    return replace(chat, body={**chat.body, "messages": messages}, attachments=count_attachments(messages))


def _remote_parts(messages: list[dict[str, Any]]) -> Iterator[RemotePart]:
    for number, message in enumerate(messages):
        content = message.get("content")
        for index, part in enumerate(content if type(content) is list else ()):
            place = f"messages[{number}].content[{index}]"
            if (url := _image_url(part)) is not None:
                yield RemotePart(url, f"{place}.image_url.url", is_image=True)
            elif (url := _file_url(part)) is not None:
                yield RemotePart(url, f"{place}.file.file_data", is_image=False)


def _image_url(part: Mapping[str, Any]) -> str | None:
    return part["image_url"]["url"] if part.get("type") == "image_url" else None


def _file_url(part: Mapping[str, Any]) -> str | None:
    data = part["file"]["file_data"] if part.get("type") == "file" else ""
    return data if data[:8].lower().startswith(("http://", "https://")) else None


def _inline_message(message: dict[str, Any], fetched: Mapping[str, str]) -> dict[str, Any]:
    content = message.get("content")
    if type(content) is not list:
        return message
    return {**message, "content": [_inline_part(part, fetched) for part in content]}


def _inline_part(part: dict[str, Any], fetched: Mapping[str, str]) -> dict[str, Any]:
    image = fetched.get(_image_url(part) or "")
    if image is not None:
        return {**part, "image_url": {**part["image_url"], "url": image}}
    data = fetched.get(_file_url(part) or "")
    return part if data is None else {**part, "file": {**part["file"], "file_data": data}}
