"""The catalogue file: read by `relay.catalog`, put into rows of relay and billing in one transaction."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from django.db import transaction

from billing.models import PriceKind
from billing.price_shapes import Price
from billing.publishing import Publication, publish_prices
from relay.catalog.reader import DEFAULT_CATALOG, CatalogError, read_catalog
from relay.catalog.specs import BandSpec, Catalog, ModelSpec, RateCard
from relay.models import AppliedCatalog
from relay.services import apply_channels_and_models


def read_catalog_file(path: Path, variables: Mapping[str, str]) -> Catalog:
    """Raises CatalogError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(f"The catalogue {path} cannot be read: {error}") from error
    return read_catalog(text, variables)


def apply_catalog(catalog: Catalog, *, dry_run: bool = False) -> list[str]:
    """Make channels, models and prices what the file says; returns the differences, a line each.

    A changed price becomes a new price version. What the file does not name stays as it is. A dry run
    does all of it and takes it back. Raises PriceRefused, and then nothing has changed.
    """
    with transaction.atomic():
        changes = apply_channels_and_models(channels=catalog.channels, specs=catalog.models)
        changes += _publish_prices(catalog.models)
        if dry_run:
            transaction.set_rollback(True)
    return changes


def apply_installed_catalog(path: Path | None, variables: Mapping[str, str]) -> list[str]:
    """At a start: apply `path`, or the default catalogue, when it changed since the last time.

    So what operators edit by hand stays until they edit the file, or a credential or address that it takes
    from the environment changes.
    """
    catalog = read_catalog_file(path or DEFAULT_CATALOG, variables)
    fingerprint = _fingerprint(catalog)
    with transaction.atomic():
        applied = AppliedCatalog.objects.select_for_update().first()
        if applied is not None and applied.fingerprint == fingerprint:
            return []
        changes = apply_catalog(catalog)
        applied = applied or AppliedCatalog()
        applied.fingerprint = fingerprint
        applied.save()
    return changes


def _fingerprint(catalog: Catalog) -> str:
    """Of what the file came to, credentials included; a hash keeps them out of the row."""
    credentials = [channel.api_keys for channel in catalog.channels]
    return hashlib.sha256(repr((catalog, credentials)).encode()).hexdigest()


def _publish_prices(specs: Iterable[ModelSpec]) -> list[str]:
    """All at once: prices are judged by how they stand together in the end."""
    wanted = [publication for spec in specs for publication in _publications(spec)]
    return [
        f"+ {one.kind} price {one.model}"
        for one, version in zip(wanted, publish_prices(wanted), strict=True)
        if version is not None
    ]


def _publications(spec: ModelSpec) -> Iterator[Publication]:
    cards = {PriceKind.COST: spec.cost, PriceKind.WHOLESALE: spec.wholesale, PriceKind.RETAIL: spec.price}
    for kind, card in cards.items():
        if card is not None:
            yield Publication(spec.id, kind, _price(card), override_reason=card.override_reason)


def _price(card: RateCard) -> Price:
    return Price(
        rates=card.rates,
        bands=_bands(card.bands),
        windows=[
            {
                "days": list(window.days),
                "from_minute": window.from_minute,
                "to_minute": window.to_minute,
                "rates": dict(window.rates),
                "bands": _bands(window.bands),
            }
            for window in card.windows
        ],
        tiers=[
            {"tier": tier.name, "rates": dict(tier.rates), "bands": _bands(tier.bands)} for tier in card.tiers
        ],
    )


def _bands(bands: Iterable[BandSpec]) -> list[dict[str, Any]]:
    return [{"over_prompt_tokens": band.over_prompt_tokens, "rates": dict(band.rates)} for band in bands]
