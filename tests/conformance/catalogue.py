"""What the catalogue as it is shipped says of a model: what it can do, and what its tokens cost."""

import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction

from relay.adapters import ADAPTERS
from relay.capabilities import ModelTraits, read_traits, with_abilities
from relay.catalog.reader import DEFAULT_CATALOG
from tests.conformance.vendors import Json

# Which rate stands for one that is not named.
FALLBACK = {
    "cache_read": "input",
    "cache_write_5m": "input",
    "cache_write_1h": "cache_write_5m",
    "audio_input": "input",
    "image_input": "input",
    "reasoning": "output",
    "audio_output": "output",
}
CLASSES = ("input", "output", *FALLBACK)
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_shipped = tomllib.loads(DEFAULT_CATALOG.read_text())
_models: dict[str, Json] = {entry["id"]: entry for entry in _shipped["model"]}
_vendors: dict[str, str] = {entry["name"]: entry["vendor"] for entry in _shipped["channel"]}


@dataclass(frozen=True)
class Abilities:
    """`words` are the catalogue's capabilities; `traits` those and the vendor's ways together."""

    words: frozenset[str]
    traits: ModelTraits


def abilities_of(model: str) -> Abilities:
    entry = _models[model]
    base = ADAPTERS[_vendors[entry["routes"][0]["channel"]]].traits
    words = entry["capabilities"]
    return Abilities(frozenset(words), read_traits(entry.get("traits", {}), with_abilities(base, words)))


def has_cache_rate(model: str) -> bool:
    return "cache_read" in _models[model]["price"]


def charge_of(record: Json) -> int:
    """Nano-dollars for the tokens of a usage record, at the time it began; its prompt reaches no band."""
    card = _card_at(_models[record["model"]]["price"], record["started_at"].astimezone(UTC))
    usd_per_million: Fraction = sum(record[f"{name}_tokens"] * _rate(card, name) for name in CLASSES)
    return round(usd_per_million * 1000)  # of two integers just as near, `round` takes the even one


def _rate(card: Json, name: str) -> Fraction:
    while name not in card:
        name = FALLBACK[name]
    return Fraction(card[name])


def _card_at(price: Json, moment: datetime) -> Json:
    """The windows of the shipped catalogue end on the day they begin."""
    clock = f"{moment:%H:%M}"
    for window in price.get("window", ()):
        if DAYS[moment.weekday()] in window["days"] and window["utc_from"] <= clock < window["utc_to"]:
            return dict(window)
    return price
