"""Our key is of another account at Stripe than it was, or a customer was deleted there."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import AuditEvent, OperatorAlert
from billing.models import (
    BillingDetails,
    FormerStripeCustomer,
    PaymentTerms,
    RechargeRule,
    SavedCard,
    StripeCustomer,
    TaxMode,
    TaxRate,
    TopUp,
)
from billing.recharging import RechargeTerms, charge, start, sweep_recharges, turn_on_recharge
from billing.stripe.client import StripeMissing
from billing.stripe.customers import customer_of, replace_customer
from billing.top_ups import payment_page, reconcile_top_up, start_top_up
from tests.doubles.stripe.double import StripeDouble
from tests.factories.credit import assert_money_adds_up, spend
from tests.factories.money import Payer
from tests.factories.payments import CENT
from tests.factories.stripe import Post, fresh, open_page, session_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def other(settings: Any) -> Iterator[StripeDouble]:
    """Another account; `move` points the platform at it."""
    with StripeDouble(seed=77) as double:
        yield double


def move(settings: Any, account: StripeDouble) -> None:
    settings.STRIPE_API_BASE = account.url


def pay(account: StripeDouble, payer: Payer, cents: int = 20_00, *, save_card: bool = False) -> TopUp:
    top_up = open_page(payer, cents, save_card=save_card)
    assert account.pay(session_of(top_up))
    return reconcile_top_up(top_up.pk)


def customer_id(payer: Payer) -> str:
    return StripeCustomer.objects.get(organization=payer.organization).customer_id


def recharge_of(payer: Payer) -> RechargeRule:
    found: RechargeRule = RechargeRule.across_all_organizations.get(organization=payer.organization)
    return found


@pytest.fixture
def rule(stripe: StripeDouble, payer: Payer) -> RechargeRule:
    """Of a customer with $20, whose card is charged below $10."""
    pay(stripe, payer, save_card=True)
    terms = RechargeTerms(
        threshold_minor=10_00,
        target_minor=30_00,
        most_per_charge_minor=30_00,
        most_per_day_minor=60_00,
        most_per_month_minor=100_00,
    )
    card = SavedCard.across_all_organizations.get()
    return turn_on_recharge(organization=payer.organization, terms=terms, card=card)


class TestPaying:
    def test_a_new_customer_pays_at_the_new_account(
        self, stripe: StripeDouble, other: StripeDouble, payer: Payer, settings: Any
    ) -> None:
        pay(stripe, payer)
        old = customer_id(payer)
        move(settings, other)
        top_up = pay(other, payer, 30_00)
        assert top_up.state == "paid"
        assert payer.wallet.posted == 50_00 * CENT
        [made] = other.state()["customer"]
        assert customer_id(payer) == made["id"] != old
        assert FormerStripeCustomer.objects.get().customer_id == old
        assert OperatorAlert.objects.get(kind="stripe_customer_gone").count == 1
        assert_money_adds_up()

    def test_its_cards_are_dropped_and_auto_recharge_is_off(
        self, other: StripeDouble, payer: Payer, rule: RechargeRule, settings: Any
    ) -> None:
        move(settings, other)
        open_page(payer)
        assert not SavedCard.across_all_organizations.filter(removed_at=None).exists()
        off = recharge_of(payer)
        assert (off.is_on, off.turned_off_because) == (False, "customer_gone")
        event = AuditEvent.objects.get(action="stripe_customer.replaced")
        assert event.after is not None
        assert (event.after["cards_dropped"], event.after["recharge_turned_off"]) == (1, True)

    def test_a_customer_that_was_deleted_is_replaced_in_the_same_account(
        self, stripe: StripeDouble, payer: Payer
    ) -> None:
        pay(stripe, payer)
        stripe.control("delete_customer", customer=customer_id(payer))
        top_up = start_top_up(organization=payer.organization, amount_minor=30_00, attempt_key="a")
        page = payment_page(top_up)
        assert payment_page(top_up) == page
        assert stripe.pay(session_of(fresh(top_up)))
        assert reconcile_top_up(top_up.pk).state == "paid"
        assert_money_adds_up()

    def test_what_was_paid_by_the_former_customer_is_credit(
        self, stripe: StripeDouble, payer: Payer, post: Post
    ) -> None:
        open_one = open_page(payer)
        former = customer_id(payer)
        assert stripe.pay(session_of(open_one))
        stripe.control("delete_customer", customer=former)
        assert replace_customer(payer.organization, former) == customer_id(payer) != former
        post.bring()
        assert payer.wallet.posted == 20_00 * CENT

    def test_back_at_the_old_account_the_old_customer_is_taken_up_again(
        self, stripe: StripeDouble, other: StripeDouble, payer: Payer, settings: Any
    ) -> None:
        pay(stripe, payer)
        old = customer_id(payer)
        move(settings, other)
        pay(other, payer)
        move(settings, stripe)
        pay(stripe, payer)
        assert customer_id(payer) == old
        assert len(stripe.state()["customer"]) == 1
        assert payer.wallet.posted == 60_00 * CENT

    def test_who_is_there_stays(self, stripe: StripeDouble, payer: Payer) -> None:
        known = customer_of(payer.organization)
        assert replace_customer(payer.organization, known) is None
        assert customer_id(payer) == known

    def test_it_is_replaced_once_however_many_found_it_missing(
        self, stripe: StripeDouble, payer: Payer
    ) -> None:
        gone = customer_of(payer.organization)
        stripe.control("delete_customer", customer=gone)
        assert len({replace_customer(payer.organization, gone) for _ in range(3)}) == 1
        assert AuditEvent.objects.filter(action="stripe_customer.replaced").count() == 1

    def test_own_tax_rates_are_made_again(
        self, stripe: StripeDouble, other: StripeDouble, payer: Payer, settings: Any
    ) -> None:
        reseller = payer.organization.reseller
        PaymentTerms.objects.create(reseller=reseller, tax_mode=TaxMode.OWN)
        BillingDetails.across_all_organizations.create(organization=payer.organization, country="DE")
        rate = TaxRate.objects.create(reseller=reseller, country="DE", name="VAT", parts_per_million=190_000)
        pay(stripe, payer)
        move(settings, other)
        assert pay(other, payer).tax_minor == 3_80
        rate.refresh_from_db()
        assert rate.stripe_id == other.state()["tax_rate"][0]["id"]

    def test_something_else_that_is_missing_is_no_reason(
        self, stripe: StripeDouble, payer: Payer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        known = customer_of(payer.organization)

        def refuse(*_: Any, **__: Any) -> Any:
            raise StripeMissing("no such thing")

        monkeypatch.setattr("billing.top_ups.open_session", refuse)
        top_up = start_top_up(organization=payer.organization, amount_minor=30_00, attempt_key="a")
        with pytest.raises(StripeMissing):
            payment_page(top_up)
        assert customer_id(payer) == known


class TestRecharging:
    def test_nothing_is_charged_and_the_customer_is_told(
        self,
        *,
        other: StripeDouble,
        payer: Payer,
        rule: RechargeRule,
        settings: Any,
        mailoutbox: list[Any],
        django_capture_on_commit_callbacks: Any,
    ) -> None:
        spend(payer, 15_00 * CENT)
        move(settings, other)
        for _ in range(3):
            with django_capture_on_commit_callbacks(execute=True):
                sweep_recharges()
        off = recharge_of(payer)
        assert (off.is_on, off.turned_off_because) == (False, "customer_gone")
        assert [top_up.failure_code for top_up in recharges(payer)] == ["customer_gone"]
        assert "payment_intent" not in other.state()
        assert ["save a card" in mail.body for mail in mailoutbox] == [True]

    def test_a_charge_of_the_old_account_is_given_up_and_told(
        self,
        *,
        stripe: StripeDouble,
        other: StripeDouble,
        payer: Payer,
        rule: RechargeRule,
        settings: Any,
        monkeypatch: pytest.MonkeyPatch,
        post: Post,
    ) -> None:
        """It may have been paid: should that account be asked again, it still becomes credit."""
        spend(payer, 15_00 * CENT)
        attempt = start(rule, timezone.now())
        assert attempt is not None
        with monkeypatch.context() as until_then:
            until_then.setattr("billing.recharging.reconcile_top_up", die)
            with pytest.raises(Died):
                charge(attempt)
        move(settings, other)
        assert charge(attempt).state == "failed"
        assert OperatorAlert.objects.get(kind="recharge_missing_at_stripe").severity == "critical"
        assert payer.wallet.posted == 5_00 * CENT
        open_page(payer)
        move(settings, stripe)
        post.bring()
        assert payer.wallet.posted == 30_00 * CENT
        assert_money_adds_up()


class Died(Exception):
    """Of a process."""


def die(*_: Any) -> Any:
    raise Died


def recharges(payer: Payer) -> list[TopUp]:
    rows = TopUp.across_all_organizations.filter(organization=payer.organization, origin="recharge")
    return list(rows)
