"""What people and sweeps do with money. Locks first, checks second, writes third; one transaction each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from accounts.models import Organization, Reseller, User
from accounts.services import ensure_house_reseller, record_audit
from billing.ledger import Account, Owner
from billing.lots import Arrival, bring_in
from billing.models import (
    RATE_CLASSES,
    Grant,
    GrantKind,
    Lease,
    LeaseState,
    LotKind,
    PostingKind,
    PriceVersion,
    Wallet,
)
from common.broadcast import announce_on_commit
from common.errors import AppError
from common.locking import lock_rows

REAP_GRACE_S = 5


class GrantRefused(AppError):
    """The grant makes no sense as asked for; the wallet is unchanged."""

    code = "grant_refused"


@dataclass(frozen=True)
class Price:
    """Rates to publish, in nano-units per 1,000,000 tokens by class name (see RATE_CLASSES)."""

    rates: Mapping[str, int]
    bands: Sequence[Mapping[str, Any]] = ()
    windows: Sequence[Mapping[str, Any]] = ()
    columns: Mapping[str, int | None] = field(init=False)

    def __post_init__(self) -> None:
        columns = {name: self.rates.get(name) for name in RATE_CLASSES}
        object.__setattr__(self, "columns", columns)


@transaction.atomic
def grant_credit(
    *,
    organization: Organization,
    amount_nano: int,
    reason: str,
    fact_key: str,
    kind: str = GrantKind.OPERATOR,
    campaign: str = "",
    expires_at: datetime | None = None,
    granted_by: User | None = None,
    ip: str | None = None,
) -> Grant:
    """Put promotional credit into a wallet, once per `fact_key`: again, it returns the first grant.

    Raises GrantRefused for an amount that is not positive, a missing reason, or a fact of somebody else,
    and CreditTooLarge.
    """
    if amount_nano <= 0:
        raise GrantRefused("a grant is more than nothing", param="amount")
    if not reason.strip():
        raise GrantRefused("a grant needs a reason", param="reason")
    [wallet] = lock_rows(Wallet.objects.all(), [organization.pk])
    existing = Grant.across_all_organizations.filter(fact_key=fact_key).first()
    if existing is not None:
        if existing.organization_id != organization.pk:
            raise GrantRefused("this was granted to another organization")
        return existing
    grant = Grant.across_all_organizations.create(
        organization=organization,
        amount_nano=amount_nano,
        kind=kind,
        fact_key=fact_key,
        reason=reason.strip(),
        granted_by=granted_by,
    )
    bring_in(
        Arrival(
            organization_id=organization.pk,
            kind=LotKind.PROMOTIONAL,
            amount_nano=amount_nano,
            fact_key=f"grant:{grant.pk}",
            posting_kind=PostingKind.GRANT,
            source=Account.GOODWILL if kind == GrantKind.GOODWILL else Account.PROMOTIONS,
            source_owner=Owner.campaign(campaign or kind),
            expires_at=expires_at,
            reason=grant.reason,
            actor=granted_by,
        )
    )
    before = wallet.posted
    wallet.refresh_from_db(fields=["posted"])
    record_audit(
        action="wallet.credit_granted",
        subject=grant,
        actor=granted_by,
        organization=organization,
        before={"posted_nano": before},
        after={"posted_nano": wallet.posted},
        reason=grant.reason,
        ip=ip,
    )
    return grant


@transaction.atomic
def publish_price(
    *,
    model: str,
    kind: str,
    price: Price,
    reseller: Reseller | None = None,
    effective_from: datetime | None = None,
    created_by: User | None = None,
) -> PriceVersion | None:
    """A new price version, or None when the one in force says the same already."""
    reseller = reseller or ensure_house_reseller()
    [reseller] = lock_rows(Reseller.objects.all(), [reseller.pk])
    moment = effective_from or timezone.now()
    current = (
        PriceVersion.objects.filter(reseller=reseller, model=model, kind=kind, effective_from__lte=moment)
        .order_by("-effective_from")
        .first()
    )
    if current is not None and _says(current, price):
        return None
    version = PriceVersion.objects.create(
        reseller=reseller,
        model=model,
        kind=kind,
        effective_from=moment,
        created_by=created_by,
        bands=list(price.bands),
        windows=list(price.windows),
        **price.columns,
    )
    announce_on_commit("catalog")
    return version


def _says(version: PriceVersion, price: Price) -> bool:
    return (
        all(getattr(version, name) == value for name, value in price.columns.items())
        and version.bands == list(price.bands)
        and version.windows == list(price.windows)
    )


def reap_expired_leases(*, grace_s: float = REAP_GRACE_S) -> int:
    """Give back what dead processes held. Each lease in a transaction of its own; returns how many ended.

    By the clock of the database, which set the deadlines: one that runs ahead here must not take credit
    from processes that are alive and spend it.
    """
    deadline = Now() - timedelta(seconds=grace_s)
    expired = Lease.objects.filter(state=LeaseState.OPEN, expires_at__lt=deadline)
    reaped = 0
    for wallet_id, holder in list(expired.values_list("wallet_id", "holder")):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT billing_end_lease(%s, %s, 'reaped', clock_timestamp() - make_interval(secs => %s))",
                [wallet_id, holder, grace_s],
            )
        reaped += 1
    return reaped
