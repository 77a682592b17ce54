"""What is offered and for how much: the models that can be called now, beside the prices in force."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from billing.contracts import Band, Rates
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
class PricedModel:
    """Rates are retail, in nano-units per 1,000,000 tokens."""

    name: str
    owned_by: str
    context_window: int
    max_output_tokens: int
    capabilities: Sequence[str]
    shutdown_on: date | None
    successor: str
    rates: Rates
    bands: Sequence[Band]

    @property
    def words(self) -> str:
        """What a search looks through."""
        return " ".join([self.name, self.owned_by, *self.capabilities, *self.labels])

    @property
    def labels(self) -> list[str]:
        return [str(CAPABILITIES.get(name, name)) for name in self.capabilities]

    @property
    def has_cache_price(self) -> bool:
        return self.rates.cache_read != self.rates.input


def price_list(reseller_id: int) -> list[tuple[str, list[PricedModel]]]:
    """Offered models by owner, both in alphabetical order."""
    offered = load_offer_book().offers
    tariffs = prices_in_force()
    priced = [
        _priced(model, found.retail.rates, found.retail.bands)
        for model in Model.objects.filter(name__in=offered).order_by("owned_by", "name")
        if (found := tariffs.find(reseller_id, model.name)) is not None
    ]
    return [(owner, list(models)) for owner, models in groupby(priced, lambda one: one.owned_by)]


def _priced(model: Model, rates: Rates, bands: Sequence[Band]) -> PricedModel:
    return PricedModel(
        name=model.name,
        owned_by=model.owned_by,
        context_window=model.context_window,
        max_output_tokens=model.max_output_tokens,
        capabilities=model.capabilities,
        shutdown_on=model.shutdown_on,
        successor=model.successor,
        rates=rates,
        bands=bands,
    )
