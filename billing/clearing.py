"""What moves on our account at Stripe beside payments: fees, payouts to the bank."""

from django.db import transaction

from billing.facts import MoneyMoved, PayoutFacts
from billing.ledger import Posting, post
from billing.ledger import templates as ledger_templates
from billing.models import PostingKind
from common.money import minor_to_nano


def book_fee(moved: MoneyMoved) -> None:
    """What Stripe kept for moving it, once per line of its book; some lines have none, some give it back."""
    if moved.fee:
        post(
            Posting(
                fact_key=f"bt:{moved.transaction_id}:fee",
                kind=PostingKind.FEE,
                entries=ledger_templates.stripe_fee(amount=minor_to_nano(moved.fee)),
                effective_at=moved.happened_at,
            )
        )


@transaction.atomic
def book_payout(facts: PayoutFacts) -> None:
    """Money that left for the bank, and money that came back because the bank refused it; each once."""
    lines = ((f"po:{facts.payout_id}", facts.moved), (f"po:{facts.payout_id}:returned", facts.returned))
    for key, moved in lines:
        if moved is not None:
            entries = ledger_templates.payout(amount=minor_to_nano(-moved.amount))
            post(
                Posting(
                    fact_key=key, kind=PostingKind.PAYOUT, entries=entries, effective_at=moved.happened_at
                )
            )
            book_fee(moved)
