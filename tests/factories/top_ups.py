"""Top-ups as they stand in the database, without anybody having asked Stripe."""

from typing import Any
from uuid import uuid4

from django.utils import timezone

from billing.ledger import Account, Owner, Posting, post
from billing.ledger.chart import credit, debit
from billing.lots import Arrival, bring_in
from billing.models import LedgerTransaction, LotKind, PostingKind, TopUp
from tests.factories.money import Payer

NANO_PER_CENT = 10**7


def attempt(payer: Payer, amount_minor: int = 20_00, **values: Any) -> TopUp:
    facts = {
        "organization": payer.organization,
        "origin": "checkout",
        "attempt_key": uuid4().hex,
        "amount_minor": amount_minor,
        **values,
    }
    top_up: TopUp = TopUp.across_all_organizations.create(**facts)
    return top_up


def paid_top_up(payer: Payer, amount_minor: int = 20_00, **values: Any) -> TopUp:
    """Booked: with `held_until` into what is held, otherwise as credit."""
    fact_key = f"pi:{uuid4().hex}:succeeded"
    lot = None
    if values.get("held_until"):
        nano = amount_minor * NANO_PER_CENT
        owner = Owner.organization(payer.organization.pk)
        entries = [
            debit(Account.STRIPE_CLEARING, Owner.OPERATOR, nano),
            credit(Account.HELD_CREDIT, owner, nano),
        ]
        post(Posting(fact_key=fact_key, kind=PostingKind.TOP_UP, entries=entries, reason="test"))
    else:
        lot = bring_in(
            Arrival(
                organization_id=payer.organization.pk,
                kind=LotKind.PAID,
                amount_nano=amount_minor * NANO_PER_CENT,
                fact_key=fact_key,
                posting_kind=PostingKind.TOP_UP,
                source=Account.STRIPE_CLEARING,
                source_owner=Owner.OPERATOR,
            )
        )
    posting = LedgerTransaction.objects.get(fact_key=fact_key)
    paid = {"state": "paid", "paid_at": timezone.now(), "transaction": posting, "lot": lot}
    return attempt(payer, amount_minor, **{**paid, **values})
