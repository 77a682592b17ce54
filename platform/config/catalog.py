"""The catalogue file: read by `relay.catalog`, put into rows of relay and billing in one transaction."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from django.db import transaction

from billing.models import PriceKind
from billing.services import Price, publish_price
from relay.catalog.reader import DEFAULT_CATALOG, CatalogError, read_catalog
from relay.catalog.specs import Catalog, ModelSpec, RateCard
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
    does all of it and takes it back.
    """
    with transaction.atomic():
        changes = apply_channels_and_models(channels=catalog.channels, specs=catalog.models)
        for spec in catalog.models:
            changes += _publish_prices(spec)
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


def _publish_prices(spec: ModelSpec) -> list[str]:
    changes = []
    for kind, card in ((PriceKind.COST, spec.cost), (PriceKind.RETAIL, spec.price)):
        if card is not None and publish_price(model=spec.id, kind=kind, price=_price(card)):
            changes.append(f"+ {kind} price {spec.id}")
    return changes


def _price(card: RateCard) -> Price:
    return Price(
        rates=card.rates,
        bands=[
            {"over_prompt_tokens": band.over_prompt_tokens, "rates": dict(band.rates)} for band in card.bands
        ],
        windows=[
            {
                "days": list(window.days),
                "from_minute": window.from_minute,
                "to_minute": window.to_minute,
                "rates": dict(window.rates),
            }
            for window in card.windows
        ],
    )
