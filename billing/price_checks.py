"""Two tariffs side by side, class by class, wherever a request can land: hour, service tier, prompt length.

Pure. Rates are constant between the edges of windows and bands, so comparing one point of each stretch
compares them all.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from billing.contracts import Band, Rates, Tariff, Window
from billing.pricing import price_at, rates_for

RATE_CLASSES = tuple(one.name for one in fields(Rates) if one.init)
MOST_TIMES = 100
MINUTES_PER_DAY = 24 * 60
MINUTES_PER_WEEK = 7 * MINUTES_PER_DAY
SOME_MONDAY = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request lands. `hour` is None where the hour makes no difference."""

    tier: str
    prompt_tokens: int
    hour: datetime | None

    def __str__(self) -> str:
        words = [
            f"service tier {self.tier}" if self.tier else "",
            f"prompts of {self.prompt_tokens:,} tokens" if self.prompt_tokens else "",
            f"{self.hour:%a %H:%M} UTC" if self.hour else "",
        ]
        return ", ".join(filter(None, words))


@dataclass(frozen=True, slots=True)
class Gap:
    """Two rates of one class that do not go together, and where they meet."""

    token_class: str
    price: int
    base: int
    place: Place

    @property
    def times(self) -> Fraction:
        """How far apart they are, however they stand."""
        low, high = sorted((self.price, self.base))
        return Fraction(high, low) if low else Fraction(high * MOST_TIMES * MOST_TIMES)


def widest_shortfall(price: Tariff, base: Tariff) -> Gap | None:
    """Where `price` lies furthest below `base` in any class; None: nowhere."""
    gaps = (gap for gap in _meetings(price, base) if gap.price < gap.base)
    return max(gaps, key=lambda gap: gap.times, default=None)


def widest_slip(price: Tariff, cost: Tariff) -> Gap | None:
    """Where they are more than MOST_TIMES apart: a price per token taken for one per million, or the like.

    A class that costs nothing says nothing, and nor does a request that is paid for by its tokens alone.
    """
    gaps = (gap for gap in _meetings(price, cost) if _is_slip(gap))
    return max(gaps, key=lambda gap: gap.times, default=None)


def _is_slip(gap: Gap) -> bool:
    if not gap.base or (gap.token_class == "per_request" and not gap.price):  # noqa: S105 - no password
        return False
    return not gap.base <= gap.price * MOST_TIMES <= gap.base * MOST_TIMES**2


def _meetings(price: Tariff, base: Tariff) -> Iterator[Gap]:
    seen: set[tuple[Rates, Rates]] = set()
    for place, ours, theirs in _places(price, base):
        if (ours, theirs) not in seen:
            seen.add((ours, theirs))
            for name in RATE_CLASSES:
                yield Gap(name, getattr(ours, name), getattr(theirs, name), place)


def _places(price: Tariff, base: Tariff) -> Iterator[tuple[Place, Rates, Rates]]:
    both = (price, base)
    tiers = ["", *sorted({tier.name for tariff in both for tier in tariff.tiers})]
    lengths = sorted({0, *(length for tariff in both for length in _lengths(tariff))})
    hours = sorted({0, *(minute for tariff in both for minute in _edges(tariff.windows))})
    for minute in hours:
        hour = SOME_MONDAY + timedelta(minutes=minute)
        ours, theirs = price_at(price, hour), price_at(base, hour)
        for tier in tiers:
            for length in lengths:
                place = Place(tier, length, hour if len(hours) > 1 else None)
                yield place, rates_for(ours, length, tier), rates_for(theirs, length, tier)


def _lengths(tariff: Tariff) -> Iterator[int]:
    """The first prompt of every band, whichever tier or window it belongs to."""
    groups: list[tuple[Band, ...]] = [tariff.bands]
    groups += [tier.bands for tier in tariff.tiers]
    groups += [window.bands for window in tariff.windows]
    return (band.over_prompt_tokens + 1 for bands in groups for band in bands)


def _edges(windows: tuple[Window, ...]) -> Iterator[int]:
    """Minutes of the week at which a window begins or ends."""
    for window in windows:
        length = (window.to_minute - window.from_minute) % MINUTES_PER_DAY or MINUTES_PER_DAY
        for day in window.days:
            begin = day * MINUTES_PER_DAY + window.from_minute
            yield begin
            yield (begin + length) % MINUTES_PER_WEEK
