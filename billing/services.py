"""What people and sweeps do with money. Locks first, checks second, writes third; one transaction each."""

from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models.functions import Now

from accounts.models import Organization, User
from accounts.services import record_audit
from billing.ledger import Account, Owner
from billing.lots import Arrival, bring_in
from billing.models import (
    Grant,
    GrantKind,
    Lease,
    LeaseState,
    LotKind,
    PostingKind,
    Wallet,
)
from common.errors import AppError
from common.locking import lock_rows

REAP_GRACE_S = 5


class GrantRefused(AppError):
    """The grant makes no sense as asked for; the wallet is unchanged."""

    code = "grant_refused"


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
    _bring_in(grant, campaign=campaign, expires_at=expires_at)
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


def _bring_in(grant: Grant, *, campaign: str, expires_at: datetime | None) -> None:
    bring_in(
        Arrival(
            organization_id=grant.organization_id,
            kind=LotKind.PROMOTIONAL,
            amount_nano=grant.amount_nano,
            fact_key=f"grant:{grant.pk}",
            posting_kind=PostingKind.GRANT,
            source=Account.GOODWILL if grant.kind == GrantKind.GOODWILL else Account.PROMOTIONS,
            source_owner=Owner.campaign(campaign or grant.kind),
            expires_at=expires_at,
            reason=grant.reason,
            actor=grant.granted_by,
        )
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
