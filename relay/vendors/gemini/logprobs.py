"""Gemini's log probabilities as OpenAI's."""

from collections.abc import Mapping
from typing import Any


def read_logprobs(raw: object) -> dict[str, Any] | None:
    """None where there are none. A token's bytes are its UTF-8, also where it is half a character."""
    if not isinstance(raw, dict):
        return None
    chosen, tops = raw.get("chosenCandidates"), raw.get("topCandidates")
    if not isinstance(chosen, list):
        return None
    tops = tops if isinstance(tops, list) else []
    entries = [
        {**_entry(each), "top_logprobs": _alternatives(tops[place] if place < len(tops) else None)}
        for place, each in enumerate(chosen)
        if isinstance(each, dict)
    ]
    return {"content": entries, "refusal": None}


def _alternatives(raw: object) -> list[dict[str, Any]]:
    listed = raw.get("candidates") if isinstance(raw, dict) else None
    return [_entry(each) for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []


def _entry(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A probability that is missing is the default of the vendor's format: zero, which is certainty."""
    token, logprob = raw.get("token"), raw.get("logProbability", 0.0)
    token = token if isinstance(token, str) else ""
    is_number = isinstance(logprob, int | float) and not isinstance(logprob, bool)
    return {
        "token": token,
        "logprob": max(logprob, -9999.0) if is_number else -9999.0,
        "bytes": list(token.encode()),
    }
