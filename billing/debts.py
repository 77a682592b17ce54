"""A wallet that owes and has credit again pays by itself.

Both can come together: a charge went beyond its lease while other leases held the rest, and they came back.
Without this the customer would be blocked over a debt it could pay.
"""

import structlog
from django.db import transaction
from django.db.models import F

from billing.ledger import Account, Owner, Posting
from billing.ledger.chart import credit, debit
from billing.ledger.templates import CREDIT_ACCOUNTS
from billing.lots import lock_credit, receive, take_out
from billing.models import PostingKind, Wallet, WalletStatus
from billing.spending import take_in_order
from common.ids import uuid7
from common.locking import RowsBusy

# Fact keys begin with it: credit that paid a debt is spent, unlike what operators take.
COLLECTED = "collect:"

log = structlog.get_logger(__name__)


def collect_debts() -> int:
    """Each wallet in a transaction of its own; returns how many paid something."""
    owing = Wallet.objects.filter(receivable__gt=0, posted__gt=F("pending"))
    ids = owing.exclude(status=WalletStatus.FROZEN).order_by("pk").values_list("pk", flat=True)
    return sum(_collect_unless_busy(organization_id) > 0 for organization_id in list(ids))


def _collect_unless_busy(organization_id: int) -> int:
    try:
        return collect_debt(organization_id=organization_id)
    except RowsBusy:
        log.warning("debt_put_off", organization=organization_id)
        return 0


@transaction.atomic
def collect_debt(*, organization_id: int) -> int:
    """Returns the nano-units paid. Twice is once: the debt is gone then."""
    held = lock_credit(organization_id)
    wallet = held.wallet
    amount = min(wallet.receivable, wallet.available)
    if amount <= 0 or wallet.status == WalletStatus.FROZEN:
        return 0
    takes, missing = take_in_order(held.lots, amount)
    amount -= missing
    owner = Owner.organization(organization_id)
    entries = [debit(CREDIT_ACCOUNTS[lot.kind], owner, taken) for lot, taken in takes]
    posting = Posting(
        fact_key=f"{COLLECTED}{organization_id}:{uuid7()}",
        kind=PostingKind.ADJUSTMENT,
        entries=[*entries, credit(Account.RECEIVABLE, owner, amount)],
        reason="Credit pays what is owed",
    )
    if amount:
        take_out(held, {lot.lot_id: taken for lot, taken in takes}, posting=posting)
        receive(wallet, amount, amount)
    return amount
