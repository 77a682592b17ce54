"""Rate cards out of `price` and `cost` tables: written USD to exact integers."""

import itertools
import re
from collections.abc import Mapping
from types import MappingProxyType

from common.money import parse_nano
from relay.catalog.specs import BandSpec, RateCard, WindowSpec
from relay.catalog.tables import Table

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


def read_rate_card(table: Table) -> RateCard:
    rates = _read_rates(table)
    bands = tuple(sorted(map(_read_band, table.tables("band")), key=lambda b: b.over_prompt_tokens))
    windows = tuple(_read_window(window, rates) for window in table.tables("window"))
    table.finish()
    _check_extras(table, bands, windows)
    return RateCard(rates=rates, bands=bands, windows=windows)


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


def _read_band(table: Table) -> BandSpec:
    threshold = table.integer("over_prompt_tokens", minimum=1)
    rates = _read_rates(table)
    table.finish()
    return BandSpec(over_prompt_tokens=threshold, rates=rates)


def _read_window(table: Table, base: Mapping[str, int]) -> WindowSpec:
    window = WindowSpec(
        days=_read_days(table),
        from_minute=_read_minute(table, "utc_from"),
        to_minute=_read_minute(table, "utc_to"),
        rates=_read_rates(table),
    )
    table.finish()
    if window.from_minute >= window.to_minute:
        raise table.mistake("utc_to", "a time after utc_from; write two windows across midnight")
    _check_discount(table, window.rates, base)
    return window


def _check_discount(table: Table, rates: Mapping[str, int], base: Mapping[str, int]) -> None:
    for name in sorted(rates.keys() ^ base.keys()):
        raise table.mistake(name, "the same classes as the price itself names")
    for name, rate in rates.items():
        if rate > base[name]:
            raise table.mistake(name, "no more than the price itself, which credit is held at")


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


def _check_extras(table: Table, bands: tuple[BandSpec, ...], windows: tuple[WindowSpec, ...]) -> None:
    if bands and windows:
        raise table.mistake("window", "bands or windows, not both: which rate holds would be open")
    if len({band.over_prompt_tokens for band in bands}) < len(bands):
        raise table.mistake("band", "a different over_prompt_tokens in each")
    if any(_overlap(one, other) for one, other in itertools.combinations(windows, 2)):
        raise table.mistake("window", "windows that do not overlap")


def _overlap(one: WindowSpec, other: WindowSpec) -> bool:
    return bool(
        set(one.days) & set(other.days)
        and one.from_minute < other.to_minute
        and other.from_minute < one.to_minute
    )
