"""Credit that has run out: each lot in a transaction of its own, as far as nobody has spent it."""

import structlog
from django.db import transaction
from django.db.models.functions import Now

from billing.ledger import Posting
from billing.ledger import templates as ledger_templates
from billing.lots import lock_credit, take_out
from billing.models import Lot, LotEntry, PostingKind
from common.locking import RowsBusy

EXPIRE_AT_ONCE = 5_000

log = structlog.get_logger(__name__)


def expire_lots(*, at_once: int = EXPIRE_AT_ONCE) -> int:
    """Take expired credit out of lots; returns how many lots this call took from.

    What charges have used but lots do not show yet, and what leases hold, stays: the charges take it, and
    what comes back is taken by the next sweep.
    """
    due = (
        Lot.across_all_organizations.filter(expires_at__lte=Now(), remaining__gt=0)
        .order_by("expires_at", "pk")
        .values_list("organization_id", "pk")[:at_once]
    )
    return sum(_expire_unless_busy(organization_id, lot_id) > 0 for organization_id, lot_id in list(due))


def _expire_unless_busy(organization_id: int, lot_id: int) -> int:
    try:
        return expire_lot(organization_id=organization_id, lot_id=lot_id)
    except RowsBusy:
        log.warning("expiry_put_off", lot=lot_id)
        return 0


@transaction.atomic
def expire_lot(*, organization_id: int, lot_id: int) -> int:
    """Returns the nano-units taken. The number in the fact key is how often the lot has expired in part."""
    credit = lock_credit(organization_id)
    amount = credit.unspent(lot_id)
    lot = Lot.across_all_organizations.filter(pk=lot_id, expires_at__lte=Now()).first()
    if lot is None or amount <= 0:
        return 0
    times = LotEntry.objects.filter(lot_id=lot_id, transaction__kind=PostingKind.EXPIRY).count()
    posting = Posting(
        fact_key=f"expire:{lot_id}:{times + 1}",
        kind=PostingKind.EXPIRY,
        entries=ledger_templates.expiry(organization_id=organization_id, kind=lot.kind, amount=amount),
        effective_at=lot.expires_at,
    )
    take_out(credit, {lot_id: amount}, posting=posting)
    return amount
