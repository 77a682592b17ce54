"""What a whole answer and a stream have in common: why it ended, refusals, where text comes from."""

from collections.abc import Mapping
from typing import Any

_STOP_REASONS: Mapping[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",  # there would be more; only the vendor's own tools pause
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_REFUSED = "The model declined to answer."


def read_stop_reason(reason: object) -> str | None:
    """In OpenAI's words; None while there is none. What is new to us reads as an ordinary end."""
    return _STOP_REASONS.get(reason, "stop") if isinstance(reason, str) else None


def read_refusal(source: Mapping[str, Any]) -> str | None:
    """What to say to the customer, if the model refused."""
    if source.get("stop_reason") != "refusal":
        return None
    details = source.get("stop_details")
    explanation = details.get("explanation") if isinstance(details, dict) else None
    return explanation if isinstance(explanation, str) and explanation else _REFUSED


def read_citation(citation: object, start: int, end: int) -> dict[str, Any] | None:
    """OpenAI's annotation for one source; `start` and `end` are characters of the content it belongs to."""
    if not isinstance(citation, dict):
        return None
    url, title = citation.get("url"), citation.get("title") or citation.get("document_title")
    span = {"start_index": start, "end_index": end}
    if isinstance(url, str):
        shown = title if isinstance(title, str) else url
        return {"type": "url_citation", "url_citation": {**span, "url": url, "title": shown}}
    if type(citation.get("document_index")) is not int:
        return None
    named = {"filename": title, "quote": citation.get("cited_text")}
    told = {name: value for name, value in named.items() if isinstance(value, str)}
    file = {**span, "index": citation["document_index"], **told}
    return {"type": "file_citation", "file_citation": file}
