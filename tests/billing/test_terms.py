"""What may be paid in: amounts, the first payment, attempts, cards; and the tax on top."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from accounts.models import OperatorAlert
from billing.freezing import freeze_wallet
from billing.models import (
    BillingDetails,
    OrganizationTerms,
    PaymentTerms,
    SavedCard,
    TaxMode,
    TaxRate,
    TopUp,
    TopUpState,
)
from billing.terms import (
    FirstTopUpTooLarge,
    TopUpRefused,
    TopUpsTooOften,
    TopUpTooLarge,
    TopUpTooSmall,
    TopUpWhileFrozen,
    check_card,
    check_top_up,
    half_up,
    hold_for,
    note_refusal,
    tax_for,
    terms_of,
)
from tests.factories.money import Payer, make_payer
from tests.factories.top_ups import attempt, paid_top_up

pytestmark = pytest.mark.django_db


@pytest.fixture
def payer() -> Payer:
    return make_payer()


def set_terms(payer: Payer, **values: Any) -> PaymentTerms:
    return PaymentTerms.objects.create(reseller=payer.organization.reseller, **values)


def agree(payer: Payer, **values: Any) -> None:
    OrganizationTerms.across_all_organizations.create(organization=payer.organization, **values)


def refusal(payer: Payer, amount_minor: int, ip: str | None = None) -> TopUpRefused | None:
    try:
        check_top_up(payer.organization, amount_minor, ip=ip)
    except TopUpRefused as refused:
        return refused
    return None


class TestAmounts:
    @pytest.mark.parametrize(("amount", "error"), [(4_99, TopUpTooSmall), (5_000_01, TopUpTooLarge)])
    def test_defaults_count_where_nobody_said_anything(
        self, payer: Payer, amount: int, error: type[TopUpRefused]
    ) -> None:
        assert isinstance(refusal(payer, amount), error)

    def test_the_text_says_the_bound(self, payer: Payer) -> None:
        set_terms(payer, least_minor=7_50)
        refused = refusal(payer, 7_49)
        assert refused is not None
        assert "$7.50" in refused.message

    def test_a_customers_own_bounds_go_before_the_resellers(self, payer: Payer) -> None:
        agree(payer, least_minor=1_00, most_minor=50_00)
        assert refusal(payer, 1_00) is None
        assert isinstance(refusal(payer, 50_01), TopUpTooLarge)

    def test_a_bound_below_the_resellers_smallest_leaves_room_for_one_amount(self, payer: Payer) -> None:
        agree(payer, most_minor=2_00)
        assert refusal(payer, 2_00) is None

    def test_another_resellers_terms_say_nothing(self, payer: Payer) -> None:
        assert terms_of(payer.organization).least_minor == 5_00

    def test_a_frozen_wallet_takes_nothing(self, payer: Payer) -> None:
        freeze_wallet(organization=payer.organization, reason="test")
        assert isinstance(refusal(payer, 20_00), TopUpWhileFrozen)


class TestFirst:
    def test_the_first_is_bounded_and_the_next_is_not(self, payer: Payer) -> None:
        assert isinstance(refusal(payer, 500_01), FirstTopUpTooLarge)
        paid_top_up(payer, 500_00)
        assert refusal(payer, 5_000_00) is None

    def test_while_it_is_held_all_payments_together_are_the_first(self, payer: Payer) -> None:
        paid_top_up(payer, 300_00, held_until=timezone.now() + timedelta(hours=1))
        assert refusal(payer, 200_00) is None
        refused = refusal(payer, 200_01)
        assert isinstance(refused, FirstTopUpTooLarge)
        assert "$200.00" in refused.message

    def test_trusted_customers_have_no_first(self, payer: Payer) -> None:
        agree(payer, is_trusted=True)
        assert refusal(payer, 5_000_00) is None
        assert hold_for(payer.organization, 5_000_00, "") is None

    def test_a_large_one_is_held(self, payer: Payer) -> None:
        assert hold_for(payer.organization, 200_00, "") is None
        assert hold_for(payer.organization, 200_01, "") == timedelta(hours=24)

    def test_small_ones_that_add_up_while_one_is_held_are_held_too(self, payer: Payer) -> None:
        paid_top_up(payer, 201_00, held_until=timezone.now() + timedelta(hours=1))
        assert hold_for(payer.organization, 5_00, "") == timedelta(hours=24)

    def test_after_a_free_one_nothing_is_held(self, payer: Payer) -> None:
        paid_top_up(payer, 20_00)
        assert hold_for(payer.organization, 5_000_00, "") is None


class TestAttempts:
    def test_an_organization_has_so_many_an_hour(self, payer: Payer) -> None:
        set_terms(payer, most_attempts_per_hour=2)
        for _number in range(2):
            assert refusal(payer, 20_00) is None
            attempt(payer)
        refused = refusal(payer, 20_00)
        assert isinstance(refused, TopUpsTooOften)
        assert "2" in refused.message
        TopUp.across_all_organizations.update(created_at=timezone.now() - timedelta(hours=1))
        assert refusal(payer, 20_00) is None

    def test_recharges_are_no_attempts(self, payer: Payer) -> None:
        set_terms(payer, most_attempts_per_hour=1)
        attempt(payer, origin="recharge")
        assert refusal(payer, 20_00) is None

    def test_many_customers_at_one_address_share_a_bound(self, payer: Payer) -> None:
        set_terms(payer, most_attempts_per_hour=1)
        for _number in range(3):
            attempt(make_payer(), requested_ip="198.51.100.7")
        assert isinstance(refusal(payer, 20_00, ip="198.51.100.7"), TopUpsTooOften)
        assert refusal(payer, 20_00, ip="198.51.100.8") is None

    def test_the_machines_own_address_is_nobodys(self, payer: Payer) -> None:
        set_terms(payer, most_attempts_per_hour=1)
        for _number in range(3):
            attempt(make_payer(), requested_ip="127.0.0.1")
        assert refusal(payer, 20_00, ip="127.0.0.1") is None

    def test_operators_see_how_often_it_was_refused(self, payer: Payer) -> None:
        for _number in range(3):
            note_refusal(payer.organization, TopUpsTooOften("later"), ip="198.51.100.7")
        note_refusal(payer.organization, TopUpTooSmall("more"))
        alert = OperatorAlert.objects.get()
        assert (alert.kind, alert.count) == ("top_ups_too_often", 3)
        assert "198.51.100.7" in alert.message


class TestCards:
    def test_a_card_of_too_many_customers_is_flagged_and_its_credit_held(self, payer: Payer) -> None:
        paid_top_up(make_payer(), payment_fingerprint="card")
        paid_top_up(make_payer(), payment_fingerprint="card")
        assert check_card(payer.organization, "card") is None
        SavedCard.across_all_organizations.create(
            organization=make_payer().organization, payment_method_id="pm_1", fingerprint="card"
        )
        assert hold_for(payer.organization, 5_00, "card") == timedelta(hours=24)
        assert OperatorAlert.objects.get().kind == "card_of_many_customers"

    def test_many_cards_a_day_are_flagged(self, payer: Payer) -> None:
        for number in range(3):
            paid_top_up(payer, payment_fingerprint=f"card {number}")
        assert check_card(payer.organization, "card 2") is None
        concern = check_card(payer.organization, "card 3")
        assert concern is not None
        assert concern.code == "many_cards_a_day"
        TopUp.across_all_organizations.update(created_at=timezone.now() - timedelta(days=1))
        assert check_card(payer.organization, "card 3") is None

    def test_a_flagged_card_is_held_for_a_day_where_nothing_else_is_held(self, payer: Payer) -> None:
        set_terms(payer, hold_hours=0, most_customers_per_card=1)
        paid_top_up(make_payer(), payment_fingerprint="card")
        assert hold_for(payer.organization, 5_00, "card") == timedelta(hours=24)

    def test_a_trusted_customers_card_is_told_of_but_nothing_is_held(self, payer: Payer) -> None:
        set_terms(payer, most_customers_per_card=1)
        agree(payer, is_trusted=True)
        paid_top_up(make_payer(), payment_fingerprint="card")
        assert hold_for(payer.organization, 5_00, "card") is None
        assert OperatorAlert.objects.count() == 1

    def test_without_a_fingerprint_there_is_nothing_to_say(self, payer: Payer) -> None:
        for _number in range(5):
            paid_top_up(make_payer())
        assert check_card(payer.organization, "") is None


class TestTax:
    def live_in(self, payer: Payer, country: str) -> None:
        BillingDetails.across_all_organizations.create(organization=payer.organization, country=country)

    def rate(self, payer: Payer, **values: Any) -> TaxRate:
        facts = {"country": "DE", "name": "VAT", "parts_per_million": 190_000, **values}
        return TaxRate.objects.create(reseller=payer.organization.reseller, **facts)

    def test_there_is_none_unless_somebody_says_so(self, payer: Payer) -> None:
        self.live_in(payer, "DE")
        self.rate(payer)
        tax = tax_for(payer.organization, 20_00)
        assert (tax.mode, tax.tax_minor) == (TaxMode.NONE, 0)

    def test_own_rates_go_by_the_country(self, payer: Payer) -> None:
        set_terms(payer, tax_mode=TaxMode.OWN)
        self.live_in(payer, "de")
        self.rate(payer, stripe_id="txr_1")
        self.rate(payer, country="FR", parts_per_million=200_000)
        tax = tax_for(payer.organization, 20_00)
        assert (tax.tax_minor, tax.name, tax.country, tax.stripe_rate_id) == (3_80, "VAT", "DE", "txr_1")

    @pytest.mark.parametrize("country", ["", "US"])
    def test_no_country_or_no_rate_is_no_tax(self, payer: Payer, country: str) -> None:
        set_terms(payer, tax_mode=TaxMode.OWN)
        self.live_in(payer, country)
        self.rate(payer)
        assert tax_for(payer.organization, 20_00).tax_minor == 0

    def test_a_rate_that_was_ended_counts_no_more(self, payer: Payer) -> None:
        set_terms(payer, tax_mode=TaxMode.OWN)
        self.live_in(payer, "DE")
        self.rate(payer, is_active=False)
        assert tax_for(payer.organization, 20_00).tax_minor == 0

    def test_stripe_works_out_its_own(self, payer: Payer) -> None:
        set_terms(payer, tax_mode=TaxMode.STRIPE)
        self.live_in(payer, "DE")
        tax = tax_for(payer.organization, 20_00)
        assert (tax.mode, tax.country, tax.tax_minor) == (TaxMode.STRIPE, "DE", 0)

    @pytest.mark.parametrize(
        ("numerator", "denominator", "cents"), [(5, 10, 1), (4, 10, 0), (15, 10, 2), (25, 10, 3), (0, 7, 0)]
    )
    def test_half_a_cent_goes_up(self, numerator: int, denominator: int, cents: int) -> None:
        assert half_up(numerator, denominator) == cents


def test_states_that_are_not_paid_are_no_first_payment(payer: Payer) -> None:
    attempt(payer, state=TopUpState.FAILED, attempt_key=uuid4().hex)
    assert isinstance(refusal(payer, 500_01), FirstTopUpTooLarge)
