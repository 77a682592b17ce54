"""Bands, windows and tiers as lines of text: how operators write them, and how they are shown to them.

A line names where its rates hold, then the rates in USD: "200000: input 2.50, output 15". A window or tier
with a band of its own has a second line: "flex over 200000: input 1.25, output 7.50".
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from typing_extensions import override
from unfold.widgets import UnfoldAdminTextareaWidget

from billing.models import RATE_CLASSES
from billing.tariffs import DAYS
from common.admin import WRITTEN_USD
from common.money import format_nano, parse_nano

Part = dict[str, Any]
TOKENS = re.compile(r"[1-9]\d{0,11}", re.ASCII)
TIER = re.compile(r"[a-z][a-z0-9_-]{0,19}", re.ASCII)
HOURS = re.compile(r"(?P<days>[a-z, -]+?)\s+(?P<begin>\d\d:\d\d)\s*-\s*(?P<end>\d\d:\d\d)", re.ASCII)
DAILY = "daily"


class NotLikeThat(ValueError):
    """The line cannot be read."""


class RateLinesField(forms.CharField):
    """One part of a price a line. `example` is shown beside a line that cannot be read."""

    example: ClassVar[str]

    def __init__(self, **options: Any) -> None:
        widget = UnfoldAdminTextareaWidget(attrs={"rows": 3, "spellcheck": "false"})
        super().__init__(**{"widget": widget, "required": False, **options})

    def read_head(self, head: str) -> Part:
        """What a line says before its rates. Raises NotLikeThat."""
        raise NotImplementedError

    def written_head(self, part: Mapping[str, Any]) -> str:
        raise NotImplementedError

    @override
    def to_python(self, value: Any) -> Any:
        parts: list[Part] = []
        for line in filter(None, map(str.strip, (super().to_python(value) or "").splitlines())):
            try:
                self._add(parts, line)
            except NotLikeThat as error:
                text = _("“%(line)s” is not like “%(example)s”.")
                raise ValidationError(text, params={"line": line, "example": self.example}) from error
        return parts

    def _add(self, parts: list[Part], line: str) -> None:
        """A line of its own, or the band of one before it."""
        before, _colon, rates = line.rpartition(":")
        head, over, tokens = before.partition(" over ")
        named = self.read_head(head.strip())
        if not over:
            parts.append({**named, "rates": _read_rates(rates)})
            return
        band = {"over_prompt_tokens": _read_tokens(tokens.strip()), "rates": _read_rates(rates)}
        same = [part for part in parts if named.items() <= part.items()]
        if not same:
            raise NotLikeThat
        same[-1].setdefault("bands", []).append(band)

    @override
    def prepare_value(self, value: Any) -> Any:
        if value is None or isinstance(value, str):
            return value
        return "\n".join(f"{head}: {written_rates(rates)}" for head, rates in self.lines(value))

    def lines(self, parts: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, int]]]:
        for part in parts:
            head = self.written_head(part)
            yield head, part["rates"]
            for band in part.get("bands", ()):
                yield f"{head} over {band['over_prompt_tokens']}", band["rates"]


class BandsField(RateLinesField):
    example = "200000: input 2.50, output 15"

    @override
    def read_head(self, head: str) -> Part:
        return {"over_prompt_tokens": _read_tokens(head)}

    @override
    def written_head(self, part: Mapping[str, Any]) -> str:
        return str(part["over_prompt_tokens"])

    @override
    def to_python(self, value: Any) -> Any:
        bands = super().to_python(value)
        if len({band["over_prompt_tokens"] for band in bands}) < len(bands):
            raise ValidationError(_("Each band begins at another number of tokens."))
        return sorted(bands, key=lambda band: int(band["over_prompt_tokens"]))


class WindowsField(RateLinesField):
    example = "mon-fri 16:30-24:00: input 1.25, output 5"

    @override
    def read_head(self, head: str) -> Part:
        match = HOURS.fullmatch(head)
        if match is None:
            raise NotLikeThat
        begin, end = _read_minute(match["begin"]), _read_minute(match["end"])
        return {"days": _read_days(match["days"]), "from_minute": begin, "to_minute": end}

    @override
    def written_head(self, part: Mapping[str, Any]) -> str:
        return f"{_written_days(part['days'])} {_clock(part['from_minute'])}-{_clock(part['to_minute'])}"


class TiersField(RateLinesField):
    example = "flex: input 1.25, output 5"

    @override
    def read_head(self, head: str) -> Part:
        if TIER.fullmatch(head) is None:
            raise NotLikeThat
        return {"tier": head}

    @override
    def written_head(self, part: Mapping[str, Any]) -> str:
        return str(part["tier"])


def written_rates(rates: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {format_nano(nano)}" for name, nano in rates.items())


def _read_rates(text: str) -> dict[str, int]:
    """Every class at most once, input and output among them."""
    pairs = [part.split() for part in text.split(",")]
    rates = {
        pair[0]: parse_nano(pair[1])
        for pair in pairs
        if len(pair) == 2 and pair[0] in RATE_CLASSES and WRITTEN_USD.fullmatch(pair[1])
    }
    if len(rates) < len(pairs) or not {"input", "output"} <= rates.keys():
        raise NotLikeThat
    return rates


def _read_tokens(text: str) -> int:
    if TOKENS.fullmatch(text) is None:
        raise NotLikeThat
    return int(text)


def _read_minute(text: str) -> int:
    hours, minutes = map(int, text.split(":"))
    if minutes > 59 or hours * 60 + minutes > 24 * 60:
        raise NotLikeThat
    return hours * 60 + minutes


def _read_days(text: str) -> list[str]:
    """ "mon-fri", "sat, sun" or "daily", in the order of the week."""
    chosen: set[int] = set()
    for part in text.replace(DAILY, "mon-sun").split(","):
        first, _dash, last = (one.strip() for one in part.partition("-"))
        if first not in DAYS or (last or first) not in DAYS:
            raise NotLikeThat
        chosen.update(range(DAYS.index(first), DAYS.index(last or first) + 1))
    if not chosen:
        raise NotLikeThat
    return [DAYS[day] for day in sorted(chosen)]


def _written_days(days: Sequence[str]) -> str:
    numbers = sorted(DAYS.index(day) for day in days)
    is_run = numbers == list(range(numbers[0], numbers[-1] + 1))
    if len(numbers) == len(DAYS):
        return DAILY
    return f"{DAYS[numbers[0]]}-{DAYS[numbers[-1]]}" if is_run and len(numbers) > 1 else ",".join(days)


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
