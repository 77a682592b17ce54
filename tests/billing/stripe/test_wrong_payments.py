"""Money that is not what was asked for: credited to nobody, kept with its reason, settled by operators."""

from typing import Any

import pytest
from django.db import transaction

from accounts.models import OperatorAlert, User
from billing.adjustments import TransferKnown, approve_adjustment, request_adjustment
from billing.ledger import Account
from billing.models import Adjustment, AdjustmentKind, StripeEvent, TopUp, UnmatchedPayment
from billing.operators import SecondOperatorNeeded
from billing.reversals import NotReversible, reverse_transaction
from billing.top_ups import reconcile_top_up
from billing.unmatched import ClaimRefused
from tests.doubles.stripe.double import StripeDouble
from tests.factories.credit import assert_money_adds_up, balance
from tests.factories.money import Payer, make_payer
from tests.factories.stripe import Post, fresh, open_page, session_of

pytestmark = pytest.mark.django_db

CENT = 10**7


def change(stripe: StripeDouble, object_id: str, **values: Any) -> None:
    """At Stripe, behind everybody's back."""
    with stripe.stripe.lock:
        stripe.stripe.state.objects[object_id].update(values)


def pay_wrongly(stripe: StripeDouble, payer: Payer, **values: Any) -> TopUp:
    top_up = open_page(payer)
    change(stripe, session_of(top_up), **values)
    stripe.pay(session_of(top_up))
    return top_up


def assert_in_suspense(payer: Payer, top_up: TopUp, reason: str) -> UnmatchedPayment:
    [kept] = UnmatchedPayment.objects.all()
    assert reason in kept.reason
    assert (fresh(top_up).state == "paid", payer.wallet.posted) == (False, 0)
    assert OperatorAlert.objects.filter(kind="unmatched_payment").count() == 1
    assert_money_adds_up()
    return kept


@pytest.mark.parametrize("by_webhook", [True, False])
def test_a_wrong_amount_is_no_credit(
    stripe: StripeDouble, payer: Payer, post: Post, by_webhook: bool
) -> None:
    top_up = pay_wrongly(stripe, payer, amount_subtotal=1_00, amount_total=1_00)
    if by_webhook:
        post.bring()
        assert "in suspense" in StripeEvent.objects.get(type="payment_intent.succeeded").reason
    else:
        reconcile_top_up(top_up.pk)
    assert_in_suspense(payer, top_up, "100 cents")
    assert balance(Account.SUSPENSE) == -1_00 * CENT
    assert balance(Account.STRIPE_CLEARING) == stripe.state()["balance"] * CENT


def test_a_wrong_currency_is_no_credit(stripe: StripeDouble, payer: Payer, post: Post) -> None:
    top_up = pay_wrongly(stripe, payer, currency="eur")
    post.bring()
    kept = assert_in_suspense(payer, top_up, "EUR")
    assert kept.currency == "EUR"


def test_a_payment_of_the_other_mode_is_no_credit(stripe: StripeDouble, payer: Payer, post: Post) -> None:
    top_up = open_page(payer)
    stripe.pay(session_of(top_up))
    intent = stripe.get(session_of(top_up))["payment_intent"]
    change(stripe, intent, livemode=True)
    post.bring()
    assert_in_suspense(payer, top_up, "mode")


def test_another_customers_page_does_not_pay_a_top_up(stripe: StripeDouble, payer: Payer, post: Post) -> None:
    top_up, other = open_page(payer), open_page(make_payer())
    names = {"topup_id": str(top_up.pk), "scope": "op"}
    change(stripe, session_of(other), metadata=names, _intent={"metadata": names})
    stripe.pay(session_of(other))
    post.bring()
    assert_in_suspense(payer, top_up, "another customer")


def test_money_that_only_names_a_top_up_does_not_pay_it(
    stripe: StripeDouble, payer: Payer, post: Post
) -> None:
    top_up = open_page(payer)
    customer = stripe.get(session_of(top_up))["customer"]
    stripe.control("stray_payment", amount=2000, customer=customer, metadata={"topup_id": str(top_up.pk)})
    post.bring()
    assert_in_suspense(payer, top_up, "not paid on the page")


