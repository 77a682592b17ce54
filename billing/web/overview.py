"""What the overview shows, worked out of the rollups of the last days."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from django.utils import timezone
from django.utils.translation import gettext, ngettext

from billing.selectors import Spend, spend_by_day_and_model, totals_by_model, values_by_day
from common.charts import COLORS, Series
from common.templatetags.charts import Meter
from common.templatetags.formats import compact, count, money, percent

DAYS = 30
WINDOWS = (1, 7, 30)


@dataclass(frozen=True)
class Total:
    """Spend and requests of the last `days` days, today included, and the line through them."""

    days: int
    charge_nano: int
    requests: int
    trace: Sequence[int]


@dataclass(frozen=True)
class Overview:
    days: Sequence[date]
    totals: Sequence[Total]
    spend: Sequence[Series]
    requests: Sequence[Series]
    models: Sequence[Meter]
    charge_nano: int


def read_overview() -> Overview:
    """The last DAYS days of the organization in scope, in the reader's time zone."""
    today = timezone.localdate()
    days = [today - timedelta(days=back) for back in range(DAYS - 1, -1, -1)]
    spend = spend_by_day_and_model(days)
    by_model = totals_by_model(spend)
    shown = [one.model for one in by_model[: COLORS - 1]]
    requests = _summed(list(values_by_day(spend, days, "requests").values()), len(days))
    return Overview(
        days=days,
        totals=[_total(spend, days[-window:]) for window in WINDOWS],
        spend=_series(values_by_day(spend, days, "charge_nano"), shown, len(days)),
        requests=[Series(gettext("Requests"), requests)],
        models=_meters(by_model, len(shown)),
        charge_nano=sum(one.charge_nano for one in spend),
    )


def _total(spend: Sequence[Spend], days: Sequence[date]) -> Total:
    among = [one for one in spend if one.day >= days[0]]
    return Total(
        days=len(days),
        charge_nano=sum(one.charge_nano for one in among),
        requests=sum(one.requests for one in among),
        trace=_summed(list(values_by_day(among, days, "charge_nano").values()), len(days)),
    )


def _series(table: dict[str, list[int]], shown: Sequence[str], width: int) -> list[Series]:
    """A colour for each of the dearest models; all others share the last one."""
    series = [Series(model, table[model]) for model in shown]
    others = [values for model, values in table.items() if model not in shown]
    if others:
        series.append(Series(gettext("Other models"), _summed(others, width)))
    return series


def _meters(by_model: Sequence[Spend], shown: int) -> list[Meter]:
    whole = sum(one.charge_nano for one in by_model)
    meters = [_meter(one.model, [one], whole) for one in by_model[:shown]]
    if by_model[shown:]:
        meters.append(_meter(gettext("Other models"), by_model[shown:], whole))
    return meters


def _meter(name: str, spend: Sequence[Spend], whole: int) -> Meter:
    charge = sum(one.charge_nano for one in spend)
    requests = sum(one.requests for one in spend)
    called = ngettext("%(number)s request", "%(number)s requests", requests) % {"number": count(requests)}
    tokens = gettext("%(number)s tokens") % {"number": compact(sum(one.tokens for one in spend))}
    note = " · ".join([percent(charge, whole), called, tokens])
    return Meter(name=name, value=charge, shown=money(charge), note=note)


def _summed(rows: Sequence[Sequence[int]], width: int) -> list[int]:
    return [sum(row[index] for row in rows) for index in range(width)]
