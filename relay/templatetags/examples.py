"""What an amount of money buys, told in tokens of models that people know."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from django import template

from billing.contracts import Rates
from billing.gate import prices_in_force
from common.money import TOKENS_PER_RATE
from relay.offers import Offer, load_offer_book

MOST = 4

register = template.Library()


@dataclass(frozen=True)
class Example:
    """How many tokens of a model an amount pays for: all prompt, or all answer."""

    model: str
    input_tokens: int
    output_tokens: int


@register.simple_tag
def what_it_buys(amount_nano: int, reseller_id: int, used: Collection[str]) -> list[Example]:
    """At today's prices: of the models `used`, and beside them of one of each vendor."""
    offers, tariffs = load_offer_book().offers, prices_in_force()
    priced = {name: now.retail.rates for name in offers if (now := tariffs.find(reseller_id, name))}
    rates = {name: one for name, one in priced.items() if one.input and one.output}
    names = dict.fromkeys([*(name for name in used if name in rates), *_typical(offers.values(), rates)])
    return [
        Example(
            name,
            amount_nano * TOKENS_PER_RATE // rates[name].input,
            amount_nano * TOKENS_PER_RATE // rates[name].output,
        )
        for name in list(names)[:MOST]
    ]


def _typical(offers: Iterable[Offer], rates: Mapping[str, Rates]) -> list[str]:
    """Of each vendor the model in the middle of its prices; the vendor with most models comes first."""
    of_vendor: dict[str, list[str]] = defaultdict(list)
    for offer in offers:
        if offer.model in rates and not offer.is_deprecated:
            of_vendor[offer.owned_by].append(offer.model)
    vendors = sorted(of_vendor.values(), key=lambda names: (-len(names), min(names)))
    return [sorted(names, key=lambda name: (rates[name].output, name))[len(names) // 2] for names in vendors]
