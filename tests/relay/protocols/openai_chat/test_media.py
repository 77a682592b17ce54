"""Which images somebody must fetch, and how they get into the request."""

import orjson

from relay.capabilities import ModelTraits
from relay.contracts import ChatRequest
from relay.protocols.openai_chat.media import RemotePart, inline_media, remote_parts
from relay.protocols.openai_chat.request import parse_request, prompt_token_bound

DATA = "data:image/png;base64,iVBORw0KGgo="


def chat(*urls: str) -> ChatRequest:
    parts = [{"type": "image_url", "image_url": {"url": url, "detail": "low"}} for url in urls]
    messages = [
        {"role": "system", "content": "Look."},
        {"role": "user", "content": [{"type": "text", "text": "?"}, *parts]},
    ]
    return parse_request(orjson.dumps({"model": "m", "messages": messages}))


def wanted(request: ChatRequest, traits: ModelTraits) -> tuple[str, ...]:
    return tuple(part.url for part in remote_parts(request, traits))


def test_what_a_vendor_fetches_itself_is_left_to_it() -> None:
    request = chat("https://a.example/1.png", "http://a.example/2.png", DATA)
    assert wanted(request, ModelTraits()) == ()
    assert wanted(request, ModelTraits(image_url_schemes=("https",))) == ("http://a.example/2.png",)
    assert len(wanted(request, ModelTraits(image_url_schemes=()))) == 2


def test_each_address_is_named_once() -> None:
    request = chat("http://a.example/1.png", "http://a.example/1.png")
    assert wanted(request, ModelTraits(image_url_schemes=())) == ("http://a.example/1.png",)


def test_nothing_is_fetched_for_a_model_that_cannot_see() -> None:
    assert wanted(chat("http://a.example/1.png"), ModelTraits(vision=False)) == ()


def test_the_request_itself_stays_as_it_is() -> None:
    request = chat("http://a.example/1.png")
    before = orjson.dumps(request.body)
    inlined = inline_media(request, {"http://a.example/1.png": DATA})
    assert inlined.body["messages"][1]["content"][1] == {
        "type": "image_url",
        "image_url": {"url": DATA, "detail": "low"},
    }
    assert orjson.dumps(request.body) == before
    assert wanted(inlined, ModelTraits(image_url_schemes=())) == ()


def file_chat(data: str) -> ChatRequest:
    parts = [
        {"type": "text", "text": "?"},
        {"type": "file", "file": {"file_data": data, "filename": "a.pdf"}},
    ]
    return parse_request(orjson.dumps({"model": "m", "messages": [{"role": "user", "content": parts}]}))


def test_a_file_elsewhere_is_always_fetched_by_us() -> None:
    url = "HTTPS://a.example/a.pdf"
    assert remote_parts(file_chat(url), ModelTraits()) == (
        RemotePart(url, "messages[0].content[1].file.file_data", is_image=False),
    )
    assert remote_parts(file_chat(url), ModelTraits(pdf=False)) == ()
    assert remote_parts(file_chat("data:application/pdf;base64,JVBERi0="), ModelTraits()) == ()


def test_a_file_that_was_fetched_counts_with_its_size() -> None:
    request = file_chat("https://a.example/a.pdf")
    data = "data:application/pdf;base64," + "A" * 8_000
    inlined = inline_media(request, {"https://a.example/a.pdf": data})
    assert inlined.body["messages"][0]["content"][1]["file"] == {"file_data": data, "filename": "a.pdf"}
    assert inlined.attachments.file_size == len(data)
    assert prompt_token_bound(inlined) > prompt_token_bound(request) + 5_000


def test_each_part_is_named_by_its_place() -> None:
    parts = remote_parts(chat("http://a.example/1.png"), ModelTraits(image_url_schemes=()))
    assert parts == (
        RemotePart("http://a.example/1.png", "messages[1].content[1].image_url.url", is_image=True),
    )
