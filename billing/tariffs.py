"""The price versions in force, as the money path reads them: from rows to frozen tariffs."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.utils import timezone

from accounts.models import Reseller
from billing.contracts import Band, ModelTariffs, Rates, Tariff
from billing.models import RATE_CLASSES, PriceKind, PriceVersion

FALLS_BACK_TO = {
    "cache_read": "input",
    "cache_write_5m": "input",
    "cache_write_1h": "cache_write_5m",
    "reasoning": "output",
    "audio_input": "input",
    "audio_output": "output",
    "image_input": "input",
}


class TariffBook:
    """Every tariff in force at `moment`. A reseller without a price of its own sells at the house's.

    Vendors charge the house, whoever sells: only its cost versions count.
    """

    def __init__(self, tariffs: Mapping[tuple[int, str], ModelTariffs], house_id: int | None) -> None:
        self._tariffs = tariffs
        self._house_id = house_id

    def find(self, reseller_id: int, model: str) -> ModelTariffs | None:
        found = self._tariffs.get((reseller_id, model))
        if found is None and self._house_id is not None:
            found = self._tariffs.get((self._house_id, model))
        return found


def load_tariff_book(moment: datetime | None = None) -> TariffBook:
    house = Reseller.objects.filter(is_house=True).first()
    house_id = house.pk if house else None
    versions = _versions_in_force(moment or timezone.now())
    costs = {
        version.model: version
        for version in versions
        if version.kind == PriceKind.COST and version.reseller_id == house_id
    }
    tariffs = {
        (version.reseller_id, version.model): ModelTariffs(
            retail=tariff_of(version),
            cost=tariff_of(costs[version.model]) if version.model in costs else None,
        )
        for version in versions
        if version.kind == PriceKind.RETAIL
    }
    return TariffBook(tariffs, house_id)


def tariff_of(version: PriceVersion) -> Tariff:
    base = {name: getattr(version, name) for name in RATE_CLASSES}
    return Tariff(
        version_id=version.pk,
        rates=complete_rates(base),
        bands=tuple(
            Band(band["over_prompt_tokens"], complete_rates({**base, **_banded(band["rates"])}))
            for band in sorted(version.bands, key=lambda band: int(band["over_prompt_tokens"]))
        ),
    )


def complete_rates(given: Mapping[str, int | None]) -> Rates:
    """Rates with every class filled in; what is not priced by itself costs what it falls back to."""
    rates: dict[str, int] = {}
    for name in RATE_CLASSES:
        value = given.get(name)
        if value is None:
            value = rates[FALLS_BACK_TO[name]] if name in FALLS_BACK_TO else 0
        rates[name] = value
    return Rates(**rates)


def _banded(rates: Mapping[str, int]) -> dict[str, Any]:
    """A band's rates; a class that follows a repriced one must not keep the base's value."""
    cleared = dict.fromkeys((name for name in FALLS_BACK_TO if name not in rates), None)
    return {**cleared, **rates}


def _versions_in_force(moment: datetime) -> list[PriceVersion]:
    return list(
        PriceVersion.objects.filter(effective_from__lte=moment)
        .order_by("reseller_id", "model", "kind", "-effective_from")
        .distinct("reseller_id", "model", "kind")
    )
