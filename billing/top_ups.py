"""Paying credit in by card: the attempt, its payment page, and what became of it.

The row is committed before Stripe is first called, and every call has an idempotency key made of the row. So
whatever dies in between, the same attempt goes on later; nobody pays twice and nothing paid is lost.
"""

from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import Organization, User
from accounts.services import record_audit
from billing.booking import book_payment
from billing.models import TaxMode, TopUp, TopUpOrigin, TopUpState, Wallet
from billing.payment_facts import PaymentFacts, SessionFacts
from billing.stripe.checkout import PageOrder, expire_session, find_session, open_session, read_session
from billing.stripe.client import (
    PaymentsOff,
    StripeKeyReused,
    StripeMissing,
    StripeUnknown,
    is_test_mode,
    payments_are_on,
)
from billing.stripe.customers import customer_of, replace_customer
from billing.stripe.payments import read_payment
from billing.stripe.tax_rates import forget_missing_rate, tax_rate_of
from billing.terms import TopUpRefused, check_top_up, is_first_top_up, tax_for, terms_of
from billing.unlocking import unlock_held_top_ups, unlock_top_up
from common.errors import AppError
from common.locking import lock_rows

__all__ = [
    "AttemptReused",
    "PaymentFacts",
    "TopUpEnded",
    "book_payment",
    "close_payment_page",
    "payment_page",
    "reconcile_top_up",
    "start_top_up",
    "unlock_held_top_ups",
    "unlock_top_up",
]

PAGE_LIVES = timedelta(minutes=60)
# Stripe opens no page that ends sooner; a little more, for clocks differ.
LEAST_PAGE_LIVES = timedelta(minutes=31)
# Keys that Stripe failed under are spent.
MOST_KEYS = 4
# How a payment intent stands -> what the top-up is meanwhile.
UNDER_WAY = {"processing": TopUpState.PROCESSING, "requires_action": TopUpState.ACTION_REQUIRED}


class AttemptReused(TopUpRefused):
    """The form has started a payment of another amount already; nothing was started now."""

    code = "attempt_reused"
    http_status = 409


class TopUpEnded(AppError):
    """It is paid, failed or expired: there is no page to pay on. Nothing was started."""

    code = "top_up_ended"
    http_status = 409


@transaction.atomic
def start_top_up(
    *,
    organization: Organization,
    amount_minor: int,
    attempt_key: str,
    save_card: bool = False,
    accepts_terms: bool = False,
    requested_by: User | None = None,
    ip: str | None = None,
) -> TopUp:
    """One attempt to pay `amount_minor` cents of credit in; the same key again is the same attempt.

    `accepts_terms`: who pays has just accepted the reseller's terms of use, in the version of now.
    Raises PaymentsOff, RowsBusy, and what `billing.terms.check_top_up` raises.
    """
    if not payments_are_on():
        raise PaymentsOff(_("Payment by card is not set up here."))
    lock_rows(Wallet.objects.all(), [organization.pk])
    rows = TopUp.across_all_organizations.filter(organization=organization)
    known: TopUp | None = rows.filter(attempt_key=attempt_key).first()
    if known is not None:
        return _same(known, amount_minor)
    check_top_up(organization, amount_minor, ip=ip)
    terms = terms_of(organization)
    top_up: TopUp = rows.create(
        organization=organization,
        origin=TopUpOrigin.CHECKOUT,
        attempt_key=attempt_key,
        amount_minor=amount_minor,
        tax_minor=tax_for(organization, amount_minor).tax_minor,
        save_card=save_card,
        livemode=not is_test_mode(),
        requested_by=requested_by,
        requested_ip=ip,
        terms_url=terms.terms_url if accepts_terms else "",
        terms_version=terms.terms_version if accepts_terms else "",
    )
    record_audit(
        action="top_up.started",
        subject=top_up,
        actor=requested_by,
        organization=organization,
        after={"amount_minor": amount_minor, "save_card": save_card},
        ip=ip,
    )
    return top_up


