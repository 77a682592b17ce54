"""From the attempt to the credit, through the double: how people pay, and how they do not."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.utils import timezone

from billing.ledger import Account
from billing.models import (
    BalanceTransaction,
    BillingDetails,
    OrganizationTerms,
    PaymentTerms,
    SavedCard,
    StripeCustomer,
    TaxMode,
    TaxRate,
    TopUp,
)
from billing.stripe.client import PaymentsOff
from billing.terms import TopUpTooSmall
from billing.top_ups import (
    AttemptReused,
    TopUpEnded,
    close_payment_page,
    payment_page,
    reconcile_top_up,
    start_top_up,
    unlock_held_top_ups,
    unlock_top_up,
)
from tests.doubles.stripe.double import StripeDouble
from tests.factories.credit import assert_money_adds_up, balance
from tests.factories.money import Payer
from tests.factories.stripe import Post, fresh, open_page, session_of

pytestmark = pytest.mark.django_db

CENT = 10**7


@pytest.fixture(autouse=True)
def books_are_right() -> object:
    yield
    assert_money_adds_up()


def test_a_payment_becomes_credit_by_its_webhooks(stripe: StripeDouble, payer: Payer, post: Post) -> None:
    top_up = open_page(payer)
    stripe.pay(session_of(top_up))
    events = post.bring()
    top_up = fresh(top_up)
    assert (top_up.state, payer.wallet.posted) == ("paid", 2000 * CENT)
    assert {event.state for event in events} == {"done", "ignored"}
    assert (top_up.payment_brand, top_up.payment_last4) == ("visa", "4242")
    assert top_up.receipt_url
    assert balance(Account.STRIPE_CLEARING) == stripe.state()["balance"] * CENT


def test_a_payment_becomes_credit_without_any_webhook(stripe: StripeDouble, payer: Payer) -> None:
    top_up = open_page(payer)
    stripe.pay(session_of(top_up))
    assert reconcile_top_up(top_up.pk).state == "paid"
    assert payer.wallet.posted == 2000 * CENT
    assert balance(Account.STRIPE_CLEARING) == stripe.state()["balance"] * CENT


def test_telling_it_again_changes_nothing(stripe: StripeDouble, payer: Payer, post: Post) -> None:
    top_up = open_page(payer)
    stripe.pay(session_of(top_up))
    post.bring()
    before = balance(Account.STRIPE_CLEARING)
    for _ in range(3):
        reconcile_top_up(top_up.pk)
        post.brought.clear()
        post.bring()
    assert (payer.wallet.posted, balance(Account.STRIPE_CLEARING)) == (2000 * CENT, before)


def test_the_fee_of_a_payment_is_kept_and_posted_once(stripe: StripeDouble, payer: Payer, post: Post) -> None:
    top_up = open_page(payer)
    stripe.pay(session_of(top_up))
    post.bring()
    [line] = BalanceTransaction.objects.all()
    assert (line.amount_minor, line.fee_minor, line.net_minor) == (2000, 88, 1912)
    assert line.transaction == fresh(top_up).transaction
    assert balance(Account.STRIPE_FEES) == 88 * CENT


def test_a_declined_card_charges_nothing_and_leaves_the_page_open(
    stripe: StripeDouble, payer: Payer, post: Post
) -> None:
    top_up = open_page(payer)
    assert not stripe.pay(session_of(top_up), "chargeDeclined")
    post.bring()
    assert (fresh(top_up).state, payer.wallet.posted) == ("open", 0)
    assert stripe.pay(session_of(top_up))
    post.bring()
    assert (fresh(top_up).state, payer.wallet.posted) == ("paid", 2000 * CENT)


def test_who_confirms_at_the_bank_has_paid(stripe: StripeDouble, payer: Payer, post: Post) -> None:
    top_up = open_page(payer)
    stripe.control("authenticate", session=session_of(top_up), ok=True)
    post.bring()
    assert fresh(top_up).state == "paid"


def test_who_does_not_confirm_at_the_bank_has_not(stripe: StripeDouble, payer: Payer, post: Post) -> None:
    top_up = open_page(payer)
    stripe.control("authenticate", session=session_of(top_up), ok=False)
    post.bring()
    assert (fresh(top_up).state, payer.wallet.posted) == ("open", 0)


def test_an_abandoned_page_expires(stripe: StripeDouble, payer: Payer, post: Post) -> None:
    top_up = open_page(payer)
    stripe.control("expire", session=session_of(top_up))
    post.bring()
    assert fresh(top_up).state == "expired"
    with pytest.raises(TopUpEnded):
        payment_page(top_up)


def test_money_that_comes_days_later_is_credit_only_then(
    stripe: StripeDouble, payer: Payer, post: Post
) -> None:
    top_up = open_page(payer)
    stripe.control("pay_delayed", session=session_of(top_up))
    post.bring()
    assert (fresh(top_up).state, payer.wallet.posted) == ("processing", 0)
    stripe.control("settle_delayed", session=session_of(top_up), ok=True)
    post.bring()
    assert (fresh(top_up).state, payer.wallet.posted) == ("paid", 2000 * CENT)


def test_money_that_does_not_come_after_all_fails_the_top_up(
    stripe: StripeDouble, payer: Payer, post: Post
) -> None:
    top_up = open_page(payer)
    stripe.control("pay_delayed", session=session_of(top_up))
    stripe.control("settle_delayed", session=session_of(top_up), ok=False)
    post.bring()
    top_up = fresh(top_up)
    assert (top_up.state, top_up.failure_code, payer.wallet.posted) == ("failed", "debit_not_authorized", 0)


def test_two_tabs_of_one_form_are_one_payment(stripe: StripeDouble, payer: Payer, post: Post) -> None:
    key = uuid4().hex
    tabs = [
        start_top_up(organization=payer.organization, amount_minor=20_00, attempt_key=key) for _ in range(2)
    ]
    assert payment_page(tabs[0]) == payment_page(tabs[1])
    assert len(stripe.state()["checkout.session"]) == 1
    stripe.pay(session_of(fresh(tabs[0])))
    post.bring()
    assert payer.wallet.posted == 2000 * CENT


def test_two_forms_paid_in_two_tabs_are_two_top_ups(stripe: StripeDouble, payer: Payer, post: Post) -> None:
    tabs = [open_page(payer), open_page(payer)]
    for top_up in tabs:
        stripe.pay(session_of(top_up))
    post.bring()
    assert [fresh(top_up).state for top_up in tabs] == ["paid", "paid"]
    assert payer.wallet.posted == 4000 * CENT


def test_a_form_that_comes_back_with_another_amount_starts_nothing(
    stripe: StripeDouble, payer: Payer
) -> None:
    key = uuid4().hex
    start_top_up(organization=payer.organization, amount_minor=20_00, attempt_key=key)
    with pytest.raises(AttemptReused):
        start_top_up(organization=payer.organization, amount_minor=50_00, attempt_key=key)


@pytest.mark.parametrize("state", ["expired", "failed"])
def test_who_pays_after_the_end_still_gets_the_credit(
    stripe: StripeDouble, payer: Payer, post: Post, state: str
) -> None:
    top_up = open_page(payer)
    TopUp.across_all_organizations.filter(pk=top_up.pk).update(state=state, ended_at=timezone.now())
    stripe.pay(session_of(top_up))
    post.bring()
    assert (fresh(top_up).state, payer.wallet.posted) == ("paid", 2000 * CENT)


def test_paid_is_never_left(stripe: StripeDouble, payer: Payer, post: Post) -> None:
    top_up = open_page(payer)
    assert not stripe.pay(session_of(top_up), "chargeDeclined")
    stripe.pay(session_of(top_up))
    late = [event for event in post.waiting() if event["type"] == "payment_intent.payment_failed"]
    reconcile_top_up(top_up.pk)
    assert late
    post.bring(only={"payment_intent.payment_failed"})
    assert fresh(top_up).state == "paid"


def test_an_organization_is_one_customer_at_stripe(stripe: StripeDouble, payer: Payer) -> None:
    open_page(payer)
    open_page(payer)
    [customer] = stripe.state()["customer"]
    assert StripeCustomer.objects.get(organization=payer.organization).customer_id == customer["id"]
    assert customer["metadata"] == {"organization": str(payer.organization.pk)}
    assert customer["email"].endswith("@example.com")


def test_a_card_is_kept_only_where_that_was_asked_for(stripe: StripeDouble, payer: Payer, post: Post) -> None:
    stripe.pay(session_of(open_page(payer)))
    post.bring()
    assert not SavedCard.across_all_organizations.exists()
    stripe.pay(session_of(open_page(payer, save_card=True)))
    post.bring()
    [card] = SavedCard.across_all_organizations.all()
    assert (card.organization, card.brand, card.last4) == (payer.organization, "visa", "4242")


def test_own_tax_comes_on_top_and_is_no_credit(stripe: StripeDouble, payer: Payer, post: Post) -> None:
    reseller = payer.organization.reseller
    PaymentTerms.objects.create(reseller=reseller, tax_mode=TaxMode.OWN)
    TaxRate.objects.create(reseller=reseller, country="DE", name="VAT", parts_per_million=190_000)
    BillingDetails.across_all_organizations.create(organization=payer.organization, country="DE")
    top_up = open_page(payer)
    stripe.pay(session_of(top_up))
    post.bring()
    top_up = fresh(top_up)
    assert (top_up.amount_minor, top_up.tax_minor, payer.wallet.posted) == (2000, 380, 2000 * CENT)
    assert balance(Account.TAX_PAYABLE) == -380 * CENT
    assert balance(Account.STRIPE_CLEARING) == stripe.state()["balance"] * CENT


def test_stripe_tax_comes_on_top_and_is_known_when_it_is_paid(
    stripe: StripeDouble, payer: Payer, post: Post
) -> None:
    PaymentTerms.objects.create(reseller=payer.organization.reseller, tax_mode=TaxMode.STRIPE)
    top_up = open_page(payer)
    assert top_up.tax_minor == 0
    stripe.pay(session_of(top_up))
    post.bring()
    assert (fresh(top_up).tax_minor, payer.wallet.posted) == (400, 2000 * CENT)


def test_a_large_first_payment_is_held_and_then_unlocked(
    stripe: StripeDouble, payer: Payer, post: Post
) -> None:
    top_up = open_page(payer, 300_00)
    stripe.pay(session_of(top_up))
    post.bring()
    top_up = fresh(top_up)
    assert (top_up.state, top_up.is_held, top_up.lot, payer.wallet.posted) == ("paid", True, None, 0)
    assert balance(Account.HELD_CREDIT) == -300_00 * CENT
    assert unlock_held_top_ups() == 0
    with time_machine.travel(timezone.now() + timedelta(hours=25)):
        assert unlock_held_top_ups() == 1
        assert unlock_held_top_ups() == 0
    assert (payer.wallet.posted, fresh(top_up).is_held) == (300_00 * CENT, False)
    assert fresh(top_up).lot is not None


def test_an_operator_unlocks_earlier_and_once(stripe: StripeDouble, payer: Payer, post: Post) -> None:
    top_up = open_page(payer, 300_00)
    stripe.pay(session_of(top_up))
    post.bring()
    for _ in range(2):
        unlock_top_up(fresh(top_up))
    assert (payer.wallet.posted, balance(Account.HELD_CREDIT)) == (300_00 * CENT, 0)


def test_nothing_is_held_of_a_trusted_customer(stripe: StripeDouble, payer: Payer, post: Post) -> None:
    OrganizationTerms.across_all_organizations.create(organization=payer.organization, is_trusted=True)
    stripe.pay(session_of(open_page(payer, 300_00)))
    post.bring()
    assert payer.wallet.posted == 300_00 * CENT


def test_terms_are_checked_before_anything_is_started(stripe: StripeDouble, payer: Payer) -> None:
    with pytest.raises(TopUpTooSmall):
        start_top_up(organization=payer.organization, amount_minor=1_00, attempt_key="x")
    assert not TopUp.across_all_organizations.exists()


def test_without_a_key_nothing_is_started(payer: Payer) -> None:
    with pytest.raises(PaymentsOff):
        start_top_up(organization=payer.organization, amount_minor=20_00, attempt_key="x")


def test_closing_a_page_lets_nobody_pay_there(stripe: StripeDouble, payer: Payer) -> None:
    top_up = open_page(payer)
    assert close_payment_page(top_up).state == "expired"
    assert stripe.get(session_of(top_up))["status"] == "expired"


def test_closing_a_page_that_was_just_paid_books_it(stripe: StripeDouble, payer: Payer) -> None:
    top_up = open_page(payer)
    stripe.pay(session_of(top_up))
    assert close_payment_page(top_up).state == "paid"
    assert payer.wallet.posted == 2000 * CENT


def test_an_attempt_whose_page_was_never_opened_expires(stripe: StripeDouble, payer: Payer) -> None:
    top_up = start_top_up(organization=payer.organization, amount_minor=20_00, attempt_key="x")
    assert reconcile_top_up(top_up.pk).state == "created"
    with time_machine.travel(timezone.now() + timedelta(hours=2)):
        assert reconcile_top_up(top_up.pk).state == "expired"


def test_the_first_payment_asks_the_bank_and_says_what_it_is_for(stripe: StripeDouble, payer: Payer) -> None:
    top_up = open_page(payer)
    [session] = stripe.state()["checkout.session"]
    assert session["payment_method_options"]["card"]["request_three_d_secure"] == "any"
    assert session["metadata"] == {"topup_id": str(top_up.pk), "scope": "op"}
    assert session["client_reference_id"] == str(top_up.pk)


def test_a_page_of_test_mode_ends_by_itself_under_a_live_key(
    stripe: StripeDouble, payer: Payer, settings: Any
) -> None:
    top_up = open_page(payer)
    settings.STRIPE_API_KEY = "sk_live_0123456789"
    assert reconcile_top_up(top_up.pk).state == "open"
    with time_machine.travel(timezone.now() + timedelta(hours=2)):
        assert reconcile_top_up(top_up.pk).state == "expired"


def test_a_page_that_stripe_has_no_longer_ends_by_itself(stripe: StripeDouble, payer: Payer) -> None:
    top_up = open_page(payer)
    with stripe.stripe.lock:
        del stripe.stripe.state.objects[session_of(top_up)]
    with time_machine.travel(timezone.now() + timedelta(hours=2)):
        assert reconcile_top_up(top_up.pk).state == "expired"


def test_a_live_key_makes_a_customer_of_its_own(settings: Any, payer: Payer) -> None:
    for key in ("sk_test_0123456789", "sk_live_0123456789"):
        with StripeDouble(api_key=key, seed=len(StripeCustomer.objects.all())) as double:
            settings.STRIPE_API_KEY, settings.STRIPE_API_BASE = key, double.url
            open_page(payer)
            [customer] = double.state()["customer"]
            kept = StripeCustomer.objects.get(organization=payer.organization)
            assert (kept.customer_id, kept.livemode) == (customer["id"], key.startswith("sk_live"))
