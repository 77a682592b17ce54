"""Pages of top-ups and auto-recharge: who may pay, what a refusal says, what came of a payment."""

from collections.abc import Iterator
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import Membership, Role, User
from billing.models import PaymentTerms, RechargeRule, SavedCard, TaxMode, TaxRate, TopUp, TopUpState
from billing.top_ups import reconcile_top_up
from billing.web.top_up_forms import presets_within
from tests.doubles.stripe.double import StripeDouble
from tests.factories.at_stripe import stripe_at
from tests.factories.money import Payer, make_payer

pytestmark = pytest.mark.django_db


@pytest.fixture
def stripe(settings: Any) -> Iterator[StripeDouble]:
    with stripe_at(settings) as double:
        yield double


@pytest.fixture
def payer() -> Payer:
    return make_payer()


def sign_in(client: Client, payer: Payer, role: Role) -> Client:
    user = User.objects.create_user(f"{role}@example.com")
    EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=True)
    Membership.across_all_organizations.create(organization=payer.organization, user=user, role=role)
    client.force_login(user)
    return client


@pytest.fixture
def member(client: Client, payer: Payer, stripe: StripeDouble) -> Client:
    return sign_in(client, payer, Role.BILLING)


def text_of(response: Any) -> str:
    return " ".join(response.content.decode().split())


def start(member: Client, key: str = "k", **answers: Any) -> Any:
    return member.post(reverse("start_top_up"), {"attempt_key": key, "preset": "2500", **answers})


def page_of(top_up: TopUp) -> str:
    return reverse("top_up", args=[top_up.pk])


def only_top_up() -> TopUp:
    found: TopUp = TopUp.across_all_organizations.get()
    return found


class TestStarting:
    def test_it_leads_to_the_payment_page(self, member: Client, stripe: StripeDouble) -> None:
        response = start(member)
        assert response.status_code == 302
        assert response["Location"].startswith(f"{stripe.url}/pay/cs_test_")
        assert only_top_up().amount_minor == 25_00

    def test_an_amount_typed_in_counts_before_one_that_was_clicked(self, member: Client) -> None:
        start(member, amount="12.34")
        assert only_top_up().amount_minor == 12_34

    def test_the_same_form_twice_is_one_payment(self, member: Client, stripe: StripeDouble) -> None:
        first, second = start(member), start(member)
        assert first["Location"] == second["Location"]
        assert len(stripe.state()["checkout.session"]) == 1

    def test_the_same_form_with_another_amount_is_asked_again(self, member: Client) -> None:
        start(member)
        text = text_of(start(member, amount="30"))
        assert "another amount" in text
        assert TopUp.across_all_organizations.count() == 1

    @pytest.mark.parametrize(
        ("amount", "words"),
        [("1", "smallest top-up is $5.00"), ("501", "first top-up can be at most $500.00"), ("x", "number")],
    )
    def test_a_refusal_says_the_bound(self, member: Client, amount: str, words: str) -> None:
        assert words in text_of(start(member, amount=amount))
        assert not TopUp.across_all_organizations.exists()

    def test_stripe_that_does_not_answer_loses_nothing(self, member: Client, stripe: StripeDouble) -> None:
        stripe.control("settings", down=True)
        assert start(member)["Location"] == page_of(only_top_up())
        stripe.control("settings", down=False)
        assert "I have not paid yet" in text_of(member.get(page_of(only_top_up())))
        paying = member.post(reverse("pay_top_up", args=[only_top_up().pk]))
        assert paying["Location"].startswith(stripe.url)

    def test_own_tax_asks_for_the_country_and_comes_on_top(
        self, member: Client, payer: Payer, stripe: StripeDouble
    ) -> None:
        reseller = payer.organization.reseller
        PaymentTerms.objects.create(reseller=reseller, tax_mode=TaxMode.OWN)
        TaxRate.objects.create(reseller=reseller, country="DE", name="VAT", parts_per_million=190_000)
        assert "required" in text_of(start(member))
        response = start(member, country="DE")
        session = stripe.get(response["Location"].rsplit("/", 1)[1])
        assert (session["amount_subtotal"], session["amount_total"]) == (25_00, 29_75)
        stripe.pay(session["id"])
        top_up = reconcile_top_up(only_top_up().pk)
        assert (top_up.state, top_up.tax_minor) == (TopUpState.PAID, 4_75)
        assert "$29.75" in text_of(member.get(page_of(top_up)))

    @pytest.mark.parametrize("role", [Role.VIEWER, Role.DEVELOPER])
    def test_roles_that_move_no_money_pay_none(
        self, client: Client, payer: Payer, stripe: StripeDouble, role: Role
    ) -> None:
        member = sign_in(client, payer, role)
        assert "You cannot top up" in text_of(member.get(reverse("top_ups")))
        assert start(member).status_code == 403

    def test_without_a_key_the_page_says_so(self, client: Client, payer: Payer, settings: Any) -> None:
        settings.STRIPE_API_KEY = None
        member = sign_in(client, payer, Role.OWNER)
        text = text_of(member.get(reverse("top_ups")))
        assert "Payment by card is off here" in text
        assert "Test mode" not in text


