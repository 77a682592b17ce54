"""Which images somebody must fetch, and how they get into the request."""

import orjson

from relay.capabilities import ModelTraits
from relay.contracts import ChatRequest
from relay.protocols.openai_chat.media import inline_media, media_to_inline
from relay.protocols.openai_chat.request import parse_request

DATA = "data:image/png;base64,iVBORw0KGgo="


def chat(*urls: str) -> ChatRequest:
    parts = [{"type": "image_url", "image_url": {"url": url, "detail": "low"}} for url in urls]
    messages = [
        {"role": "system", "content": "Look."},
        {"role": "user", "content": [{"type": "text", "text": "?"}, *parts]},
    ]
    return parse_request(orjson.dumps({"model": "m", "messages": messages}))


def test_what_a_vendor_fetches_itself_is_left_to_it() -> None:
    request = chat("https://a.example/1.png", "http://a.example/2.png", DATA)
    assert media_to_inline(request, ModelTraits()) == ()
    assert media_to_inline(request, ModelTraits(image_url_schemes=("https",))) == ("http://a.example/2.png",)
    assert len(media_to_inline(request, ModelTraits(image_url_schemes=()))) == 2


def test_each_address_is_named_once() -> None:
    request = chat("http://a.example/1.png", "http://a.example/1.png")
    assert media_to_inline(request, ModelTraits(image_url_schemes=())) == ("http://a.example/1.png",)


def test_nothing_is_fetched_for_a_model_that_cannot_see() -> None:
    assert media_to_inline(chat("http://a.example/1.png"), ModelTraits(vision=False)) == ()


def test_the_request_itself_stays_as_it_is() -> None:
    request = chat("http://a.example/1.png")
    before = orjson.dumps(request.body)
    inlined = inline_media(request, {"http://a.example/1.png": DATA})
    assert inlined.body["messages"][1]["content"][1] == {
        "type": "image_url",
        "image_url": {"url": DATA, "detail": "low"},
    }
    assert orjson.dumps(request.body) == before
    assert media_to_inline(inlined, ModelTraits(image_url_schemes=())) == ()
