"""What Stripe keeps of a payment, from its own book: one posting for each line of it that costs something."""

from accounts.alerts import raise_alert
from billing.contracts import CURRENCY
from billing.ledger import Account, Owner, Posting, post
from billing.ledger.chart import credit, debit
from billing.models import BalanceTransaction, LedgerTransaction, PostingKind
from billing.payment_facts import BalanceFacts
from common.money import minor_to_nano


def book_fee(line: BalanceFacts, *, posting: LedgerTransaction | None) -> None:
    """Keep the line, and post its fee once. `posting` is what booked its amount, where that is known.

    Call it in a transaction. A fee in another currency than ours is told to operators and not posted.
    """
    row, _is_new = BalanceTransaction.objects.get_or_create(
        balance_transaction_id=line.transaction_id,
        defaults={
            "type": line.type,
            "source_id": line.source_id,
            "currency": line.currency,
            "amount_minor": line.amount,
            "fee_minor": line.fee,
            "net_minor": line.amount - line.fee,
            "happened_at": line.happened_at,
        },
    )
    if posting is not None and row.transaction_id is None:
        row.transaction = posting
        row.save(update_fields=["transaction"])
    if line.currency != CURRENCY:
        _tell_of_currency(line)
    elif line.fee:
        post(_posting(line))


def _posting(line: BalanceFacts) -> Posting:
    fee = minor_to_nano(line.fee)
    return Posting(
        fact_key=f"bt:{line.transaction_id}:fee",
        kind=PostingKind.FEE,
        entries=[
            debit(Account.STRIPE_FEES, Owner.OPERATOR, fee),
            credit(Account.STRIPE_CLEARING, Owner.OPERATOR, fee),
        ],
        effective_at=line.happened_at,
    )


def _tell_of_currency(line: BalanceFacts) -> None:
    raise_alert(
        kind="stripe_other_currency",
        subject=line.currency,
        message=f"Stripe keeps {line.transaction_id} in {line.currency}; the books are in {CURRENCY}. "
        "Let Stripe settle payments in that currency.",
    )
