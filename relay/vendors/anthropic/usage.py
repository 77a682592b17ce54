"""Anthropic's usage as our disjoint classes.

`input_tokens` leaves out both cache counts already, and `output_tokens` holds the thinking. In a stream the
first report has the exact input, later ones replace what they name and leave out the rest.
"""

from collections.abc import Mapping
from typing import Any

from billing.contracts import TokenUsage
from relay.contracts import ReportedUsage

# No request comes near it; a larger count is a fault of the vendor, not a fact.
_MOST_TOKENS = 1 << 40
_NOTHING: dict[str, Any] = {}


def read_usage(raw: object) -> ReportedUsage | None:
    """None where the vendor did not report both input and output."""
    return _Counts(raw).report() if isinstance(raw, dict) else None


def merge_usage(known: dict[str, Any], raw: object) -> None:
    """Later reports are totals: they replace, field by field, and null says nothing."""
    if isinstance(raw, dict):
        known.update((name, value) for name, value in raw.items() if value is not None)


def read_service_tier(raw: object) -> str:
    """The tier that was used, in OpenAI's word for the usual one; empty if the vendor did not say."""
    tier = raw.get("service_tier") if isinstance(raw, dict) else None
    if not isinstance(tier, str):
        return ""
    return "default" if tier == "standard" else tier


class _Counts:
    """Reads one report, whose fields may be missing, null, negative or nonsense."""

    __slots__ = ("_clamped", "_raw")

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self._raw = raw
        self._clamped = False

    def report(self) -> ReportedUsage | None:
        fresh, output = self._read(self._raw, "input_tokens"), self._read(self._raw, "output_tokens")
        if fresh is None or output is None:
            return None
        five_minutes, hour = self._written()
        thinking = self._read(_details(self._raw, "output_tokens_details"), "thinking_tokens") or 0
        if thinking > output:
            self._clamped = True
            thinking = output
        usage = TokenUsage(
            input_tokens=fresh,
            cache_read_tokens=self._read(self._raw, "cache_read_input_tokens") or 0,
            cache_write_5m_tokens=five_minutes,
            cache_write_1h_tokens=hour,
            output_tokens=output - thinking,
            reasoning_tokens=thinking,
        )
        return ReportedUsage(usage, clamped=self._clamped)

    def _written(self) -> tuple[int, int]:
        """Tokens written to the cache for five minutes and for an hour; the parts add up to the total."""
        lifetimes = _details(self._raw, "cache_creation")
        total = self._read(self._raw, "cache_creation_input_tokens")
        five_minutes = self._read(lifetimes, "ephemeral_5m_input_tokens")
        hour = self._read(lifetimes, "ephemeral_1h_input_tokens") or 0
        if total is None:
            return five_minutes or 0, hour
        if hour > total or (five_minutes is not None and five_minutes + hour != total):
            self._clamped = True
            hour = min(hour, total)
        return total - hour, hour

    def _read(self, source: Mapping[str, Any], name: str) -> int | None:
        value = source.get(name)
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int or value > _MOST_TOKENS:
            return None
        if value < 0:
            self._clamped = True
        return max(value, 0)


def _details(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = raw.get(name)
    return value if isinstance(value, dict) else _NOTHING
