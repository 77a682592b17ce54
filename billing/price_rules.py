"""What prices must keep to each other, from a publication on and after every change to come.

No reseller sells below its wholesale price; nothing is sold below the vendor's cost without a reason in
writing; no price is so far from the cost that somebody must have mistaken the unit. What a vendor charges is
a fact, though: a cost above prices that stand is written down, and told to operators.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations

from django.utils.translation import gettext as _
from django.utils.translation import override

from accounts.models import Reseller
from billing.contracts import Tariff
from billing.models import PriceKind, PriceVersion
from billing.price_checks import Gap, widest_shortfall, widest_slip
from billing.tariffs import PriceHistory, Standing, versions_since
from common.errors import AppError
from common.money import format_nano


class PriceRefused(AppError):
    """The prices do not go together; nothing of the set was published."""

    code = "price_refused"


class PriceOverlap(PriceRefused):
    """Two versions of one kind, from the same moment on."""

    code = "price_overlap"


class PriceRetroactive(PriceRefused):
    """From a moment that has passed: requests since then were charged at another price."""

    code = "price_retroactive"


class RetailBelowWholesale(PriceRefused):
    """The reseller would pay more for a request than its customer does."""

    code = "retail_below_wholesale"


class WholesaleBelowCost(PriceRefused):
    """Every request of a reseller would lose money; possible with a reason."""

    code = "wholesale_below_cost"


class RetailBelowCost(PriceRefused):
    """Every request would lose money; possible with a reason."""

    code = "retail_below_cost"


class PriceOutOfProportion(PriceRefused):
    """More than a hundred times the cost, or less than a hundredth: a slip of the unit."""

    code = "price_out_of_proportion"


@dataclass(frozen=True)
class DearCost:
    """A new cost above prices that stand: of which model and reseller, and by how much."""

    subject: str
    message: str


@dataclass(frozen=True)
class _Pair:
    """Two prices in force together from `since` on. `reseller_id` None: for all without their own prices."""

    reseller_id: int | None
    model: str
    since: datetime
    kind: PriceKind
    price: Tariff
    base_kind: PriceKind
    base: Tariff


def check_prices(made: Sequence[PriceVersion], house_id: int) -> list[DearCost]:
    """Raises PriceRefused where one of `made`, saved already, does not go with what stands beside it.

    Pairs in which neither is new were judged when they came.
    """
    new = {version.pk: version for version in made}
    start = min(version.effective_from for version in made)
    versions = versions_since(start, {version.model for version in made})
    history = PriceHistory(versions, house_id, start)
    told: dict[str, list[str]] = {}
    for pair in _new_pairs(history, house_id, start, new):
        if gap := _judge(pair, new):
            told.setdefault(_subject_of(pair), []).append(_tell(pair, gap))
    return [DearCost(subject, "\n".join(messages)) for subject, messages in told.items()]


def _new_pairs(history: PriceHistory, house_id: int, start: datetime, new: Container[int]) -> Iterator[_Pair]:
    """Each pair once. The house is not asked for: it sells at what those without their own prices do."""
    seen: set[tuple[int, int]] = set()
    for reseller_id, model in sorted(history.keys(), key=lambda key: (key[1], key[0] or 0)):
        if reseller_id == house_id:
            continue
        for since, standing in history.standings((reseller_id, model)):
            for kind, price, base_kind, base in _side_by_side(standing):
                versions = (price.version_id, base.version_id)
                if versions not in seen and (versions[0] in new or versions[1] in new):
                    seen.add(versions)
                    yield _Pair(reseller_id, model, max(since, start), kind, price, base_kind, base)


def _side_by_side(standing: Standing) -> Iterator[tuple[PriceKind, Tariff, PriceKind, Tariff]]:
    of_kind = {
        PriceKind.COST: standing.cost,
        PriceKind.WHOLESALE: standing.wholesale,
        PriceKind.RETAIL: standing.retail,
    }
    for (base_kind, base), (kind, price) in combinations(of_kind.items(), 2):
        if price is not None and base is not None:
            yield kind, price, base_kind, base


def _judge(pair: _Pair, new: Mapping[int, PriceVersion]) -> Gap | None:
    """Where a new cost lies above a price that stands; None: nowhere. Raises PriceRefused."""
    if pair.base_kind == PriceKind.COST and (slip := widest_slip(pair.price, pair.base)):
        raise PriceOutOfProportion(_say_slip(pair, slip))
    gap = widest_shortfall(pair.price, pair.base)
    if gap is None:
        return None
    if pair.base_kind == PriceKind.WHOLESALE:
        raise RetailBelowWholesale(_say_shortfall(pair, gap))
    if pair.price.version_id not in new:
        return gap
    if new[pair.price.version_id].override_reason:
        return None
    refusal = RetailBelowCost if pair.kind == PriceKind.RETAIL else WholesaleBelowCost
    raise refusal(
        " ".join([_say_shortfall(pair, gap), _("Give a reason to publish it all the same.")]),
        param="override_reason",
    )


def _say_slip(pair: _Pair, gap: Gap) -> str:
    text = _(
        "%(model)s, %(token_class)s: the %(kind)s of USD %(price)s is not between a hundredth and a hundred"
        " times the %(base_kind)s of USD %(base)s%(where)s. Are both per 1,000,000 tokens?"
    )
    return text % _figures(pair, gap)


def _say_shortfall(pair: _Pair, gap: Gap) -> str:
    text = _(
        "%(model)s, %(token_class)s: the %(kind)s of USD %(price)s is below the %(base_kind)s of USD"
        " %(base)s%(where)s."
    )
    return text % _figures(pair, gap)


def _tell(pair: _Pair, gap: Gap) -> str:
    """For an alert, which is read by people of several languages."""
    with override("en"):
        return _say_shortfall(pair, gap)


def _figures(pair: _Pair, gap: Gap) -> dict[str, str]:
    words = {
        PriceKind.RETAIL: _("retail price"),
        PriceKind.WHOLESALE: _("wholesale price"),
        PriceKind.COST: _("vendor cost"),
    }
    details = [_reseller_name(pair), f"{pair.since.astimezone(UTC):%Y-%m-%d %H:%M} UTC", str(gap.place)]
    return {
        "model": pair.model,
        "token_class": gap.token_class,
        "kind": words[pair.kind],
        "price": format_nano(gap.price),
        "base_kind": words[pair.base_kind],
        "base": format_nano(gap.base),
        "where": f" ({', '.join(filter(None, details))})",
    }


def _reseller_name(pair: _Pair) -> str:
    return Reseller.objects.get(pk=pair.reseller_id).slug if pair.reseller_id is not None else ""


def _subject_of(pair: _Pair) -> str:
    return " ".join(filter(None, [pair.model, _reseller_name(pair)]))