class TestComingBack:
    def test_what_is_paid_is_credit(self, member: Client, stripe: StripeDouble) -> None:
        session = start(member)["Location"].rsplit("/", 1)[1]
        top_up = only_top_up()
        assert "is being processed" in text_of(member.get(page_of(top_up)))
        stripe.pay(session)
        TopUp.across_all_organizations.update(checked_at=None)
        text = text_of(member.get(page_of(top_up)))
        assert "$25.00 added" in text
        assert "•••• 4242" in text
        assert "data-refresh" not in text
        assert "•••• 4242" in text_of(member.get(reverse("top_ups")))

    def test_a_large_first_payment_says_until_when_it_is_checked(
        self, member: Client, stripe: StripeDouble
    ) -> None:
        session = start(member, amount="300")["Location"].rsplit("/", 1)[1]
        stripe.pay(session)
        text = text_of(member.get(page_of(reconcile_top_up(only_top_up().pk))))
        assert "$300.00 paid, being checked" in text

    def test_who_comes_back_without_paying_can_go_on(self, member: Client) -> None:
        start(member)
        text = text_of(member.get(page_of(only_top_up()) + "?canceled=1"))
        assert "not paid yet" in text
        assert "Go on to payment" in text

    def test_a_declined_card_is_told(self, member: Client, stripe: StripeDouble) -> None:
        session = start(member)["Location"].rsplit("/", 1)[1]
        stripe.pay(session, "chargeDeclinedInsufficientFunds")
        reconcile_top_up(only_top_up().pk)
        assert "not enough money" in text_of(member.get(page_of(only_top_up())))

    def test_a_page_that_ended(self, member: Client, stripe: StripeDouble) -> None:
        session = start(member)["Location"].rsplit("/", 1)[1]
        stripe.control("expire", session=session)
        reconcile_top_up(only_top_up().pk)
        assert "has expired" in text_of(member.get(page_of(only_top_up())))
        assert member.post(reverse("pay_top_up", args=[only_top_up().pk]))["Location"] == page_of(
            only_top_up()
        )


class TestRecharge:
    @pytest.fixture
    def card(self, payer: Payer) -> SavedCard:
        made: SavedCard = SavedCard.across_all_organizations.create(
            organization=payer.organization, payment_method_id="pm_card_visa", brand="visa", last4="4242"
        )
        return made

    def answers(self, saved: SavedCard, **changes: str) -> dict[str, Any]:
        amounts = {"threshold": "10", "target": "50", "most_per_charge": "50"}
        bounds = {"most_per_day": "100", "most_per_month": "500"}
        return {"card": saved.pk, **amounts, **bounds, "agrees": "on", **changes}

    def test_it_can_be_turned_on_and_off(self, member: Client, card: SavedCard) -> None:
        assert "Turn on" in text_of(member.get(reverse("recharge")))
        member.post(reverse("turn_on_recharge"), self.answers(card))
        rule = RechargeRule.across_all_organizations.get()
        assert (rule.is_on, rule.threshold_minor, rule.most_per_month_minor) == (True, 10_00, 500_00)
        member.post(reverse("turn_off_recharge"))
        rule.refresh_from_db()
        assert not rule.is_on

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"agrees": ""}, "required"),
            ({"target": "12"}, "above the threshold"),
            ({"most_per_day": "49"}, "one charge"),
            ({"card": "999999"}, "valid choice"),
        ],
    )
    def test_a_refusal_is_at_the_field(
        self, member: Client, card: SavedCard, changes: dict[str, str], words: str
    ) -> None:
        text = text_of(member.post(reverse("turn_on_recharge"), self.answers(card, **changes)))
        assert words in text
        assert not RechargeRule.across_all_organizations.exists()

    def test_a_card_can_be_removed(self, member: Client, card: SavedCard) -> None:
        member.post(reverse("remove_card", args=[card.pk]))
        card.refresh_from_db()
        assert card.removed_at is not None
        assert "No saved card" in text_of(member.get(reverse("recharge")))

    def test_why_it_is_off_is_told(self, member: Client, card: SavedCard) -> None:
        member.post(reverse("turn_on_recharge"), self.answers(card))
        RechargeRule.across_all_organizations.update(is_on=False, turned_off_because="three_failures")
        assert "declined three times" in text_of(member.get(reverse("recharge")))
        assert "Why, and how to turn it on" in text_of(member.get(reverse("top_ups")))

    def test_a_failure_says_when_it_is_tried_again(self, member: Client, card: SavedCard) -> None:
        member.post(reverse("turn_on_recharge"), self.answers(card))
        RechargeRule.across_all_organizations.update(failures=1, retry_at=timezone.now())
        assert "tried again" in text_of(member.get(reverse("recharge")))


@pytest.mark.parametrize(
    ("least", "most", "shown"),
    [
        (5_00, 500_00, [10_00, 25_00, 50_00, 100_00]),
        (60_00, 120_00, [100_00]),
        (2_000_00, 5_000_00, [2_000_00]),
        (1_00, 4_00, [4_00]),
    ],
)
def test_there_is_always_an_amount_to_click(least: int, most: int, shown: list[int]) -> None:
    assert presets_within(least, most) == shown
