"""What is offered and for how much: the models that can be called now, beside the prices in force.

A model has a line of prices, and a line below it for everything that makes it cost something else: hours of
the day, service tiers, and what is to come.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from billing.contracts import Band, Dated, Rates, Tariff, Window
from billing.gate import prices_in_force
from relay.models import Model
from relay.offers import load_offer_book

CAPABILITIES: dict[str, str | Promise] = {
    "vision": _("Images"),
    "pdf": "PDF",
    "audio": _("Audio"),
    "video": _("Video"),
    "tools": _("Tools"),
    "json_object": "JSON",
    "json_schema": _("JSON schema"),
    "reasoning": _("Reasoning"),
}


@dataclass(frozen=True)
class PriceLine:
    """Rates are retail, in nano-units per 1,000,000 tokens. `since` None: it holds already.

    Neither `windows` nor `tier`: the default tier at all other hours. `is_open`: one of the windows is, now.
    """

    rates: Rates
    bands: Sequence[Band]
    since: datetime | None = None
    windows: Sequence[Window] = ()
    tier: str = ""
    is_open: bool = False

    @property
    def has_cache_price(self) -> bool:
        return self.rates.cache_read != self.rates.input


@dataclass(frozen=True)
class PricedModel:
    """`price` is the default tier outside of all windows, `variations` is what costs something else."""

    name: str
    owned_by: str
    context_window: int
    max_output_tokens: int
    capabilities: Sequence[str]
    shutdown_on: date | None
    successor: str
    price: PriceLine
    variations: Sequence[PriceLine]

    @property
    def words(self) -> str:
        """What a search looks through."""
        return " ".join([self.name, self.owned_by, *self.capabilities, *self.labels])

    @property
    def labels(self) -> list[str]:
        return [str(CAPABILITIES.get(name, name)) for name in self.capabilities]


def price_list(reseller_id: int) -> list[tuple[str, list[PricedModel]]]:
    """Offered models by owner, both in alphabetical order."""
    offered = load_offer_book().offers
    tariffs = prices_in_force()
    priced = [
        _priced(model, _lines(tariffs.plan(reseller_id, model.name), now.retail.rates))
        for model in Model.objects.filter(name__in=offered).order_by("owned_by", "name")
        if (now := tariffs.find(reseller_id, model.name)) is not None
    ]
    return [(owner, list(models)) for owner, models in groupby(priced, lambda one: one.owned_by)]


def _lines(plan: Sequence[Dated], now: Rates) -> list[PriceLine]:
    """What holds already comes first. Changes of cost and wholesale are nobody's business here."""
    lines: list[PriceLine] = []
    shown: Tariff | None = None
    for dated in plan:
        retail = dated.tariffs.retail if dated.tariffs else None
        if retail is not None and retail != shown:
            lines += _lines_of(retail, dated.since if shown else None, now)
            shown = retail
    return lines


def _lines_of(tariff: Tariff, since: datetime | None, now: Rates) -> Iterator[PriceLine]:
    yield PriceLine(tariff.rates, tariff.bands, since)
    groups: dict[tuple[Rates, Sequence[Band]], list[Window]] = {}
    for window in tariff.windows:
        groups.setdefault((window.rates, window.bands), []).append(window)
    for (rates, bands), windows in groups.items():
        is_open = any(window.rates is now for window in windows)
        yield PriceLine(rates, bands, since, windows, is_open=is_open)
    for tier in tariff.tiers:
        yield PriceLine(tier.rates, tier.bands, since, tier=tier.name)


def _priced(model: Model, lines: Sequence[PriceLine]) -> PricedModel:
    return PricedModel(
        name=model.name,
        owned_by=model.owned_by,
        context_window=model.context_window,
        max_output_tokens=model.max_output_tokens,
        capabilities=model.capabilities,
        shutdown_on=model.shutdown_on,
        successor=model.successor,
        price=lines[0],
        variations=lines[1:],
    )
