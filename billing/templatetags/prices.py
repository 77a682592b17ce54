"""Prices in plain words: when a window is open, and what a rate card says in one line."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from django import template
from django.utils.translation import gettext

from billing.contracts import Window
from common.templatetags.formats import page_locale

register = template.Library()

TO = "\N{EN DASH}"
DAYS_PER_WEEK = 7
MINUTES_PER_DAY = 24 * 60
SHORTEST_RUN = 3


@register.filter
def hours(windows: Window | Sequence[Window]) -> str:
    """When windows are open, as in: Mon-Fri 00:00-01:00, 04:00-06:00; Sat, Sun 00:00-24:00 UTC."""
    listed = [windows] if isinstance(windows, Window) else windows
    parts = [
        f"{_days(days)} {', '.join(_span(window) for window in same_days)}"
        for days, same_days in groupby(listed, key=lambda window: window.days)
    ]
    return gettext("%(hours)s UTC") % {"hours": "; ".join(parts)}


def _days(days: Iterable[int]) -> str:
    """Runs of three days and more by their ends."""
    numbers = sorted(days)
    if len(numbers) == DAYS_PER_WEEK:
        return gettext("daily")
    names = page_locale().days["stand-alone"]["abbreviated"]
    runs = [
        [number for _, number in run]
        for _, run in groupby(enumerate(numbers), key=lambda item: item[1] - item[0])
    ]
    return ", ".join(
        f"{names[run[0]]}{TO}{names[run[-1]]}"
        if len(run) >= SHORTEST_RUN
        else ", ".join(names[day] for day in run)
        for run in runs
    )


def _span(window: Window) -> str:
    begin, end = _clock(window.from_minute), _clock(window.to_minute or MINUTES_PER_DAY)
    if 0 < window.to_minute < window.from_minute:
        return gettext("%(hours)s (next day)") % {"hours": f"{begin}{TO}{end}"}
    return f"{begin}{TO}{end}"


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
