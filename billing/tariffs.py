"""The price versions in force, as the money path reads them: from rows to frozen tariffs.

A version takes effect by the clock at its own moment: a book holds what was in force lately, what is now and
all that is to come, and answers for any of these moments. Loading it anew only brings what was published
since.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone

from accounts.models import Reseller
from billing.contracts import Band, Dated, ModelTariffs, Rates, Tariff, Tier, TokenUsage, Window
from billing.models import RATE_CLASSES, PriceKind, PriceVersion
from billing.pricing import price_at, price_usage

FALLS_BACK_TO = {
    "cache_read": "input",
    "cache_write_5m": "input",
    "cache_write_1h": "cache_write_5m",
    "reasoning": "output",
    "audio_input": "input",
    "audio_output": "output",
    "image_input": "input",
}
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# A request may have begun this long before the book that prices it was loaded.
LOOK_BACK = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
LONG_AGO = datetime.min.replace(tzinfo=UTC)
NEVER = datetime.max.replace(tzinfo=UTC)


class Timeline:
    """A model whose price changes by the clock: versions one after another, the first since ever, and windows
    within them.

    The answer is the same for a whole minute, or until a version ends: it is worked out once and kept.
    """

    def __init__(self, plan: Sequence[Dated]) -> None:
        self.plan = plan
        self._starts = [one.since for one in plan]
        self._kept: tuple[datetime, datetime, ModelTariffs | None] = (NEVER, LONG_AGO, None)

    def at(self, moment: datetime) -> ModelTariffs | None:
        since, until, tariffs = self._kept
        if since <= moment < until:
            return tariffs
        self._kept = kept = self._work_out(moment)
        return kept[2]

    def _work_out(self, moment: datetime) -> tuple[datetime, datetime, ModelTariffs | None]:
        index = bisect_right(self._starts, moment) - 1
        minute = moment.astimezone(UTC).replace(second=0, microsecond=0)
        until = self._starts[index + 1] if index + 1 < len(self._starts) else NEVER
        tariffs = self.plan[index].tariffs
        return (
            max(minute, self._starts[index]),
            min(minute + MINUTE, until),
            None if tariffs is None else _resolved(tariffs, moment),
        )


Entry = ModelTariffs | Timeline
# A reseller's id, or None for whoever has no versions of their own.
Key = tuple[int | None, str]


class TariffBook:
    """A reseller without a price of its own sells at the house's, and buys at the house's wholesale price.

    Vendors charge the house, whoever sells: only its cost versions count.
    """

    def __init__(self, entries: Mapping[Key, Entry], moment: datetime | None = None) -> None:
        """`moment`: what "now" means to this book; None leaves it to the clock."""
        self._entries = entries
        self._moment = moment

    def find(self, reseller_id: int, model: str, moment: datetime | None = None) -> ModelTariffs | None:
        """What holds at `moment` (now), windows resolved; None where nothing is for sale."""
        found = self._entries.get((reseller_id, model)) or self._entries.get((None, model))
        if isinstance(found, Timeline):
            return found.at(moment or self._moment or timezone.now())
        return found

    def plan(self, reseller_id: int, model: str) -> list[Dated]:
        """What holds now and what is to come, for showing it: windows are still in it."""
        found = self._entries.get((reseller_id, model)) or self._entries.get((None, model))
        if found is None:
            return []
        if not isinstance(found, Timeline):
            return [Dated(LONG_AGO, found)]
        now = self._moment or timezone.now()
        begun = [one for one in found.plan if one.since <= now]
        return begun[-1:] + [one for one in found.plan if one.since > now]


def load_tariff_book(moment: datetime | None = None) -> TariffBook:
    house = Reseller.objects.filter(is_house=True).first()
    if house is None:
        return TariffBook({}, moment)
    start = (moment or timezone.now()) - LOOK_BACK
    return TariffBook(PriceHistory(versions_since(start), house.pk, start).entries(), moment)


def tariff_of(version: PriceVersion) -> Tariff:
    base = {name: getattr(version, name) for name in RATE_CLASSES}
    return Tariff(
        version_id=version.pk,
        rates=complete_rates(base),
        bands=_bands_of(version.bands, base),
        tiers=tuple(_tier_of(tier, base) for tier in version.tiers),
        windows=tuple(_window_of(window, base) for window in version.windows),
    )


def price_recorded(version: PriceVersion, usage: TokenUsage, started_at: datetime, tier: str = "") -> int:
    """What a usage record costs at a version, worked out anew from what the record keeps."""
    return price_usage(usage, price_at(tariff_of(version), started_at), tier)


def complete_rates(given: Mapping[str, int | None]) -> Rates:
    """Rates with every class filled in; what is not priced by itself costs what it falls back to."""
    rates: dict[str, int] = {}
    for name in RATE_CLASSES:
        value = given.get(name)
        if value is None:
            value = rates[FALLS_BACK_TO[name]] if name in FALLS_BACK_TO else 0
        rates[name] = value
    return Rates(**rates)


@dataclass(frozen=True, slots=True)
class Standing:
    """The three prices of a model side by side."""

    retail: Tariff | None
    wholesale: Tariff | None
    cost: Tariff | None

    @property
    def tariffs(self) -> ModelTariffs | None:
        if self.retail is None:
            return None
        return ModelTariffs(retail=self.retail, cost=self.cost, wholesale=self.wholesale)


class PriceHistory:
    """Versions by owner, model and kind, oldest first, and what they come to for each key from `start` on."""

    def __init__(self, versions: Iterable[PriceVersion], house_id: int, start: datetime) -> None:
        self._house_id = house_id
        self._versions: dict[tuple[int, str, str], list[tuple[datetime, Tariff]]] = defaultdict(list)
        for version in versions:
            since = LONG_AGO if version.effective_from <= start else version.effective_from
            of = (version.reseller_id, version.model, version.kind)
            self._versions[of].append((since, tariff_of(version)))

    def keys(self) -> set[Key]:
        """Every reseller with versions of its own for a model, and one key for all who have none."""
        sold = {(reseller, model) for reseller, model, kind in self._versions if kind != PriceKind.COST}
        return {*sold, *((None, model) for reseller, model in sold if reseller == self._house_id)}

    def entries(self) -> dict[Key, Entry]:
        found = {key: self._entry(key) for key in self.keys()}
        return {key: entry for key, entry in found.items() if entry is not None}

    def standings(self, key: Key) -> list[tuple[datetime, Standing]]:
        """One after another; the first holds at `start` and is dated long ago."""
        reseller, model = key
        owners = {self._house_id, self._house_id if reseller is None else reseller}
        of_key = [self._versions.get((owner, model, kind), []) for owner in owners for kind in PriceKind]
        starts = {LONG_AGO, *(since for versions in of_key for since, _ in versions)}
        found: list[tuple[datetime, Standing]] = []
        for since in sorted(starts):
            standing = self._standing(key, since)
            if not found or found[-1][1] != standing:
                found.append((since, standing))
        return found

    def _entry(self, key: Key) -> Entry | None:
        plan = [Dated(since, standing.tariffs) for since, standing in self.standings(key)]
        tariffs = plan[0].tariffs
        is_plain = len(plan) == 1 and not (tariffs and _has_windows(tariffs))
        return tariffs if is_plain else Timeline(plan)

    def _standing(self, key: Key, moment: datetime) -> Standing:
        reseller, model = key
        is_house = reseller == self._house_id
        return Standing(
            retail=self._in_force(reseller, model, PriceKind.RETAIL, moment),
            wholesale=None if is_house else self._in_force(reseller, model, PriceKind.WHOLESALE, moment),
            cost=self._in_force(None, model, PriceKind.COST, moment),
        )

    def _in_force(self, reseller: int | None, model: str, kind: str, moment: datetime) -> Tariff | None:
        """The reseller's own version, else the house's."""
        for owner in (reseller, self._house_id):
            versions = self._versions.get((owner, model, kind), []) if owner is not None else []
            begun = [tariff for since, tariff in versions if since <= moment]
            if begun:
                return begun[-1]
        return None


def versions_since(start: datetime, models: Iterable[str] | None = None) -> list[PriceVersion]:
    """What was in force at `start`, and everything later, oldest first; `models` None means all."""
    chosen = PriceVersion.objects.all() if models is None else PriceVersion.objects.filter(model__in=models)
    in_force = (
        chosen.filter(effective_from__lte=start)
        .order_by("reseller_id", "model", "kind", "-effective_from")
        .distinct("reseller_id", "model", "kind")
    )
    return [*in_force, *chosen.filter(effective_from__gt=start).order_by("effective_from")]


def _resolved(tariffs: ModelTariffs, moment: datetime) -> ModelTariffs:
    return ModelTariffs(
        retail=price_at(tariffs.retail, moment),
        cost=tariffs.cost and price_at(tariffs.cost, moment),
        wholesale=tariffs.wholesale and price_at(tariffs.wholesale, moment),
    )


def _has_windows(tariffs: ModelTariffs) -> bool:
    return any(one and one.windows for one in (tariffs.retail, tariffs.cost, tariffs.wholesale))


def _window_of(window: Mapping[str, Any], base: Mapping[str, int | None]) -> Window:
    rates = {**base, **_named_again(window["rates"])}
    return Window(
        days=frozenset(DAYS.index(day) for day in window["days"]),
        from_minute=window["from_minute"],
        to_minute=window["to_minute"],
        rates=complete_rates(rates),
        bands=_bands_of(window.get("bands", ()), rates),
    )


def _tier_of(tier: Mapping[str, Any], base: Mapping[str, int | None]) -> Tier:
    rates = {**base, **_named_again(tier["rates"])}
    return Tier(name=tier["tier"], rates=complete_rates(rates), bands=_bands_of(tier.get("bands", ()), rates))


def _bands_of(bands: Iterable[Mapping[str, Any]], base: Mapping[str, int | None]) -> tuple[Band, ...]:
    return tuple(
        Band(band["over_prompt_tokens"], complete_rates({**base, **_named_again(band["rates"])}))
        for band in sorted(bands, key=lambda band: int(band["over_prompt_tokens"]))
    )


def _named_again(rates: Mapping[str, int]) -> dict[str, Any]:
    """Rates that replace others; a class that follows a repriced one must not keep the base's value."""
    cleared = dict.fromkeys((name for name in FALLS_BACK_TO if name not in rates), None)
    return {**cleared, **rates}
