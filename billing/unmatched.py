"""Money at Stripe that is nobody's here: it stands in suspense, and operators say whose it is.

Once one has, it is a paid top-up of that organization like any other: what goes back of it takes that credit.
"""

from django.db import transaction
from django.db.models import QuerySet, Sum
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
    AdjustmentKind,
    LedgerEntry,
    LedgerTransaction,
    Lot,
    PostingKind,
    TopUp,
    TopUpOrigin,
    TopUpState,
    UnmatchedPayment,
)
from billing.payment_facts import PaymentFacts
from billing.stripe.client import is_test_mode
from common.errors import AppError
from common.money import NANO_PER_MINOR, minor_to_nano, nano_to_minor

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


def settle_claim(adjustment: Adjustment) -> TopUp | None:
    """What stood in suspense is that organization's credit now: the posting of `adjustment` says so.

    None where it was paid in another currency: what goes back of that is told in it, and operators are asked.
    """
    row = find_unsettled(adjustment.reference, lock=True)
    _check_whole(row, adjustment)
    posting = LedgerTransaction.objects.get(fact_key=f"adj:{adjustment.pk}")
    row.settled_by = posting
    row.settled_at = timezone.now()
    row.save(update_fields=["settled_by", "settled_at"])
    resolve_alert(kind=ALERT, subject=row.payment_intent_id, actor=adjustment.requested_by)
    return _make_top_up(row, adjustment, posting) if row.currency == CURRENCY else None


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
    """What is left of it there, in nano-units; 0 where its worth is not known."""
    if row.transaction_id is None:
        return 0
    claims = Adjustment.across_all_organizations.filter(
        kind=AdjustmentKind.CLAIM, reference=row.payment_intent_id, transaction__isnull=False
    )
    ids = [
        row.transaction_id,
        *moves_of(row).values_list("pk", flat=True),
        *claims.values_list("transaction", flat=True),
    ]
    entries = LedgerEntry.objects.filter(transaction__in=ids, account__code=Account.SUSPENSE)
    return -int(entries.aggregate(sum=Sum("amount", default=0))["sum"])


def moves_of(row: UnmatchedPayment) -> QuerySet[LedgerTransaction]:
    """What went back of it, and came again, while it stood in suspense (`billing.unmatched_refunds`)."""
    key = move_key(row.payment_intent_id, "")
    return LedgerTransaction.objects.filter(kind=PostingKind.REFUND, fact_key__startswith=key)


def move_key(payment_intent_id: str, rest: str) -> str:
    return f"unmatched:{payment_intent_id}:{rest}"


def _check_whole(row: UnmatchedPayment, adjustment: Adjustment) -> None:
    """In one piece: what was left would stand in suspense with nobody to ask for it."""
    if adjustment.amount_nano + adjustment.tax_nano != in_suspense_nano(row):
        raise ClaimRefused(_("Credit and tax together are what was paid."), param="amount")
    if adjustment.tax_nano % NANO_PER_MINOR:
        raise ClaimRefused(_("Tax is whole cents."), param="tax")


def _make_top_up(row: UnmatchedPayment, adjustment: Adjustment, posting: LedgerTransaction) -> TopUp:
    """The attempt that asked for this payment, where one did, has ended: the payment was another one than it
    wanted, and has a row of its own now."""
    others = TopUp.across_all_organizations.filter(payment_intent_id=row.payment_intent_id)
    for other in others.select_for_update():
        _part(other)
    made: TopUp = TopUp.across_all_organizations.create(
        organization_id=adjustment.organization_id,
        origin=TopUpOrigin.CLAIM,
        state=TopUpState.PAID,
        attempt_key=f"claim-{adjustment.pk}",
        amount_minor=nano_to_minor(adjustment.amount_nano),
        tax_minor=nano_to_minor(adjustment.tax_nano),
        livemode=not is_test_mode(),
        payment_intent_id=row.payment_intent_id,
        paid_at=row.transaction.effective_at if row.transaction else timezone.now(),
        ended_at=timezone.now(),
        transaction=posting,
        lot=Lot.across_all_organizations.filter(origin=posting).first(),
    )
    return made


def _part(top_up: TopUp) -> None:
    top_up.payment_intent_id = None
    if not top_up.has_ended:
        top_up.state, top_up.failure_code, top_up.ended_at = TopUpState.FAILED, "claimed", timezone.now()
    top_up.save(update_fields=["payment_intent_id", "state", "failure_code", "ended_at"])


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