def payment_page(top_up: TopUp) -> str:
    """The address where it is paid; again, the same. Not inside a transaction.

    Raises TopUpEnded, PaymentsOff, StripeUnknown (the same again goes on), StripeRefused.
    """
    top_up = _read(top_up.pk)
    _check_open(top_up)
    if not top_up.session_url:
        customer_id = customer_of(top_up.organization)
        top_up = _promise_page(top_up)
        top_up = _note_session(top_up, _open_where_we_are(top_up, customer_id))
        _check_open(top_up)
    return top_up.session_url


def reconcile_top_up(top_up_id: UUID) -> TopUp:
    """Read again at Stripe what became of it, and book what is missing. Not inside a transaction.

    Webhooks, the page customers return to, sweeps and tests all come here; as often as they like.
    Raises StripeUnknown, StripeRefused, RowsBusy; TopUp.DoesNotExist.
    """
    top_up = _read(top_up_id)
    if not payments_are_on():
        return top_up
    session = _session_of(top_up)
    if session is not None:
        top_up = _note_session(top_up, session)
    intent_id = session.payment_intent_id if session is not None else top_up.payment_intent_id
    facts = read_payment(intent_id, page=session) if intent_id else None
    if facts is not None and facts.has_succeeded:
        book_payment(facts)
    elif not top_up.has_ended:
        _note(top_up, *_progress(top_up, session, facts))
    TopUp.across_all_organizations.filter(pk=top_up.pk).update(checked_at=timezone.now())
    return _read(top_up_id)


def close_payment_page(top_up: TopUp) -> TopUp:
    """Nobody can pay on its page any more; what was paid there is booked. For who pays another way.

    Raises as `reconcile_top_up` does.
    """
    top_up = _read(top_up.pk)
    if top_up.session_id is not None and not top_up.has_ended:
        expire_session(top_up.session_id)
    return reconcile_top_up(top_up.pk)


def _read(top_up_id: UUID) -> TopUp:
    found: TopUp = TopUp.across_all_organizations.select_related("organization__reseller").get(pk=top_up_id)
    return found


def _same(known: TopUp, amount_minor: int) -> TopUp:
    if known.amount_minor != amount_minor:
        text = _("This form has started a payment of another amount. Start again to pay this one.")
        raise AttemptReused(text, param="amount")
    return known


def _check_open(top_up: TopUp) -> None:
    page_is_over = top_up.expires_at is not None and top_up.expires_at <= timezone.now()
    if top_up.has_ended or page_is_over or top_up.origin != TopUpOrigin.CHECKOUT:
        raise TopUpEnded(_("This payment has ended. Start a new one."))


def _promise_page(top_up: TopUp) -> TopUp:
    """What the page will be is committed before Stripe is asked for it: asking again asks for the same."""
    if top_up.expires_at is None:
        ends = (timezone.now() + PAGE_LIVES).replace(microsecond=0)
        rows = TopUp.across_all_organizations.filter(pk=top_up.pk, expires_at=None)
        rows.update(expires_at=ends, checked_at=timezone.now())
    return _read(top_up.pk)


def _open_where_we_are(top_up: TopUp, customer_id: str) -> SessionFacts:
    """What Stripe does not know any more, for our account there is another one, is made again: once."""
    try:
        return _open(top_up, customer_id)
    except StripeMissing:
        successor = replace_customer(top_up.organization, customer_id)
        rate_id = tax_for(top_up.organization, top_up.amount_minor).stripe_rate_id
        if not (rate_id and forget_missing_rate(rate_id)) and successor is None:
            raise
    return _open(top_up, successor or customer_id, first_key=2)  # Stripe may keep its refusal under the first


def _open(top_up: TopUp, customer_id: str, *, first_key: int = 1) -> SessionFacts:
    """A page that was opened before, and we do not know of it, is found instead."""
    ends = top_up.expires_at or timezone.now()
    found = None
    if ends - timezone.now() >= LEAST_PAGE_LIVES:
        order = _order(top_up, customer_id, ends)
        found = _open_or_find(order, since=top_up.created_at, first_key=first_key)
    found = found or find_session(customer_id=customer_id, top_up_id=top_up.pk, since=top_up.created_at)
    if found is None:
        raise TopUpEnded(_("This payment has ended. Start a new one."))
    return found


