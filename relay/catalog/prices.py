"""Rate cards out of `price`, `wholesale` and `cost` tables: written USD to exact integers."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from common.money import parse_nano
from relay.catalog.specs import BandSpec, RateCard, TierSpec, WindowSpec
from relay.catalog.tables import Table, refuse_twins

RATE_CLASSES = (
    "input",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "output",
    "reasoning",
    "audio_input",
    "audio_output",
    "image_input",
    "per_request",
)
ALIASES = {"cache_write": "cache_write_5m"}
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTES_PER_DAY = 24 * 60

# Nine digits before the point keep every rate inside a 64-bit integer of nano-units.
WRITTEN_PRICE = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)
PRICE = 'a quoted amount of USD like "2.50", not below zero, with at most nine decimals'
CLOCK = re.compile(r"(\d\d):(\d\d)", re.ASCII)
TIME = 'a quoted UTC time from "00:00" to "24:00"'
TIER = re.compile(r"[a-z][a-z0-9_-]{0,19}", re.ASCII)
TIER_RULE = 'the vendor\'s name of a service tier, like "flex"'
REASON = re.compile(r".{1,500}")
REASON_RULE = "a reason of up to 500 characters"


def read_rate_card(table: Table) -> RateCard:
    rates = _read_rates(table)
    card = RateCard(
        rates=rates,
        bands=_read_bands(table),
        windows=tuple(_read_window(window, rates) for window in table.tables("window")),
        tiers=tuple(map(_read_tier, table.tables("tier"))),
        override_reason=table.optional_matching("override_reason", REASON, REASON_RULE) or "",
    )
    table.finish()
    refuse_twins([tier.name for tier in card.tiers], (table.place + ', tier "{}"').format)
    return card


def _read_rates(table: Table) -> Mapping[str, int]:
    """The named classes; input and output must be among them."""
    rates: dict[str, int] = {}
    for key in (*RATE_CLASSES, *ALIASES):
        name = ALIASES.get(key, key)
        rate = _read_rate(table, key)
        if rate is None:
            continue
        if name in rates:
            raise table.mistake(key, f"either {key} or {name}, not both")
        rates[name] = rate
    for key in ("input", "output"):
        if key not in rates:
            raise table.mistake(key, f"{PRICE}; the key is missing")
    return MappingProxyType(rates)


def _read_rate(table: Table, key: str) -> int | None:
    written = table.optional_matching(key, WRITTEN_PRICE, PRICE)
    return None if written is None else parse_nano(written)


def _read_bands(table: Table) -> tuple[BandSpec, ...]:
    bands = sorted(map(_read_band, table.tables("band")), key=lambda band: band.over_prompt_tokens)
    if len({band.over_prompt_tokens for band in bands}) < len(bands):
        raise table.mistake("band", "a different over_prompt_tokens in each")
    return tuple(bands)


def _read_band(table: Table) -> BandSpec:
    threshold = table.integer("over_prompt_tokens", minimum=1)
    rates = _read_rates(table)
    table.finish()
    return BandSpec(over_prompt_tokens=threshold, rates=rates)


def _read_tier(table: Table) -> TierSpec:
    name = table.matching("name", TIER, TIER_RULE)
    tier = TierSpec(name=name, rates=_read_rates(table), bands=_read_bands(table))
    table.finish()
    return tier


def _read_window(table: Table, base: Mapping[str, int]) -> WindowSpec:
    window = WindowSpec(
        days=_read_days(table),
        from_minute=_read_minute(table, "utc_from"),
        to_minute=_read_minute(table, "utc_to"),
        rates=_read_rates(table),
        bands=_read_bands(table),
    )
    table.finish()
    if window.from_minute == MINUTES_PER_DAY:
        raise table.mistake("utc_from", 'a time before "24:00"; "00:00" of the next day')
    if window.from_minute == window.to_minute:
        raise table.mistake("utc_to", 'another time than utc_from; "00:00" to "24:00" is the whole day')
    for name in sorted(window.rates.keys() ^ base.keys()):
        raise table.mistake(name, "the same classes as the price itself names")
    return window


def _read_days(table: Table) -> tuple[str, ...]:
    expected = "a list of " + ", ".join(DAYS)
    days = table.texts("days", expected)
    if not days or not set(days) <= set(DAYS):
        raise table.mistake("days", expected)
    return tuple(sorted(days, key=DAYS.index))


def _read_minute(table: Table, key: str) -> int:
    match = CLOCK.fullmatch(table.text(key, expected=TIME))
    minute = int(match[1]) * 60 + int(match[2]) if match and int(match[2]) < 60 else -1
    if not 0 <= minute <= MINUTES_PER_DAY:
        raise table.mistake(key, TIME)
    return minute
