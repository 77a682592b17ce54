"""What moves on our account at Stripe beside payments. Each line of its book is kept with what booked it."""

from django.db import transaction

from billing.contracts import CURRENCY
from billing.facts import PayoutFacts
from billing.fees import book_fee
from billing.ledger import Posting, post
from billing.ledger import templates as ledger_templates
from billing.models import BalanceTransaction, LedgerTransaction, PostingKind
from billing.payment_facts import BalanceFacts
from common.money import minor_to_nano


def book_line(line: BalanceFacts, fact_key: str) -> None:
    """The line was booked as this fact; what Stripe kept for it is a cost of ours."""
    book_fee(line, posting=LedgerTransaction.objects.get(fact_key=fact_key))


def keep_line(line: BalanceFacts, fact_key: str) -> None:
    """The line was booked as this fact, its fee in the same posting."""
    BalanceTransaction.objects.get_or_create(
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
    rows = BalanceTransaction.objects.filter(balance_transaction_id=line.transaction_id, transaction=None)
    rows.update(transaction=LedgerTransaction.objects.get(fact_key=fact_key))


@transaction.atomic
def book_payout(facts: PayoutFacts) -> None:
    """Money that left for the bank, and money that came back because the bank refused it; each once.

    Money in another currency than ours never was in the books.
    """
    lines = ((f"po:{facts.payout_id}", facts.moved), (f"po:{facts.payout_id}:returned", facts.returned))
    for key, line in lines:
        if line is not None and line.currency == CURRENCY:
            entries = ledger_templates.payout(amount=minor_to_nano(-line.amount))
            post(
                Posting(fact_key=key, kind=PostingKind.PAYOUT, entries=entries, effective_at=line.happened_at)
            )
            book_line(line, key)
