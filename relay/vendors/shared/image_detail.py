"""How closely to look at images: a wish that only vendors of OpenAI's shape know."""

from collections.abc import Iterable, Mapping
from typing import Any

IMAGE_DETAIL = "messages[].content[].image_url.detail"


def asks_for_detail(messages: Iterable[Mapping[str, Any]]) -> bool:
    """Whether any image comes with another wish than to leave it to the model."""
    return any(
        part["image_url"].get("detail") not in (None, "auto")
        for message in messages
        if type(content := message.get("content")) is list
        for part in content
        if part.get("type") == "image_url"
    )
