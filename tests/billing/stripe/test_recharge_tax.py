"""Auto-recharge where Stripe Tax works out the tax: no page asks for it, and none is forgotten."""

from typing import Any

import pytest
from django.utils import timezone

from billing.ledger import Account
from billing.models import PaymentTerms, RechargeRule, SavedCard, TaxMode, TopUp
from billing.recharging import RechargeTerms, charge, start, sweep_recharges, turn_on_recharge
from billing.stripe.client import StripeUnknown
from billing.top_ups import reconcile_top_up
from tests.doubles.stripe.double import StripeDouble
from tests.factories.credit import assert_money_adds_up, balance, spend
from tests.factories.money import Payer
from tests.factories.payments import CENT
from tests.factories.stripe import open_page, session_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def terms(payer: Payer) -> PaymentTerms:
    return PaymentTerms.objects.create(reseller=payer.organization.reseller, tax_mode=TaxMode.STRIPE)


@pytest.fixture
def rule(stripe: StripeDouble, payer: Payer, terms: PaymentTerms) -> RechargeRule:
    """Of a customer with $5 left, who has paid with tax on a page and is filled up to $30 by the card."""
    page = open_page(payer, 20_00, save_card=True)
    stripe.pay(session_of(page))
    reconcile_top_up(page.pk)
    spend(payer, 15_00 * CENT)
    return turn_on_recharge(
        organization=payer.organization,
        terms=RechargeTerms(
            threshold_minor=10_00,
            target_minor=30_00,
            most_per_charge_minor=30_00,
            most_per_day_minor=60_00,
            most_per_month_minor=100_00,
        ),
        card=SavedCard.across_all_organizations.get(),
    )


def the_charge() -> TopUp:
    found: TopUp = TopUp.across_all_organizations.get(origin="recharge")
    return found


def calculations(stripe: StripeDouble) -> list[Any]:
    return list(stripe.state().get("tax.calculation", []))


def forget_address(stripe: StripeDouble) -> None:
    with stripe.stripe.lock:
        for customer in stripe.stripe.state.all("customer"):
            customer["address"] = None


@pytest.mark.usefixtures("rule")
def test_the_card_pays_the_tax_on_top(stripe: StripeDouble, payer: Payer) -> None:
    tax_before = balance(Account.TAX_PAYABLE)
    assert sweep_recharges() == 1
    row = the_charge()
    assert (row.state, row.amount_minor, row.tax_minor) == ("paid", 25_00, 5_00)
    assert payer.wallet.posted == 30_00 * CENT
    assert balance(Account.TAX_PAYABLE) - tax_before == -5_00 * CENT
    assert balance(Account.STRIPE_CLEARING) == stripe.state()["balance"] * CENT
    assert_money_adds_up()


@pytest.mark.usefixtures("rule")
def test_the_charge_names_the_calculation_so_that_stripe_reports_the_tax(stripe: StripeDouble) -> None:
    sweep_recharges()
    [made] = calculations(stripe)
    [asked] = [
        one
        for one in stripe.state()["asked"]
        if (one["method"], one["path"]) == ("POST", "/v1/payment_intents")
    ]
    assert asked["params"]["hooks"] == {"inputs": {"tax": {"calculation": made["id"]}}}
    assert the_charge().tax_calculation_id == made["id"]


def test_while_stripe_tax_does_not_answer_nothing_is_charged(
    stripe: StripeDouble, payer: Payer, rule: RechargeRule
) -> None:
    attempt = start(rule, timezone.now())
    assert attempt is not None
    stripe.trouble(error_after=1.0)
    with pytest.raises(StripeUnknown):
        charge(attempt)
    stripe.trouble(error_after=0.0)
    assert payer.wallet.posted == 5_00 * CENT
    assert charge(attempt).state == "paid"
    assert payer.wallet.posted == 30_00 * CENT


def test_an_answer_to_the_charge_that_was_lost_is_asked_for_with_the_same_tax(
    stripe: StripeDouble, payer: Payer, rule: RechargeRule, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = start(rule, timezone.now())
    assert attempt is not None

    def die(*_: Any) -> Any:
        raise RuntimeError

    with monkeypatch.context() as until_then:
        until_then.setattr("billing.recharging.reconcile_top_up", die)
        with pytest.raises(RuntimeError):
            charge(attempt)
    TopUp.across_all_organizations.filter(pk=attempt.pk).update(payment_intent_id=None, state="created")
    assert charge(attempt).state == "paid"
    assert len(calculations(stripe)) == 1
    assert payer.wallet.posted == 30_00 * CENT
    assert balance(Account.STRIPE_CLEARING) == stripe.state()["balance"] * CENT


def test_without_an_address_nothing_is_charged_and_it_is_off_until_they_have_paid_once(
    *,
    stripe: StripeDouble,
    payer: Payer,
    rule: RechargeRule,
    mailoutbox: list[Any],
    django_capture_on_commit_callbacks: Any,
) -> None:
    forget_address(stripe)
    with django_capture_on_commit_callbacks(execute=True):
        sweep_recharges()
    rule.refresh_from_db()
    assert (rule.is_on, rule.turned_off_because) == (False, "customer_tax_location_invalid")
    assert (the_charge().state, payer.wallet.posted) == ("failed", 5_00 * CENT)
    assert [("without your address" in mail.body) for mail in mailoutbox] == [True]


def test_terms_that_were_changed_after_the_attempt_do_not_change_what_it_costs(
    stripe: StripeDouble, payer: Payer, rule: RechargeRule, terms: PaymentTerms
) -> None:
    attempt = start(rule, timezone.now())
    assert attempt is not None
    PaymentTerms.objects.filter(pk=terms.pk).update(tax_mode=TaxMode.NONE)
    assert charge(attempt).tax_minor == 5_00
    assert_money_adds_up()


@pytest.mark.usefixtures("rule")
def test_without_stripe_tax_nobody_asks_it(stripe: StripeDouble, terms: PaymentTerms) -> None:
    PaymentTerms.objects.filter(pk=terms.pk).update(tax_mode=TaxMode.NONE)
    sweep_recharges()
    assert (the_charge().state, the_charge().tax_minor, calculations(stripe)) == ("paid", 0, [])
