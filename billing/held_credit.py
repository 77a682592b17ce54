"""Credit of card payments that nobody may spend now; what is left of a payment; credit that comes back.

A large first top-up waits on the held account until it is unlocked; a dispute moves what is left of a top-up
there, or keeps what waits there already.
"""

from collections.abc import Callable

from django.db.models import QuerySet, Sum

from billing.giving_back import give_back, lock_lots_named
from billing.ledger import Posting
from billing.models import Dispute, DisputeOutcome, Refund, RefundState, TopUp, Wallet
from billing.shares import Paid
from common.money import NANO_PER_MINOR, minor_to_nano


def held_left(top_up: TopUp) -> int:
    """Of a top-up that is held: the nano-units that unlocking it would bring, under the wallet's lock.

    Refunds took some of it, and what a dispute holds or took is not free to go.
    """
    refunded = going_back(top_up).filter(from_held=True).aggregate(sum=Sum("amount_nano", default=0))
    disputed = Dispute.across_all_organizations.filter(top_up=top_up, from_held=True)
    kept = disputed.aggregate(held=Sum("held_nano", default=0), taken=Sum("taken_nano", default=0))
    return minor_to_nano(top_up.amount_minor) - int(refunded["sum"]) - int(kept["held"]) - int(kept["taken"])


def is_disputed(top_up: TopUp) -> bool:
    """Money was withdrawn and nobody has decided yet."""
    open_ones = Dispute.across_all_organizations.filter(top_up=top_up, outcome=DisputeOutcome.OPEN)
    return bool(open_ones.filter(withdrawn_minor__gt=0).exists())


def going_back(top_up: TopUp) -> QuerySet[Refund]:
    """Refunds that took their money or are about to."""
    return Refund.across_all_organizations.filter(top_up=top_up).exclude(state=RefundState.FAILED)


def paid_of(top_up: TopUp) -> Paid:
    """The payment and what of it has gone back, in cents. Disputes count once they are lost."""
    refunds = going_back(top_up).aggregate(
        credit=Sum("amount_nano", default=0), tax=Sum("tax_nano", default=0)
    )
    lost = Dispute.across_all_organizations.filter(top_up=top_up, outcome=DisputeOutcome.LOST).aggregate(
        taken=Sum("taken_nano", default=0), owed=Sum("owed_nano", default=0), tax=Sum("tax_nano", default=0)
    )
    return Paid(
        credit=top_up.amount_minor,
        tax=top_up.tax_minor,
        gone_credit=int(refunds["credit"] + lost["taken"] + lost["owed"]) // NANO_PER_MINOR,
        gone_tax=int(refunds["tax"] + lost["tax"]) // NANO_PER_MINOR,
    )


def return_credit(wallet: Wallet, lot_id: int | None, amount: int, posting: Callable[[int], Posting]) -> None:
    """Paid credit comes back under the wallet's lock: `posting(clears)`, once.

    It first pays what is owed by now. The lot gets the rest as far as it has room; more than that, or where
    there is no lot, opens a new one.
    """
    lot = lock_lots_named([lot_id]).get(lot_id) if lot_id is not None else None
    clears = min(amount, wallet.receivable)
    room = lot.original - lot.remaining if lot is not None else 0
    to_lot = min(amount - clears, room)
    by_lot = {lot.pk: to_lot} if lot is not None and to_lot else {}
    give_back(wallet, by_lot, posting=posting(clears), clears=clears, surplus=amount - clears - to_lot)
