"""A large first payment becomes credit: when its time is over, or when an operator says so."""

import structlog
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from accounts.services import record_audit
from billing.campaigns import on_top_up_paid
from billing.held_credit import held_left, is_disputed
from billing.ledger import Account, Owner
from billing.lots import Arrival, bring_in
from billing.models import LotKind, PostingKind, TopUp, Wallet
from common.broadcast import announce_on_commit
from common.errors import AppError
from common.locking import RowsBusy, lock_rows

log = structlog.get_logger(__name__)


class UnlockRefused(AppError):
    """Its payer disputes it: the credit waits for the bank's decision. Nothing was changed."""

    code = "unlock_refused"
    http_status = 409


@transaction.atomic
def unlock_top_up(top_up: TopUp, actor: User | None = None, *, ip: str | None = None) -> TopUp:
    """Held credit can be spent from now on, less what went back meanwhile; again, it changes nothing.

    `actor` None: its time is over. Raises UnlockRefused, RowsBusy.
    """
    [_wallet] = lock_rows(Wallet.objects.all(), [top_up.organization_id])
    [locked] = lock_rows(TopUp.across_all_organizations.select_related("organization"), [top_up.pk])
    if not locked.is_held:
        return locked
    if is_disputed(locked):
        raise UnlockRefused(_("The payment is disputed; its credit stays held."))
    left = held_left(locked)
    if left > 0:
        locked.lot = bring_in(_arrival(locked, left, actor))
    locked.unlocked_at = timezone.now()
    locked.save(update_fields=["lot", "unlocked_at"])
    record_audit(
        action="top_up.unlocked",
        subject=locked,
        actor=actor,
        organization=locked.organization,
        after={"amount_nano": left},
        ip=ip,
    )
    announce_on_commit("wallet", str(locked.organization_id))
    on_top_up_paid(locked)
    return locked


def unlock_held_top_ups() -> int:
    """Each in a transaction of its own; returns how many were unlocked."""
    due = TopUp.across_all_organizations.filter(held_until__lte=timezone.now(), unlocked_at=None)
    return sum(_unlock_unless_busy(top_up) for top_up in due.order_by("held_until")[:500])


def _unlock_unless_busy(top_up: TopUp) -> bool:
    try:
        return not unlock_top_up(top_up).is_held
    except (RowsBusy, UnlockRefused) as error:
        log.info("unlocking_put_off", top_up=str(top_up.pk), why=error.code)
        return False


def _arrival(top_up: TopUp, amount_nano: int, actor: User | None) -> Arrival:
    return Arrival(
        organization_id=top_up.organization_id,
        kind=LotKind.PAID,
        amount_nano=amount_nano,
        fact_key=f"topup:{top_up.pk}:unlocked",
        posting_kind=PostingKind.TOP_UP,
        source=Account.HELD_CREDIT,
        source_owner=Owner.organization(top_up.organization_id),
        actor=actor,
    )
