"""A card payment becomes credit: once, whoever tells of it, in whatever order, and however often."""

import structlog
from django.db import transaction
from django.utils import timezone

from billing.campaigns import on_top_up_paid
from billing.fees import book_fee
from billing.ledger import Account, Owner, Posting, post
from billing.ledger.chart import credit, debit
from billing.lots import Arrival, bring_in
from billing.models import (
    FormerStripeCustomer,
    LedgerTransaction,
    Lot,
    LotKind,
    PostingKind,
    StripeCustomer,
    TopUp,
    TopUpOrigin,
    TopUpState,
    UnmatchedPayment,
    Wallet,
)
from billing.payment_facts import PaymentFacts
from billing.saved_cards import keep_card
from billing.terms import hold_for
from billing.unmatched import put_in_suspense
from common.broadcast import announce_on_commit
from common.locking import lock_rows
from common.money import minor_to_nano

log = structlog.get_logger(__name__)


@transaction.atomic
def book_payment(facts: PaymentFacts) -> TopUp | None:
    """Credit what was paid, and the fee Stripe took for it; again, it changes nothing.

    Money that contradicts the top-up it names goes to suspense, and operators are told: None. So does money
    that names none. Raises RowsBusy.
    """
    if (
        not facts.has_succeeded
        or UnmatchedPayment.objects.filter(payment_intent_id=facts.payment_intent_id).exists()
    ):
        return None
    top_up = _locked(facts)
    if top_up is None:
        put_in_suspense(facts, "It names no top-up of ours.")
        return None
    if top_up.state == TopUpState.PAID and top_up.payment_intent_id == facts.payment_intent_id:
        _complete(top_up, facts)
        return top_up
    if wrong := what_is_wrong(top_up, facts):
        put_in_suspense(facts, f"Top-up {top_up.pk}: {wrong}")
        return None
    _credit(top_up, facts)
    _complete(top_up, facts)
    if top_up.save_card and facts.card is not None:
        keep_card(facts.card)
    return top_up


def what_is_wrong(top_up: TopUp, facts: PaymentFacts) -> str:
    """Why this payment is not the one the top-up asked for; nothing where it is."""
    checks = {
        "it was paid before, by another payment": top_up.state == TopUpState.PAID,
        "another payment intent belongs to it": top_up.payment_intent_id
        not in (None, facts.payment_intent_id),
        f"paid in {facts.currency}, not {top_up.currency}": facts.currency != top_up.currency,
        "paid in the other mode, live or test": facts.livemode != top_up.livemode,
        "another customer paid": not _is_customer(top_up.organization_id, facts.customer_id),
    }
    found = next((reason for reason, is_so in checks.items() if is_so), "")
    return found or _wrong_amount(top_up, facts)


def _is_customer(organization_id: int, customer_id: str | None) -> bool:
    """Also one that has been replaced since: its page was still open."""
    whose = {"organization_id": organization_id, "customer_id": customer_id}
    return customer_id is not None and (
        StripeCustomer.objects.filter(**whose).exists()
        or FormerStripeCustomer.objects.filter(**whose).exists()
    )


def _wrong_amount(top_up: TopUp, facts: PaymentFacts) -> str:
    """A payment page says itself what is credit and what is tax; without one the row said both before."""
    page = facts.session
    if top_up.origin == TopUpOrigin.CHECKOUT:
        if (
            page is None
            or page.top_up_id != top_up.pk
            or page.session_id != (top_up.session_id or page.session_id)
        ):
            return "it was not paid on the page that was opened for it"
        sold, due = page.subtotal, page.subtotal + page.tax
    else:
        sold, due = top_up.amount_minor, top_up.amount_minor + top_up.tax_minor
    if sold != top_up.amount_minor or facts.amount != due:
        return f"paid {facts.amount} cents, of them {sold} for credit, not {top_up.amount_minor}"
    return ""


def _locked(facts: PaymentFacts) -> TopUp | None:
    """The top-up it names, under its wallet's lock."""
    if facts.top_up_id is None:
        return None
    found: TopUp | None = TopUp.across_all_organizations.filter(pk=facts.top_up_id).first()
    if found is None:
        return None
    lock_rows(Wallet.objects.all(), [found.organization_id])
    [locked] = lock_rows(TopUp.across_all_organizations.select_related("organization"), [found.pk])
    return locked


def _credit(top_up: TopUp, facts: PaymentFacts) -> None:
    if facts.session is not None:
        top_up.tax_minor = facts.session.tax
        top_up.session_id = facts.session.session_id
    fingerprint = facts.card.fingerprint if facts.card else ""
    hold = hold_for(top_up.organization, top_up.amount_minor, fingerprint)
    if hold is None:
        top_up.lot = _free(top_up, facts)
    else:
        _hold(top_up, facts)
        top_up.held_until = timezone.now() + hold
    top_up.transaction = LedgerTransaction.objects.get(fact_key=_fact_key(facts))
    top_up.state = TopUpState.PAID
    top_up.payment_intent_id = facts.payment_intent_id
    top_up.paid_at = facts.paid_at or timezone.now()
    top_up.ended_at = timezone.now()
    top_up.failure_code = ""
    top_up.save()
    log.info("top_up_paid", top_up=str(top_up.pk), organization=top_up.organization_id, held=bool(hold))
    announce_on_commit("wallet", str(top_up.organization_id))
    on_top_up_paid(top_up)


def _free(top_up: TopUp, facts: PaymentFacts) -> Lot | None:
    return bring_in(
        Arrival(
            organization_id=top_up.organization_id,
            kind=LotKind.PAID,
            amount_nano=minor_to_nano(top_up.amount_minor),
            tax_nano=minor_to_nano(top_up.tax_minor),
            fact_key=_fact_key(facts),
            posting_kind=PostingKind.TOP_UP,
            source=Account.STRIPE_CLEARING,
            source_owner=Owner.OPERATOR,
            actor=top_up.requested_by,
            effective_at=facts.paid_at,
        )
    )


def _hold(top_up: TopUp, facts: PaymentFacts) -> None:
    amount, tax = minor_to_nano(top_up.amount_minor), minor_to_nano(top_up.tax_minor)
    entries = [
        debit(Account.STRIPE_CLEARING, Owner.OPERATOR, amount + tax),
        credit(Account.TAX_PAYABLE, Owner.OPERATOR, tax),
        credit(Account.HELD_CREDIT, Owner.organization(top_up.organization_id), amount),
    ]
    post(
        Posting(
            fact_key=_fact_key(facts),
            kind=PostingKind.TOP_UP,
            entries=entries,
            effective_at=facts.paid_at,
            actor_id=top_up.requested_by_id,
        )
    )


def _complete(top_up: TopUp, facts: PaymentFacts) -> None:
    """What may be known later than the payment itself: how it was paid, its receipt, Stripe's fee."""
    top_up.charge_id = facts.charge_id or top_up.charge_id
    top_up.receipt_url = facts.receipt_url or top_up.receipt_url
    if facts.card is not None:
        top_up.payment_brand = facts.card.brand[:40]
        top_up.payment_last4 = facts.card.last4
        top_up.payment_fingerprint = facts.card.fingerprint
    top_up.save(
        update_fields=["charge_id", "receipt_url", "payment_brand", "payment_last4", "payment_fingerprint"]
    )
    if facts.balance is not None:
        book_fee(facts.balance, posting=top_up.transaction)


def _fact_key(facts: PaymentFacts) -> str:
    return f"pi:{facts.payment_intent_id}:succeeded"
