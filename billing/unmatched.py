"""Money at Stripe that is nobody's here: it stands in suspense, and operators say whose it is."""

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.alerts import raise_alert, resolve_alert
from accounts.models import AlertSeverity
from billing.contracts import CURRENCY
from billing.fees import book_fee
from billing.ledger import Account, Owner, Posting, post
from billing.ledger.chart import credit, debit
from billing.models import (
    Adjustment,
    LedgerTransaction,
    PostingKind,
    UnmatchedPayment,
)
from billing.payment_facts import PaymentFacts
from common.errors import AppError
from common.money import minor_to_nano

ALERT = "unmatched_payment"


class PaymentSettled(AppError):
    """Somebody has settled this payment already; nothing was changed."""

    code = "payment_settled"
    http_status = 409


class ClaimRefused(AppError):
    """What is asked for is not what came, or cannot be told; nothing was changed."""

    code = "claim_refused"


@transaction.atomic
def put_in_suspense(facts: PaymentFacts, reason: str) -> UnmatchedPayment:
    """Once for each payment, with an alert. What its money is worth in our currency, and Stripe's fee, may be
    known later only: again, it posts what was missing.
    """
    row, is_new = UnmatchedPayment.objects.get_or_create(
        payment_intent_id=facts.payment_intent_id,
        defaults={
            "amount_minor": facts.amount,
            "currency": facts.currency,
            "reason": reason[:300],
        },
    )
    arrived = _arrived(facts)
    if arrived is not None and row.transaction_id is None:
        row.transaction = _post_suspense(facts, arrived)
        row.save(update_fields=["transaction"])
    if facts.balance is not None:
        book_fee(facts.balance, posting=row.transaction)
    if is_new:
        _tell(row, reason)
    return row


def _tell(row: UnmatchedPayment, reason: str) -> None:
    raise_alert(
        kind=ALERT,
        subject=row.payment_intent_id,
        message=f"{row.amount_minor} cents ({row.currency}) were paid and credited to nobody. {reason}",
        severity=AlertSeverity.CRITICAL,
    )


def settle_claim(adjustment: Adjustment) -> None:
    """What stood in suspense is that organization's credit now: the posting of `adjustment` says so."""
    row = find_unsettled(adjustment.reference, lock=True)
    _check_whole(row, adjustment.amount_nano + adjustment.tax_nano)
    row.settled_by = LedgerTransaction.objects.get(fact_key=f"adj:{adjustment.pk}")
    row.settled_at = timezone.now()
    row.save(update_fields=["settled_by", "settled_at"])
    resolve_alert(kind=ALERT, subject=row.payment_intent_id, actor=adjustment.requested_by)


def find_unsettled(payment_intent_id: str, *, lock: bool = False) -> UnmatchedPayment:
    """Raises PaymentSettled, ClaimRefused where nothing of it is in our books."""
    rows = UnmatchedPayment.objects.select_for_update() if lock else UnmatchedPayment.objects.all()
    row = rows.filter(payment_intent_id=payment_intent_id).first()
    if row is None or row.transaction_id is None:
        raise ClaimRefused(_("Nothing of this payment is in suspense."))
    if row.settled_at is not None:
        raise PaymentSettled(_("This payment is settled already."))
    return row


def in_suspense_nano(row: UnmatchedPayment) -> int:
    """What it brought, in nano-units; 0 where its worth is not known."""
    if row.transaction_id is None:
        return 0
    entries = row.transaction.entries.filter(account__code=Account.SUSPENSE)  # type: ignore[union-attr]
    return -sum(entries.values_list("amount", flat=True))


def _check_whole(row: UnmatchedPayment, amount_nano: int) -> None:
    """In one piece: what was left would stand in suspense with nobody to ask for it."""
    if amount_nano != in_suspense_nano(row):
        raise ClaimRefused(_("Credit and tax together are what was paid."), param="amount")


def _arrived(facts: PaymentFacts) -> int | None:
    """Cents in our currency, as Stripe's own book has them."""
    if facts.balance is not None and facts.balance.currency == CURRENCY:
        return facts.balance.amount
    return facts.amount if facts.currency == CURRENCY else None


def _post_suspense(facts: PaymentFacts, arrived: int) -> LedgerTransaction:
    amount = minor_to_nano(arrived)
    posted = post(
        Posting(
            fact_key=f"pi:{facts.payment_intent_id}:succeeded",
            kind=PostingKind.TOP_UP,
            entries=[
                debit(Account.STRIPE_CLEARING, Owner.OPERATOR, amount),
                credit(Account.SUSPENSE, Owner.OPERATOR, amount),
            ],
            effective_at=facts.paid_at,
            reason="Nobody's payment",
        )
    )
    return LedgerTransaction.objects.get(pk=posted.transaction_id)
