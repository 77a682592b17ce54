"""How prices come into force: immutable versions from a moment on, all of a set or none of it."""

from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.alerts import raise_alert
from accounts.models import Reseller, User
from accounts.services import ensure_house_reseller, record_audit
from billing.models import RATE_CLASSES, PriceKind, PriceVersion
from billing.price_rules import PriceOverlap, PriceRetroactive, check_prices
from billing.price_shapes import Price
from billing.tariffs import versions_since
from common.broadcast import announce_on_commit
from common.locking import LOCK_TIMEOUT_MS, bounded_waits

# Whoever asks for "now" says so a moment before the price is published.
NOW_SLACK = timedelta(minutes=1)


@dataclass(frozen=True)
class Publication:
    """One version to publish. `reseller` None is the house, `effective_from` None is now.

    `override_reason` allows a price below cost.
    """

    model: str
    kind: str
    price: Price
    reseller: Reseller | None = None
    effective_from: datetime | None = None
    override_reason: str = ""


def publish_price(
    *,
    model: str,
    kind: str,
    price: Price,
    reseller: Reseller | None = None,
    effective_from: datetime | None = None,
    override_reason: str = "",
    created_by: User | None = None,
    ip: str | None = None,
) -> PriceVersion | None:
    """A new price version, or None when the one in force then says the same. Raises PriceRefused."""
    wanted = Publication(model, kind, price, reseller, effective_from, override_reason)
    [version] = publish_prices([wanted], created_by=created_by, ip=ip)
    return version


@transaction.atomic
def publish_prices(
    publications: Sequence[Publication], *, created_by: User | None = None, ip: str | None = None
) -> list[PriceVersion | None]:
    """All of them or none: what counts is how they stand together in the end, in whatever order they come.

    Returns a version for each, None where the one in force at that moment says the same. Raises
    PriceRefused.
    """
    house = _lock_resellers(one.reseller for one in publications)
    now = timezone.now()
    wanted = [_version_of(one, house, now, created_by) for one in publications]
    versions = _without_repeats(wanted, now)
    made = [version for version in versions if version is not None]
    if made:
        PriceVersion.objects.bulk_create(made)
        dear_costs = check_prices(made, house.pk)
        _audit_overrides(made, created_by, ip)
        announce_on_commit("catalog")
        for dear in dear_costs:
            raise_alert(kind="cost_above_price", subject=dear.subject, message=dear.message)
    return versions


def _lock_resellers(resellers: Iterable[Reseller | None]) -> Reseller:
    """The house, whose cost and wholesale prices bear on everybody's, and the others named.

    Not the whole row: organizations that come to refer to a reseller meanwhile need not wait.
    """
    house = ensure_house_reseller()
    ids = {house.pk, *(reseller.pk for reseller in resellers if reseller is not None)}
    with bounded_waits(LOCK_TIMEOUT_MS):
        list(Reseller.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("pk"))
    return house


def _version_of(one: Publication, house: Reseller, now: datetime, created_by: User | None) -> PriceVersion:
    """Unsaved. Raises PriceRetroactive."""
    moment = one.effective_from or now
    if moment < now - NOW_SLACK:
        raise PriceRetroactive(
            _("%(model)s: a price cannot begin in the past (%(moment)s); requests keep the price they had.")
            % {"model": one.model, "moment": _written(moment)},
            param="effective_from",
        )
    return PriceVersion(
        reseller=one.reseller or house,
        model=one.model,
        kind=one.kind,
        effective_from=max(moment, now),
        override_reason=one.override_reason.strip(),
        created_by=created_by,
        **one.price.columns,
    )


def _without_repeats(wanted: Sequence[PriceVersion], now: datetime) -> list[PriceVersion | None]:
    """In the order asked for, None for what says nothing new. Raises PriceOverlap."""
    known: dict[tuple[int, str, str], list[PriceVersion]] = {}
    for version in versions_since(now, {version.model for version in wanted}):
        known.setdefault(_line_of(version), []).append(version)
    kept: dict[int, PriceVersion | None] = {}
    for index, version in sorted(enumerate(wanted), key=lambda item: item[1].effective_from):
        kept[index] = _put_in_line(known.setdefault(_line_of(version), []), version)
    return [kept[index] for index in range(len(wanted))]


def _line_of(version: PriceVersion) -> tuple[int, str, str]:
    return version.reseller_id, version.model, version.kind


def _put_in_line(line: list[PriceVersion], wanted: PriceVersion) -> PriceVersion | None:
    """Put `wanted` where it belongs; None when what is in force there says the same."""
    begun = [version for version in line if version.effective_from <= wanted.effective_from]
    current = begun[-1] if begun else None
    if current is not None and _says_the_same(current, wanted):
        return None
    if current is not None and current.effective_from == wanted.effective_from:
        raise PriceOverlap(
            _("%(model)s: there is another %(kind)s price from %(moment)s on already.")
            % {
                "model": wanted.model,
                "kind": PriceKind(wanted.kind).label,
                "moment": _written(wanted.effective_from),
            },
            param="effective_from",
        )
    insort(line, wanted, key=lambda version: version.effective_from)
    return wanted


def _says_the_same(one: PriceVersion, other: PriceVersion) -> bool:
    names = (*RATE_CLASSES, "bands", "windows", "tiers")
    return all(getattr(one, name) == getattr(other, name) for name in names)


def _written(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _audit_overrides(made: Iterable[PriceVersion], actor: User | None, ip: str | None) -> None:
    for version in made:
        if version.override_reason:
            record_audit(
                action="price_version.override",
                subject=version,
                actor=actor,
                after={
                    "model": version.model,
                    "kind": version.kind,
                    "input": version.input,
                    "output": version.output,
                },
                reason=version.override_reason,
                ip=ip,
            )
