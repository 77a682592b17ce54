"""Usage between OpenAI's inclusive shape and our disjoint classes.

In OpenAI's shape cached tokens are part of the prompt and reasoning is part of the completion. Vendors
differ in the details, and what they leave out is not zero: without both totals there is no report.
"""

from collections.abc import Mapping
from typing import Any

from billing.contracts import TokenUsage
from relay.contracts import ReportedUsage

# No request comes near it; a larger count is a fault of the vendor, not a fact.
_MOST_TOKENS = 1 << 40

_NOTHING: dict[str, Any] = {}


def usage_from_openai(raw: object) -> TokenUsage | None:
    """None where the vendor did not report both prompt and completion tokens."""
    report = read_usage(raw)
    return None if report is None else report.usage


def read_usage(raw: object) -> ReportedUsage | None:
    """Like `usage_from_openai`, and says whether counts had to be corrected."""
    if not isinstance(raw, dict):
        return None
    return _Counts(raw).report()


def usage_to_openai(usage: TokenUsage) -> dict[str, Any]:
    """What the customer sees: every class that has its own price can be told apart."""
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    written = usage.cache_write_5m_tokens + usage.cache_write_1h_tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            **_unless_zero("cache_write_tokens", written),
            **_unless_zero("cache_write_1h_tokens", usage.cache_write_1h_tokens),
            **_unless_zero("audio_tokens", usage.audio_input_tokens),
            **_unless_zero("image_tokens", usage.image_input_tokens),
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            **_unless_zero("audio_tokens", usage.audio_output_tokens),
        },
    }


def _unless_zero(name: str, count: int) -> dict[str, int]:
    return {name: count} if count else {}


class _Counts:
    """Reads one report, whose fields may be missing, null, negative or nonsense."""

    __slots__ = ("_clamped", "_completion_details", "_prompt_details", "_raw", "_reasoning")

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self._raw = raw
        self._clamped = False
        self._prompt_details = _details(raw, "prompt_tokens_details")
        self._completion_details = _details(raw, "completion_tokens_details")
        self._reasoning = self._read(self._completion_details, "reasoning_tokens")

    def report(self) -> ReportedUsage | None:
        prompt, completion = self._totals()
        if prompt is None or completion is None:
            return None
        cache_read, rest = self._take(self._cached(), prompt)
        cache_write, rest = self._take(self._written(), rest)
        audio_in, rest = self._take(self._read(self._prompt_details, "audio_tokens"), rest)
        image_in, fresh = self._take(self._read(self._prompt_details, "image_tokens"), rest)
        reasoning, rest = self._take(self._reasoning, completion)
        audio_out, output = self._take(self._read(self._completion_details, "audio_tokens"), rest)
        hour, five_minutes = self._take(self._written_for_an_hour(), cache_write)
        usage = TokenUsage(
            input_tokens=fresh,
            cache_read_tokens=cache_read,
            cache_write_5m_tokens=five_minutes,
            cache_write_1h_tokens=hour,
            output_tokens=output,
            reasoning_tokens=reasoning,
            audio_input_tokens=audio_in,
            audio_output_tokens=audio_out,
            image_input_tokens=image_in,
        )
        return ReportedUsage(usage, clamped=self._clamped)

    def _totals(self) -> tuple[int | None, int | None]:
        """Prompt and completion; one of them may follow from the other and the total."""
        total = self._read(self._raw, "total_tokens")
        completion = self._read(self._raw, "completion_tokens")
        prompt = self._read(self._raw, "prompt_tokens")
        if prompt is None:
            prompt = self._hit_plus_miss()
        if total is None:
            return prompt, completion
        if prompt is None or completion is None:
            return _complement(total, prompt, completion)
        return prompt, self._with_outside_reasoning(total, prompt, completion)

    def _with_outside_reasoning(self, total: int, prompt: int, completion: int) -> int:
        """xAI counts reasoning beside the completion; only the total tells."""
        reasoning = self._reasoning or 0
        return completion + reasoning if total == prompt + completion + reasoning else completion

    def _cached(self) -> int | None:
        """Gateways in front of DeepSeek may fill one of the two fields with a zero."""
        hit = self._read(self._raw, "prompt_cache_hit_tokens")
        return self._read(self._prompt_details, "cached_tokens") or hit

    def _written(self) -> int | None:
        written = self._read(self._prompt_details, "cache_write_tokens")
        return written or self._read(self._prompt_details, "cache_creation_input_tokens")

    def _written_for_an_hour(self) -> int | None:
        by_lifetime = _details(self._prompt_details, "cache_creation")
        return self._read(by_lifetime, "ephemeral_1h_input_tokens")

    def _hit_plus_miss(self) -> int | None:
        hit = self._read(self._raw, "prompt_cache_hit_tokens")
        miss = self._read(self._raw, "prompt_cache_miss_tokens")
        return None if hit is None or miss is None else hit + miss

    def _take(self, part: int | None, whole: int) -> tuple[int, int]:
        """A part, and what it leaves of the whole it belongs to."""
        if not part:
            return 0, whole
        if part > whole:
            self._clamped = True
            part = whole
        return part, whole - part

    def _read(self, source: Mapping[str, Any], name: str) -> int | None:
        value = source.get(name)
        if value is None or (type(value) is int and 0 <= value <= _MOST_TOKENS):
            return value
        return self._mend(value)

    def _mend(self, value: object) -> int | None:
        """A negative count is none at all; what is no whole number was not reported."""
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int or value > _MOST_TOKENS:
            return None
        if value < 0:
            self._clamped = True
        return max(value, 0)


def _complement(total: int, prompt: int | None, completion: int | None) -> tuple[int | None, int | None]:
    if prompt is not None:
        return prompt, max(total - prompt, 0)
    if completion is not None:
        return max(total - completion, 0), completion
    return None, None


def _details(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = raw.get(name)
    return value if isinstance(value, dict) else _NOTHING
