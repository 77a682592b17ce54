"""Freezing a wallet: no new credit leaves it until every cause that froze it is lifted.

Each cause has a row of its own (`WalletFreeze`): what a dispute froze, its end lifts, and nothing else.
"""

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts.models import Organization, User
from accounts.services import record_audit
from billing.models import FreezeCause, Wallet, WalletFreeze, WalletStatus
from billing.operators import required_reason
from common.broadcast import announce_on_commit
from common.locking import lock_rows


@transaction.atomic
def freeze_wallet(
    *,
    organization: Organization,
    reason: str,
    cause: FreezeCause = FreezeCause.OPERATOR,
    subject: str = "",
    actor: User | None = None,
    ip: str | None = None,
) -> Wallet:
    """Calls are refused within a second, in every process. Twice for one cause and subject changes nothing.

    Raises ReasonMissing.
    """
    reason = required_reason(reason)
    [wallet] = lock_rows(Wallet.objects.all(), [organization.pk])
    _row, is_new = WalletFreeze.across_all_organizations.get_or_create(
        organization=organization,
        cause=cause,
        subject=subject,
        lifted_at=None,
        defaults={"reason": reason[:500]},
    )
    if is_new or wallet.status != WalletStatus.FROZEN:
        _set_status(wallet, WalletStatus.FROZEN, reason, actor, ip=ip)
    return wallet


@transaction.atomic
def unfreeze_wallet(
    *, organization: Organization, reason: str, actor: User | None = None, ip: str | None = None
) -> Wallet:
    """An operator lifts every cause. A wallet that owes stays blocked; one that is not frozen stays as it is.

    Raises ReasonMissing.
    """
    reason = required_reason(reason)
    [wallet] = lock_rows(Wallet.objects.all(), [organization.pk])
    freezes_of(organization).update(lifted_at=timezone.now())
    if wallet.status == WalletStatus.FROZEN:
        _set_status(wallet, _thawed(wallet), reason, actor, ip=ip)
    return wallet


@transaction.atomic
def lift_freeze(*, organization: Organization, cause: FreezeCause, subject: str, reason: str) -> Wallet:
    """Its own freeze only: the wallet is open again where it was the last one, and frozen on otherwise."""
    [wallet] = lock_rows(Wallet.objects.all(), [organization.pk])
    freezes = freezes_of(organization)
    is_lifted = freezes.filter(cause=cause, subject=subject).update(lifted_at=timezone.now())
    if is_lifted and wallet.status == WalletStatus.FROZEN and not freezes.exists():
        _set_status(wallet, _thawed(wallet), reason, None, ip=None)
    return wallet


def freezes_of(organization: Organization) -> QuerySet[WalletFreeze]:
    """What keeps its wallet frozen now, the oldest first."""
    rows = WalletFreeze.across_all_organizations.filter(organization=organization, lifted_at=None)
    return rows.order_by("pk")


def _thawed(wallet: Wallet) -> WalletStatus:
    return WalletStatus.BLOCKED if wallet.receivable else WalletStatus.ACTIVE


def _set_status(
    wallet: Wallet, status: WalletStatus, reason: str, actor: User | None, *, ip: str | None
) -> None:
    before = wallet.status
    wallet.status = status
    wallet.save(update_fields=["status"])
    record_audit(
        action="wallet.frozen" if status == WalletStatus.FROZEN else "wallet.unfrozen",
        subject=wallet,
        actor=actor,
        organization=wallet.organization,
        before={"status": before},
        after={"status": wallet.status},
        reason=reason,
        ip=ip,
    )
    announce_on_commit("wallet", str(wallet.pk))
