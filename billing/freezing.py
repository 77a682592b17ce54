"""Freezing a wallet: no new credit leaves it until an operator lifts that."""

from django.db import transaction

from accounts.models import Organization, User
from accounts.services import record_audit
from billing.models import Wallet, WalletStatus
from billing.operators import required_reason
from common.broadcast import announce_on_commit
from common.locking import lock_rows


@transaction.atomic
def freeze_wallet(
    *, organization: Organization, reason: str, actor: User | None = None, ip: str | None = None
) -> Wallet:
    """Calls are refused within a second, in every process. Freezing twice changes nothing.

    Raises ReasonMissing.
    """
    return _set_status(organization, WalletStatus.FROZEN, reason, actor, ip=ip)


@transaction.atomic
def unfreeze_wallet(
    *, organization: Organization, reason: str, actor: User | None = None, ip: str | None = None
) -> Wallet:
    """A wallet that owes stays blocked. One that is not frozen stays as it is. Raises ReasonMissing."""
    return _set_status(organization, None, reason, actor, ip=ip)


def _set_status(
    organization: Organization,
    status: WalletStatus | None,
    reason: str,
    actor: User | None,
    *,
    ip: str | None,
) -> Wallet:
    """`status` None lifts the freeze."""
    reason = required_reason(reason)
    [wallet] = lock_rows(Wallet.objects.all(), [organization.pk])
    before = wallet.status
    is_frozen = before == WalletStatus.FROZEN
    if is_frozen == (status == WalletStatus.FROZEN):
        return wallet
    wallet.status = status or (WalletStatus.BLOCKED if wallet.receivable else WalletStatus.ACTIVE)
    wallet.save(update_fields=["status"])
    record_audit(
        action="wallet.frozen" if status else "wallet.unfrozen",
        subject=wallet,
        actor=actor,
        organization=organization,
        before={"status": before},
        after={"status": wallet.status},
        reason=reason,
        ip=ip,
    )
    announce_on_commit("wallet", str(wallet.pk))
    return wallet
