"""Geometry of the server-drawn charts. Pure integers; no chart needs a script or an inline style.

A plot is HEIGHT units high and COLUMN units wide per column, and stretches to the room there is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

HEIGHT = 1000
COLUMN = 100
BAR = 72
SMALLEST = 8  # what is not nothing stays visible
CEILINGS = (2, 4, 6, 8, 10, 12, 16, 20, 24, 30, 40, 50, 60, 80, 100)
COLORS = 6  # --chart-1 … --chart-6; the last one is for "everything else"


@dataclass(frozen=True)
class Series:
    """One colour of a chart: a value per column."""

    name: str
    values: Sequence[int]


@dataclass(frozen=True)
class Rectangle:
    x: int
    y: int
    width: int
    height: int
    color: int


@dataclass(frozen=True)
class Bar:
    """One column of stacked rectangles, and the full-height area that answers to the pointer."""

    label: str
    total: int
    hit_x: int
    tip: str
    rectangles: tuple[Rectangle, ...]


@dataclass(frozen=True)
class StackedBars:
    width: int
    top: int
    bars: tuple[Bar, ...]


def stack_bars(labels: Sequence[str], series: Sequence[Series], show: Callable[[int], str]) -> StackedBars:
    """Bars for `labels`, the first series at the bottom. `show` writes a value for people."""
    totals = [sum(one.values[index] for one in series) for index in range(len(labels))]
    top = ceiling(max(totals, default=0))
    bars = tuple(
        Bar(
            label=label,
            total=totals[index],
            hit_x=index * COLUMN,
            tip=_tip(label, index, series, show),
            rectangles=_rectangles(index, series, top),
        )
        for index, label in enumerate(labels)
    )
    return StackedBars(width=len(labels) * COLUMN, top=top, bars=bars)


def ceiling(value: int) -> int:
    """The next number with two even digits or fewer: its half is a whole, short number as well."""
    step = 1
    while step * 100 < value:
        step *= 10
    return next(step * factor for factor in CEILINGS if step * factor >= value)


def trace(values: Sequence[int]) -> str:
    """The points of a line through `values` from left to right, as SVG's `points` wants them."""
    highest = max(values, default=0) or 1
    return " ".join(
        f"{index * COLUMN},{HEIGHT - value * HEIGHT // highest}" for index, value in enumerate(values)
    )


def _rectangles(index: int, series: Sequence[Series], top: int) -> tuple[Rectangle, ...]:
    rectangles = []
    y = HEIGHT
    for color, one in enumerate(series, start=1):
        value = one.values[index]
        if value <= 0:
            continue
        height = max(value * HEIGHT // top, SMALLEST)
        y -= height
        x = index * COLUMN + (COLUMN - BAR) // 2
        rectangles.append(Rectangle(x, y, BAR, height, min(color, COLORS)))
    return tuple(rectangles)


def _tip(label: str, index: int, series: Sequence[Series], show: Callable[[int], str]) -> str:
    """The total, then what it is made of from the top down; two spaces stand before each value."""
    parts = [(one.name, one.values[index]) for one in series if one.values[index]]
    lines = [f"{name}  {show(value)}" for name, value in reversed(parts) if len(series) > 1]
    return "\n".join([f"{label}  {show(sum(value for _, value in parts))}", *lines])
