"""Charts as SVG in the page, each with its numbers in a table that only screen readers meet."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from django import template

from common.charts import COLORS, COLUMN, HEIGHT, Series, stack_bars, trace
from common.templatetags.formats import compact, count, day, money, money_axis, money_exact

register = template.Library()

Show = Callable[[int], str]
# How a value is written on the scale, beside the pointer, and in the table.
UNITS: dict[str, tuple[Show, Show, Show]] = {
    "money": (money_axis, money, money_exact),
    "count": (compact, count, count),
}


@dataclass(frozen=True)
class Meter:
    """A line of a bar list: what, how much, and a word on it."""

    name: str
    value: int
    shown: str
    note: str = ""


@register.inclusion_tag("charts/stacked_bars.html")
def stacked_bars(
    days: Sequence[date],
    series: Sequence[Series],
    title: str,
    *,
    unit: str = "count",
    size: str = "tall",
) -> dict[str, Any]:
    """A bar per day, stacked by series. `unit`: "money" (values in nano-units) or "count"."""
    on_axis, in_tip, exact = UNITS[unit]
    chart = stack_bars([day(one) for one in days], series, in_tip)
    return {
        "chart": chart,
        "title": title,
        "size": size,
        "height": HEIGHT,
        "column": COLUMN,
        "middle": HEIGHT // 2,
        "ticks": [on_axis(chart.top), on_axis(chart.top // 2), on_axis(0)],
        "marks": _marks([bar.label for bar in chart.bars]),
        "series": [(one.name, min(color, COLORS)) for color, one in enumerate(series, start=1)],
        "table": [
            (bar.label, [exact(one.values[index]) for one in series], exact(bar.total))
            for index, bar in enumerate(chart.bars)
        ],
    }


@register.inclusion_tag("charts/meters.html")
def meters(rows: Sequence[Meter], title: str) -> dict[str, Any]:
    """Horizontal bars, the longest for the greatest value."""
    greatest = max((row.value for row in rows), default=0) or 1
    return {
        "title": title,
        "rows": [
            (row, max(row.value * 100 // greatest, 1), min(color, COLORS))
            for color, row in enumerate(rows, start=1)
        ],
    }


@register.inclusion_tag("charts/sparkline.html")
def sparkline(values: Sequence[int], title: str) -> dict[str, Any]:
    """A line without a scale: the shape of what happened, beside its number."""
    return {
        "title": title,
        "points": trace(values),
        "width": max(len(values) - 1, 1) * COLUMN,
        "height": HEIGHT,
    }


def _marks(labels: Sequence[str]) -> list[tuple[str, bool]]:
    """Five labels below the plot, evenly apart; every other one may go where room is short."""
    if len(labels) < 5:
        return [(label, False) for label in labels]
    last = len(labels) - 1
    return [(labels[last * step // 4], step in {1, 3}) for step in range(5)]
