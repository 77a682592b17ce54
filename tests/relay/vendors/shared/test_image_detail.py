"""What is asked about images and some vendors cannot be told."""

from typing import Any

import pytest

from relay.vendors.shared.image_detail import asks_for_detail


def messages(**image: str) -> list[dict[str, Any]]:
    picture = {"type": "image_url", "image_url": {"url": "https://a.example/a.png", **image}}
    text = {"type": "text", "text": "?"}
    return [{"role": "system", "content": "Look."}, {"role": "user", "content": [text, picture]}]


@pytest.mark.parametrize(
    ("image", "asks"),
    [({}, False), ({"detail": "auto"}, False), ({"detail": "low"}, True), ({"detail": "high"}, True)],
)
def test_a_wish_is_seen(image: dict[str, str], asks: bool) -> None:
    assert asks_for_detail(messages(**image)) is asks


def test_without_images_there_is_none() -> None:
    assert not asks_for_detail([{"role": "assistant", "content": None}, {"role": "user", "content": "hi"}])
