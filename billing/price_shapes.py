"""A price as it is handed in, and the shape its columns keep: plain lists and integers, known names only."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from billing.models import RATE_CLASSES
from billing.tariffs import DAYS
from common.errors import AppError
from common.money import MOST_NANO

MINUTES_PER_DAY = 24 * 60
LONGEST_TIER = 20


class PriceMalformed(AppError):
    """A band, window or tier that no request could be priced by; nothing was published."""

    code = "price_malformed"


@dataclass(frozen=True)
class Price:
    """What to publish: nano-units per 1,000,000 tokens by class name (see RATE_CLASSES).

    `bands`    {"over_prompt_tokens": int, "rates": {…}}
    `windows`  {"days": ["mon", …], "from_minute": int, "to_minute": int, "rates": {…}, "bands": […]}: minutes
               of the UTC day; a window that does not end after it begins ends on the next day
    `tiers`    {"tier": name, "rates": {…}, "bands": […]}

    Raises PriceMalformed.
    """

    rates: Mapping[str, int]
    bands: Sequence[Mapping[str, Any]] = ()
    windows: Sequence[Mapping[str, Any]] = ()
    tiers: Sequence[Mapping[str, Any]] = ()
    columns: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        unknown = self.rates.keys() - set(RATE_CLASSES)
        if unknown:
            raise PriceMalformed(_("There is no token class %(name)s.") % {"name": min(unknown)})
        columns = {
            **{name: self.rates.get(name) for name in RATE_CLASSES},
            "bands": _plain_bands(self.bands),
            "windows": [_plain_window(window) for window in self.windows],
            "tiers": _plain_tiers(self.tiers),
        }
        object.__setattr__(self, "columns", columns)


def _plain_rates(rates: Mapping[str, int]) -> dict[str, int]:
    for name, rate in rates.items():
        if name not in RATE_CLASSES or type(rate) is not int or not 0 <= rate <= MOST_NANO:
            raise PriceMalformed(_("“%(name)s” is not a token class with its rate.") % {"name": name})
    return dict(rates)


def _plain_bands(bands: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    plain = [
        {"over_prompt_tokens": _count(band["over_prompt_tokens"]), "rates": _plain_rates(band["rates"])}
        for band in bands
    ]
    if len({band["over_prompt_tokens"] for band in plain}) < len(plain):
        raise PriceMalformed(_("Each band begins at another number of tokens."), param="bands")
    return plain


def _count(tokens: object) -> int:
    if type(tokens) is not int or tokens < 1:
        raise PriceMalformed(_("A band begins at a whole number of tokens."), param="bands")
    return tokens


def _plain_window(window: Mapping[str, Any]) -> dict[str, Any]:
    days, begin, end = list(window["days"]), window["from_minute"], window["to_minute"]
    if not days or not set(days) <= set(DAYS) or len(set(days)) < len(days):
        raise PriceMalformed(_("A window needs days, each once."), param="windows")
    if not (0 <= begin < MINUTES_PER_DAY and 0 <= end <= MINUTES_PER_DAY and begin != end):
        raise PriceMalformed(_("A window begins and ends at different minutes of the day."), param="windows")
    return {
        "days": days,
        "from_minute": begin,
        "to_minute": end,
        "rates": _plain_rates(window["rates"]),
        **_own_bands(window),
    }


def _plain_tiers(tiers: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    plain = [
        {"tier": tier["tier"], "rates": _plain_rates(tier["rates"]), **_own_bands(tier)} for tier in tiers
    ]
    names = [tier["tier"] for tier in plain]
    if len(set(names)) < len(names) or not all(0 < len(name) <= LONGEST_TIER for name in names):
        raise PriceMalformed(_("Each service tier has a name of its own."), param="tiers")
    return plain


def _own_bands(part: Mapping[str, Any]) -> dict[str, Any]:
    bands = _plain_bands(part.get("bands", ()))
    return {"bands": bands} if bands else {}
