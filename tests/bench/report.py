"""The table that `make bench` prints: a row for each figure, a column for each way to the vendor."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.bench.kernel import children

TITLE_WIDTH = 48
WIDTH = 11


@dataclass
class Seen:
    """What clients saw of one kind of load, all rounds together. CPU seconds are by process id."""

    answers: int = 0
    answers_in_all: int = 0
    chunks: int = 0
    chunks_together: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    first_chunks: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    cpu: dict[int, float] = field(default_factory=dict)
    main_thread: dict[int, float] = field(default_factory=dict)

    def add(self, found: dict[str, Any]) -> None:
        for name in ("answers", "answers_in_all", "chunks", "chunks_together", "seconds"):
            setattr(self, name, getattr(self, name) + found[name])
        for name in ("latencies", "first_chunks", "gaps"):
            getattr(self, name).extend(found[name])
        for name in ("cpu", "main_thread"):
            spent = getattr(self, name)
            for pid, seconds in found[name].items():
                spent[int(pid)] = spent.get(int(pid), 0.0) + seconds


def _nothing_seen() -> dict[str, Seen]:
    return {"plain": Seen(), "streams": Seen(), "lone": Seen()}


@dataclass
class Way:
    """One way to the vendor. `between` is the process that stands there, `database` PostgreSQL's first."""

    name: str
    url: str
    model: str
    key: str = "none"
    between: int | None = None
    database: int | None = None
    resident_mb: float | None = None
    peak_mb: float | None = None
    seen: dict[str, Seen] = field(default_factory=_nothing_seen)

    def watched(self) -> list[int]:
        """Processes whose CPU time is wanted; PostgreSQL has one for each connection, and they change."""
        own = [] if self.between is None else [self.between]
        return own if self.database is None else [*own, self.database, *children(self.database)]

    @property
    def plain_us(self) -> float | None:
        """CPU of the process in between per plain request, in µs."""
        return self._cpu_us("plain", self.seen["plain"].answers)

    @property
    def chunk_us(self) -> float | None:
        return self._cpu_us("streams", self.seen["streams"].chunks)

    @property
    def other_threads_us(self) -> float | None:
        """The part of `plain_us` that the event loop's thread did not spend; nginx has one thread only."""
        seen = self.seen["plain"]
        if self.between is None or self.database is None:
            return None
        rest = seen.cpu[self.between] - seen.main_thread[self.between]
        return rest * 1e6 / max(1, seen.answers)

    @property
    def database_us(self) -> float | None:
        """Of all PostgreSQL did meanwhile: for the charges, and for the worker that adds them up."""
        seen = self.seen["plain"]
        spent = sum(seconds for pid, seconds in seen.cpu.items() if pid != self.between)
        return None if self.database is None else spent * 1e6 / max(1, seen.answers)

    def _cpu_us(self, load: str, units: int) -> float | None:
        return None if self.between is None else self.seen[load].cpu[self.between] * 1e6 / max(1, units)

    @property
    def requests_per_s(self) -> float:
        return self.seen["plain"].answers / self.seen["plain"].seconds

    @property
    def together_percent(self) -> float:
        return 100 * self.seen["streams"].chunks_together / max(1, self.seen["streams"].chunks)


Figure = Callable[[Way], float | None]


def print_table(ways: list[Way], yardstick_ms: float) -> None:
    direct = next(way for way in ways if way.between is None)
    print(f"\n{'':{TITLE_WIDTH}}" + "".join(f"{way.name:>{WIDTH}}" for way in ways) + f"{'x nginx':>{WIDTH}}")
    for title, digits, figure in _rows(direct):
        values = [figure(way) for way in ways]
        print(
            f"{title:{TITLE_WIDTH}}"
            + "".join(_cell(value, digits) for value in values)
            + _ratio(ways, figure)
        )
    print(f"{'a million turns of a Python loop, CPU ms':{TITLE_WIDTH}}{_cell(yardstick_ms, 1)}\n")


def _rows(direct: Way) -> list[tuple[str, int, Figure]]:
    """Title, digits after the point, figure."""
    return [
        ("CPU per plain request, 32 at once, µs", 0, lambda way: way.plain_us),
        ("  of it in the money writer's thread, µs", 0, lambda way: way.other_threads_us),
        ("  and PostgreSQL's beside it, µs", 0, lambda way: way.database_us),
        ("CPU per relayed chunk, 64 streams, µs", 1, lambda way: way.chunk_us),
        ("resident memory at the end, MB", 0, lambda way: way.resident_mb),
        ("resident memory at its highest, MB", 0, lambda way: way.peak_mb),
        ("plain requests per second, 32 at once", 0, lambda way: way.requests_per_s),
        *_latency_rows(direct),
        ("first chunk, 64 streams, median, ms", 2, _quantile("streams", "first_chunks", 0.5)),
        ("gap between chunks sent 10 ms apart, median, ms", 2, _quantile("streams", "gaps", 0.5)),
        ("  p99, ms", 2, _quantile("streams", "gaps", 0.99)),
        ("  longest, ms", 2, _quantile("streams", "gaps", 1.0)),
        ("chunks that came together with another, %", 2, lambda way: way.together_percent),
    ]


def _latency_rows(direct: Way) -> list[tuple[str, int, Figure]]:
    median, p99 = _quantile("lone", "latencies", 0.5), _quantile("lone", "latencies", 0.99)
    return [
        ("latency, one at a time, median, ms", 2, median),
        ("  p99, ms", 2, p99),
        ("  added to direct, median, ms", 2, _added(median, direct)),
        ("  added to direct, p99, ms", 2, _added(p99, direct)),
    ]


def _quantile(load: str, name: str, share: float) -> Figure:
    """In ms. The longest for a share of 1."""

    def figure(way: Way) -> float:
        ordered = sorted(getattr(way.seen[load], name))
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1e3 if ordered else 0.0

    return figure


def _added(latency: Figure, direct: Way) -> Figure:
    def figure(way: Way) -> float | None:
        mine, without = latency(way), latency(direct)
        return None if way is direct or mine is None or without is None else mine - without

    return figure


def _cell(value: float | None, digits: int) -> str:
    return f"{'-':>{WIDTH}}" if value is None else f"{value:>{WIDTH},.{digits}f}"


def _ratio(ways: list[Way], figure: Figure) -> str:
    """Farebox's figure in nginx's."""
    nginx = next((figure(way) for way in ways if way.name == "nginx"), None)
    mine = figure(ways[0])
    return _cell(mine / nginx if mine and nginx and min(mine, nginx) > 0 else None, 1)
