"""Reading the parts of a vendor's answer that a stream and a whole answer have in common."""

from collections.abc import Mapping
from typing import Any

import orjson


def reports_error(answer: Mapping[str, Any]) -> bool:
    """Errors arrive inside HTTP 200 too; vLLM's have no `error` key."""
    return bool(answer.get("error")) or answer.get("object") == "error"


def read_string(raw: Mapping[str, Any], name: str) -> str | None:
    value = raw.get(name)
    return value if isinstance(value, str) else None


def read_service_tier(answer: Mapping[str, Any]) -> dict[str, str]:
    """The tier that was used, for vendors that have tiers."""
    tier = read_string(answer, "service_tier")
    return {"service_tier": tier} if tier else {}


def read_text(content: object) -> str | None:
    """The text of a message; some vendors send it in parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(_text_of_part(part) for part in content)
    return None


def _text_of_part(part: object) -> str:
    text = part.get("text") if isinstance(part, Mapping) else None
    return text if isinstance(text, str) else ""


def read_reasoning(source: Mapping[str, Any]) -> str | None:
    """What a model thought, under whichever of the two names the vendor gives it."""
    for name in ("reasoning_content", "reasoning"):
        text = source.get(name)
        if isinstance(text, str) and text:
            return text
    return None


def read_arguments(value: object) -> str:
    """Arguments are text, also when a vendor has parsed them already."""
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def make_call_id(completion_id: str, choice: int, call: int) -> str:
    """For vendors that give tool calls no id. OpenAI takes back at most 40 characters."""
    return f"call_{completion_id[-20:]}_{choice}_{call}"


def utf8_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
