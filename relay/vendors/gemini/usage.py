"""Gemini's usage as our disjoint classes.

`promptTokenCount` holds what came from a cache and leaves out what built-in tools added to the prompt;
`candidatesTokenCount` leaves out the thoughts and is missing while it is zero. In a stream every report is
of all so far, so the last one counts.
"""

from collections.abc import Mapping
from typing import Any

from billing.contracts import TokenUsage
from relay.contracts import ReportedUsage

# No request comes near it; a larger count is a fault of the vendor, not a fact.
_MOST_TOKENS = 1 << 40
_TIERS: Mapping[str, str] = {
    "ON_DEMAND": "default",
    "ON_DEMAND_PRIORITY": "priority",
    "ON_DEMAND_FLEX": "flex",
}


def read_usage(raw: object) -> ReportedUsage | None:
    """None where the vendor did not say how long the prompt was, neither itself nor by the total."""
    return _Counts(raw).report() if isinstance(raw, dict) else None


def merge_usage(known: dict[str, Any], raw: object) -> None:
    """Later reports replace, field by field, and null says nothing."""
    if isinstance(raw, dict):
        known.update((name, value) for name, value in raw.items() if value is not None)


def read_service_tier(raw: object) -> str:
    """The tier that was used, in OpenAI's words; empty if the vendor did not say."""
    kind = raw.get("trafficType") if isinstance(raw, dict) else None
    return _TIERS.get(kind, "") if isinstance(kind, str) else ""


class _Counts:
    """Reads one report, whose fields may be missing, null, negative or nonsense."""

    __slots__ = ("_clamped", "_raw")

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self._raw = raw
        self._clamped = False

    def report(self) -> ReportedUsage | None:
        prompt, added, visible, thoughts = self._totals()
        if prompt is None:
            return None
        cached, fresh = self._take(self._read("cachedContentTokenCount") or 0, prompt)
        audio_in, fresh = self._take_modality("AUDIO", fresh)
        image_in, fresh = self._take_modality("IMAGE", fresh)
        audio_out, visible = self._take(self._modality("candidatesTokensDetails", "AUDIO"), visible)
        usage = TokenUsage(
            input_tokens=fresh + added,
            cache_read_tokens=cached,
            output_tokens=visible,
            reasoning_tokens=thoughts,
            audio_input_tokens=audio_in,
            audio_output_tokens=audio_out,
            image_input_tokens=image_in,
        )
        return ReportedUsage(usage, clamped=self._clamped)

    def _totals(self) -> tuple[int | None, int, int, int]:
        """The prompt, what tools added to it, the visible output and the thoughts."""
        total, prompt = self._read("totalTokenCount"), self._read("promptTokenCount")
        added = self._read("toolUsePromptTokenCount") or 0
        thoughts = self._read("thoughtsTokenCount") or 0
        candidates = self._read("candidatesTokenCount")
        if total is None or (prompt is None and candidates is None and not thoughts):
            return prompt, added, candidates or 0, thoughts
        if prompt is None:
            return max(total - added - (candidates or 0) - thoughts, 0), added, candidates or 0, thoughts
        if candidates is None:
            return prompt, added, max(total - prompt - added - thoughts, 0), thoughts
        if thoughts and prompt + added + candidates == total:  # the thoughts were counted among them
            thoughts, candidates = self._take(thoughts, candidates)
        elif prompt + candidates > total:
            self._clamped = True  # believed, class by class, but somebody should look
        return prompt, added, candidates, thoughts

    def _take_modality(self, modality: str, fresh: int) -> tuple[int, int]:
        """What is of this kind and did not come from the cache."""
        cached = self._modality("cacheTokensDetails", modality)
        wanted = max(self._modality("promptTokensDetails", modality) - cached, 0)
        part = min(wanted, fresh)  # without details of the cache, some of it came from there
        return part, fresh - part

    def _modality(self, field: str, modality: str) -> int:
        details = self._raw.get(field)
        entries = [each for each in details if isinstance(each, dict)] if isinstance(details, list) else []
        counts = [self._mend(each.get("tokenCount")) for each in entries if each.get("modality") == modality]
        return sum(count or 0 for count in counts)

    def _take(self, part: int, whole: int) -> tuple[int, int]:
        """A part, and what it leaves of the whole it belongs to."""
        if part > whole:
            self._clamped = True
            part = whole
        return part, whole - part

    def _read(self, name: str) -> int | None:
        return self._mend(self._raw.get(name))

    def _mend(self, value: object) -> int | None:
        """A negative count is none at all; what is no whole number was not reported."""
        if isinstance(value, str) and value.isdecimal() and len(value) < 16:
            value = int(value)  # how Google's JSON writes integers of 64 bits
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int or value > _MOST_TOKENS:
            return None
        if value < 0:
            self._clamped = True
        return max(value, 0)