def _open_or_find(order: PageOrder, *, since: datetime, first_key: int) -> SessionFacts | None:
    """None: it was opened before in other words, in another language, say."""
    for number in range(first_key, MOST_KEYS + 1):
        try:
            return open_session(order, number=number)
        except StripeKeyReused:
            return None
        except StripeUnknown as error:
            if not error.key_is_spent or number == MOST_KEYS:
                raise
        found = find_session(customer_id=order.customer_id, top_up_id=order.top_up_id, since=since)
        if found is not None:
            return found
    return None


def _order(top_up: TopUp, customer_id: str, ends: datetime) -> PageOrder:
    organization = top_up.organization
    terms = terms_of(organization)
    tax = tax_for(organization, top_up.amount_minor)
    return PageOrder(
        top_up_id=top_up.pk,
        customer_id=customer_id,
        currency=top_up.currency,
        amount=top_up.amount_minor,
        expires_at=ends,
        success_url=f"{settings.PUBLIC_URL}{reverse('top_up', args=[top_up.pk])}",
        cancel_url=f"{settings.PUBLIC_URL}{reverse('top_up', args=[top_up.pk])}?canceled=1",
        save_card=top_up.save_card,
        three_d_secure=terms.three_d_secure_first and is_first_top_up(organization),
        taxed_by_stripe=tax.mode == TaxMode.STRIPE,
        tax_rate_id=tax_rate_of(organization.reseller_id, tax) if tax.tax_minor else "",
    )


def _session_of(top_up: TopUp) -> SessionFacts | None:
    """Its page, also where the answer of making it was lost. None: there is none, or none any more."""
    if top_up.origin != TopUpOrigin.CHECKOUT or top_up.livemode == is_test_mode():
        return None  # the other mode's pages cannot be read with this key
    if top_up.session_id is not None:
        try:
            return read_session(top_up.session_id)
        except StripeMissing:
            return None
    if top_up.expires_at is None:
        return None
    customer_id = customer_of(top_up.organization)
    try:
        return find_session(customer_id=customer_id, top_up_id=top_up.pk, since=top_up.created_at)
    except StripeMissing:
        return None


@transaction.atomic
def _note_session(top_up: TopUp, session: SessionFacts) -> TopUp:
    """Its page is known from now on; a state that says more is kept."""
    [locked] = lock_rows(TopUp.across_all_organizations.all(), [top_up.pk])
    if locked.session_id is None:
        locked.session_id = session.session_id
        locked.session_url = session.url
        locked.expires_at = session.expires_at
        if locked.state == TopUpState.CREATED:
            locked.state = TopUpState.OPEN
        locked.save(update_fields=["session_id", "session_url", "expires_at", "state"])
    return _read(top_up.pk)


def _progress(
    top_up: TopUp, session: SessionFacts | None, facts: PaymentFacts | None
) -> tuple[TopUpState, str]:
    """What a top-up that is not paid has come to, and why."""
    failure = facts.failure_code if facts is not None else ""
    if session is not None and session.status == "expired":
        return TopUpState.EXPIRED, failure
    if facts is not None and facts.status in UNDER_WAY:
        return UNDER_WAY[facts.status], failure
    if top_up.origin == TopUpOrigin.RECHARGE:
        # Who charges the card ends the attempt too, and counts it as a failure: here is only why.
        return TopUpState(top_up.state), failure or (facts.status if facts is not None else "")
    if session is None:
        return _without_page(top_up), failure
    if session.status == "complete":
        # A payment that took days (a bank debit) came back: the page is closed, so nobody can try again.
        return (TopUpState.FAILED if failure else TopUpState.PROCESSING), failure
    return TopUpState.OPEN, failure


def _without_page(top_up: TopUp) -> TopUpState:
    """Nobody ever got to pay; without a page it ends when the page would have."""
    ends: datetime = top_up.expires_at or top_up.created_at + PAGE_LIVES
    return TopUpState.EXPIRED if ends <= timezone.now() else TopUpState(top_up.state)


@transaction.atomic
def _note(top_up: TopUp, state: TopUpState, failure: str) -> None:
    """Never out of an end by itself: only money does that."""
    [locked] = lock_rows(TopUp.across_all_organizations.all(), [top_up.pk])
    if locked.has_ended:
        return
    locked.state = state
    locked.failure_code = failure[:100]
    locked.ended_at = timezone.now() if locked.has_ended else None
    locked.save(update_fields=["state", "failure_code", "ended_at"])