def test_a_second_payment_of_a_paid_top_up_goes_to_suspense(
    stripe: StripeDouble, payer: Payer, post: Post
) -> None:
    top_up = open_page(payer)
    stripe.pay(session_of(top_up))
    customer = stripe.get(session_of(top_up))["customer"]
    stripe.control("stray_payment", amount=2000, customer=customer, metadata={"topup_id": str(top_up.pk)})
    post.bring()
    [kept] = UnmatchedPayment.objects.all()
    assert "paid before" in kept.reason
    assert payer.wallet.posted == 2000 * CENT
    assert balance(Account.STRIPE_CLEARING) == stripe.state()["balance"] * CENT


def test_what_is_in_suspense_is_told_once(stripe: StripeDouble, payer: Payer, post: Post) -> None:
    top_up = pay_wrongly(stripe, payer, amount_subtotal=1_00, amount_total=1_00)
    for _ in range(3):
        post.brought.clear()
        post.bring()
        reconcile_top_up(top_up.pk)
    assert OperatorAlert.objects.get(kind="unmatched_payment").count == 1
    assert balance(Account.SUSPENSE) == -1_00 * CENT


@pytest.fixture
def stray(stripe: StripeDouble, payer: Payer, post: Post) -> UnmatchedPayment:
    pay_wrongly(stripe, payer, amount_subtotal=15_00, amount_total=15_00)
    post.bring()
    return UnmatchedPayment.objects.get()


def claim(stray: UnmatchedPayment, payer: Payer, cents: int = 15_00, **values: Any) -> Adjustment:
    facts = {
        "organization": payer.organization,
        "kind": AdjustmentKind.CLAIM,
        "amount_nano": cents * CENT,
        "reference": stray.payment_intent_id,
        "reason": "The customer showed the receipt",
        "fact_key": "form-1",
        **values,
    }
    return request_adjustment(**facts)


def test_an_operator_credits_it_and_suspense_is_empty(stray: UnmatchedPayment, payer: Payer) -> None:
    adjustment = claim(stray, payer)
    assert claim(stray, payer) == adjustment
    stray.refresh_from_db()
    assert stray.settled_by == adjustment.transaction
    assert (payer.wallet.posted, balance(Account.SUSPENSE)) == (15_00 * CENT, 0)
    assert not OperatorAlert.objects.filter(kind="unmatched_payment", resolved_at=None).exists()
    assert_money_adds_up()


def test_it_is_credited_once(stray: UnmatchedPayment, payer: Payer) -> None:
    claim(stray, payer)
    with pytest.raises(TransferKnown), transaction.atomic():
        claim(stray, make_payer(), fact_key="form-2")


def test_it_is_credited_whole_or_not(stray: UnmatchedPayment, payer: Payer) -> None:
    with pytest.raises(ClaimRefused), transaction.atomic():
        claim(stray, payer, 14_00)
    claim(stray, payer, 12_00, tax_nano=3_00 * CENT)
    assert (payer.wallet.posted, balance(Account.TAX_PAYABLE)) == (12_00 * CENT, -3_00 * CENT)


def test_what_is_not_there_cannot_be_credited(stray: UnmatchedPayment, payer: Payer) -> None:
    with pytest.raises(ClaimRefused), transaction.atomic():
        claim(stray, payer, reference="pi_unheard_of")


def test_over_the_limit_a_second_operator_decides(
    stray: UnmatchedPayment, payer: Payer, settings: Any
) -> None:
    settings.SECOND_OPERATOR_OVER_NANO = 10_00 * CENT
    one, two = (User.objects.create_user(f"{name}@example.com", is_staff=True) for name in "ab")
    adjustment = claim(stray, payer, requested_by=one)
    assert (adjustment.state, payer.wallet.posted) == ("requested", 0)
    with pytest.raises(SecondOperatorNeeded):
        approve_adjustment(adjustment=adjustment, approved_by=one)
    approve_adjustment(adjustment=adjustment, approved_by=two)
    assert payer.wallet.posted == 15_00 * CENT


def test_a_card_payment_is_refunded_and_not_reversed(stripe: StripeDouble, payer: Payer, post: Post) -> None:
    top_up = open_page(payer)
    stripe.pay(session_of(top_up))
    post.bring()
    posting = fresh(top_up).transaction
    assert posting is not None
    with pytest.raises(NotReversible):
        reverse_transaction(original=posting, reason="mistake")
