"""Operators' pages of terms, taxes and campaigns: what can be typed, what is refused, who may switch on."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags

from accounts.models import AuditEvent, Organization, Reseller, User
from accounts.services import create_operator, ensure_house_reseller
from billing.models import (
    Adjustment,
    Campaign,
    CampaignKind,
    OrganizationTerms,
    PaymentTerms,
    Referral,
    TaxRate,
    Wallet,
)
from billing.terms import terms_of
from tests.factories.campaigns import make_campaign

DOLLAR = 10**9


def page(response: Any) -> str:
    return " ".join(strip_tags(response.content.decode()).split())


def address(kind: type[Any], name: str, *args: object) -> str:
    return reverse(f"admin:billing_{kind._meta.model_name}_{name}", args=args)


def send(admin: Client, where: str, **typed: str) -> Any:
    """The row's page as it is shown, changed as typed, sent."""
    form = admin.get(where).context["adminform"].form
    values: dict[str, str] = {}
    for bound in form:
        value, widget = bound.value(), bound.field.widget
        if hasattr(widget, "widgets"):
            parts = widget.decompress(value)
            values |= {f"{bound.html_name}_{number}": str(part or "") for number, part in enumerate(parts)}
        elif value not in (None, False):
            values[bound.html_name] = str(value)
    return admin.post(where, {**values, **typed}, follow=True)


@pytest.fixture
def second(db: None) -> Client:
    other, _password = create_operator(email="second@example.com")
    browser = Client()
    browser.force_login(other)
    return browser


class TestTerms:
    def test_a_resellers_terms_are_written_in_dollars_and_count_at_once(
        self, admin: Client, organization: Organization
    ) -> None:
        house = ensure_house_reseller()
        where = address(PaymentTerms, "add")
        send(admin, where, reseller=str(house.pk), least_minor="7.5", most_minor="99")
        terms = terms_of(organization)
        assert (terms.least_minor, terms.most_minor, terms.first_most_minor) == (7_50, 99_00, 99_00)
        event = AuditEvent.objects.get(action="payment_terms.created")
        assert event.after is not None
        assert event.after["least_minor"] == 7_50

    def test_they_are_shown_as_they_were_written(self, admin: Client, db: None) -> None:
        row = PaymentTerms.objects.create(reseller=ensure_house_reseller(), least_minor=7_50)
        shown = admin.get(address(PaymentTerms, "change", row.pk)).content.decode()
        assert 'value="7.5"' in shown
        send(admin, address(PaymentTerms, "change", row.pk), most_cards_per_day="9")
        row.refresh_from_db()
        assert (row.least_minor, row.most_cards_per_day) == (7_50, 9)

    @pytest.mark.parametrize(
        ("name", "typed", "words"),
        [
            ("least_minor", "0", "more than nothing"),
            ("least_minor", "0.005", "in whole cents"),
            ("most_minor", "1", "less than the smallest"),
            ("first_most_minor", "1", "less than the smallest"),
            ("terms_url", "https://shop.example.com/terms", "Say which version"),
            ("terms_url", "javascript:alert(1)", "valid URL"),
        ],
    )
    def test_what_makes_no_sense_is_refused_in_words(
        self, admin: Client, name: str, typed: str, words: str
    ) -> None:
        row = PaymentTerms.objects.create(reseller=ensure_house_reseller())
        assert words in page(send(admin, address(PaymentTerms, "change", row.pk), **{name: typed}))
        assert PaymentTerms.objects.get().least_minor == 5_00

    def test_a_customer_gets_terms_of_its_own_once(self, admin: Client, organization: Organization) -> None:
        where, number = address(OrganizationTerms, "add"), str(organization.pk)
        send(admin, where, organization=number, most_minor="20000", is_trusted="on")
        assert terms_of(organization).first_most_minor == 20_000_00
        assert "already exists" in page(send(admin, where, organization=number))
        assert OrganizationTerms.across_all_organizations.count() == 1

    def test_a_customers_terms_are_changed_and_taken_back(
        self, admin: Client, organization: Organization
    ) -> None:
        row = OrganizationTerms.across_all_organizations.create(organization=organization, most_minor=1_00)
        where = address(OrganizationTerms, "change", row.pk)
        assert "less than the smallest" in page(send(admin, where, least_minor="2"))
        send(admin, where, least_minor="0.50")
        assert terms_of(organization).least_minor == 50
        admin.post(address(OrganizationTerms, "delete", row.pk), {"post": "yes"})
        assert terms_of(organization).least_minor == 5_00


class TestTaxRates:
    def add(self, admin: Client, **typed: str) -> Any:
        house = str(ensure_house_reseller().pk)
        values = {"country": "de", "name": "VAT", "parts_per_million": "19", **typed}
        return send(admin, address(TaxRate, "add"), reseller=house, **values)

    def test_a_rate_is_written_in_percent(self, admin: Client) -> None:
        self.add(admin, parts_per_million="8.875")
        rate = TaxRate.objects.get()
        assert (rate.country, rate.parts_per_million) == ("DE", 88_750)
        assert "8.875 %" in page(admin.get(address(TaxRate, "changelist")))

    @pytest.mark.parametrize(
        ("name", "typed", "words"),
        [
            ("parts_per_million", "0", "more than 0"),
            ("parts_per_million", "100.0001", "at most 100"),
            ("parts_per_million", "1.00001", "at most four decimals"),
            ("country", "D1", "Two letters"),
        ],
    )
    def test_what_is_no_rate_is_refused(self, admin: Client, name: str, typed: str, words: str) -> None:
        assert words in page(self.add(admin, **{name: typed}))
        assert not TaxRate.objects.exists()

    def test_one_is_ended_before_the_next_begins(self, admin: Client) -> None:
        self.add(admin)
        assert "End it first" in page(self.add(admin, parts_per_million="20"))
        old = TaxRate.objects.get()
        admin.post(address(TaxRate, "change", old.pk), {"parts_per_million": "7"})
        self.add(admin, parts_per_million="20")
        rates = TaxRate.objects.order_by("pk").values_list("parts_per_million", "is_active")
        assert list(rates) == [(190_000, False), (200_000, True)]


class TestCampaigns:
    def add(self, admin: Client, kind: CampaignKind = CampaignKind.GRANT, **typed: str) -> Any:
        house = str(ensure_house_reseller().pk)
        values = {"kind": kind.value, "name": f"our-{kind}", "amount_nano": "5", **typed}
        return send(admin, address(Campaign, "add"), reseller=house, **values)

    def test_a_small_bonus_runs_at_once(self, admin: Client, operator: User) -> None:
        self.add(admin, CampaignKind.SIGN_UP, budget_nano="50")
        campaign = Campaign.objects.get()
        assert (campaign.is_on, campaign.amount_nano, campaign.changed_by) == (True, 5 * DOLLAR, operator)

    @pytest.mark.parametrize("budget", ["", "100000"])
    def test_one_that_may_give_much_is_switched_on_by_another_operator(
        self, admin: Client, second: Client, budget: str
    ) -> None:
        assert "needs another operator" in page(self.add(admin, CampaignKind.SIGN_UP, budget_nano=budget))
        campaign = Campaign.objects.get()
        assert not campaign.is_on
        where = address(Campaign, "switch_on", campaign.pk)
        assert "Another operator switches it on" in page(admin.post(where, follow=True))
        assert not Campaign.objects.get().is_on
        second.get(where)
        assert not Campaign.objects.get().is_on
        second.post(where)
        assert Campaign.objects.get().is_on
        assert AuditEvent.objects.filter(action="campaign.switched_on").count() == 1

    def test_new_terms_of_a_large_one_switch_it_off_until_another_operator_agrees(
        self, admin: Client, db: None
    ) -> None:
        campaign = make_campaign(CampaignKind.SIGN_UP)
        send(admin, address(Campaign, "change", campaign.pk), amount_nano="500")
        campaign.refresh_from_db()
        assert (campaign.amount_nano, campaign.is_on) == (500 * DOLLAR, False)

    def test_what_was_granted_while_the_form_was_open_stays_counted(self, admin: Client, db: None) -> None:
        campaign = make_campaign(granted_nano=DOLLAR)
        shown = admin.get(address(Campaign, "change", campaign.pk))
        assert "$1.00" in page(shown)
        send(admin, address(Campaign, "change", campaign.pk), budget_nano="3")
        campaign.refresh_from_db()
        assert (campaign.granted_nano, campaign.budget_nano) == (DOLLAR, 3 * DOLLAR)
        refused = send(admin, address(Campaign, "change", campaign.pk), budget_nano="0.5")
        assert "granted already" in page(refused)

    def test_two_bonuses_of_a_kind_never_run_together(self, admin: Client, second: Client) -> None:
        make_campaign(CampaignKind.SIGN_UP, name="first")
        self.add(admin, CampaignKind.SIGN_UP, budget_nano="50")
        other = Campaign.objects.exclude(name="first").get()
        assert not other.is_on
        where = address(Campaign, "switch_on", other.pk)
        assert "Switch off first first" in page(second.post(where, follow=True))
        admin.post(address(Campaign, "switch_off", Campaign.objects.get(name="first").pk))
        admin.post(where)
        assert Campaign.objects.get(pk=other.pk).is_on

    @pytest.mark.parametrize(
        ("typed", "words"),
        [
            ({"amount_nano": "0"}, "It gives nothing"),
            ({"referrer_nano": "1"}, "Only a referral bonus"),
            ({"ends_at_0": "2020-01-01", "ends_at_1": "00:00:00"}, "ends before it starts"),
        ],
    )
    def test_what_makes_no_campaign_is_refused(
        self, admin: Client, typed: dict[str, str], words: str
    ) -> None:
        values: dict[str, Any] = typed
        assert words in page(self.add(admin, **values))
        assert not Campaign.objects.exists()


class TestGranting:
    def grant(self, admin: Client, campaign: Campaign, organization: Organization, **typed: str) -> Any:
        where = address(Campaign, "grant", campaign.pk)
        form = admin.get(where).context["form"]
        values = {"form_id": str(form["form_id"].value()), "organization": str(organization.pk)}
        return admin.post(where, {**values, "amount": "5", "reason": "Conference", **typed}, follow=True)

    def test_it_counts_in_the_budget(self, admin: Client, organization: Organization) -> None:
        campaign = make_campaign(budget_nano=8 * DOLLAR)
        assert "Posted" in page(self.grant(admin, campaign, organization))
        assert "$3.00 left" in page(self.grant(admin, campaign, organization))
        assert Wallet.objects.get(pk=organization.pk).posted == 5 * DOLLAR

    def test_over_the_limit_a_second_operator_decides(
        self, admin: Client, second: Client, organization: Organization
    ) -> None:
        campaign = make_campaign()
        assert "a second operator decides" in page(self.grant(admin, campaign, organization, amount="500"))
        waiting = Adjustment.across_all_organizations.get()
        shown = second.get(address(Adjustment, "change", waiting.pk)).content.decode()
        assert address(Campaign, "change", campaign.pk) in shown
        second.post(address(Adjustment, "approve", waiting.pk), {"form_id": "0" * 32})
        assert Wallet.objects.get(pk=organization.pk).posted == 500 * DOLLAR
        assert Campaign.objects.get().granted_nano == 500 * DOLLAR

    def test_customers_of_others_are_not_there_to_choose(self, admin: Client, db: None) -> None:
        other = Reseller.objects.create(slug="other", name="Other")
        stranger = Organization.objects.create(reseller=other, name="Stranger")
        self.grant(admin, make_campaign(), stranger)
        assert Wallet.objects.get(pk=stranger.pk).posted == 0

    def test_bonuses_are_not_granted_by_hand(self, admin: Client, db: None) -> None:
        campaign = make_campaign(CampaignKind.SIGN_UP)
        shown = admin.get(address(Campaign, "change", campaign.pk)).content.decode()
        assert address(Campaign, "grant", campaign.pk) not in shown


def test_why_a_referral_was_refused_is_said_in_words(admin: Client, promotions: None) -> None:
    Referral.across_all_organizations.update(state="refused", reason="same_card", ended_at=timezone.now())
    text = page(admin.get(address(Referral, "changelist")))
    assert "The same card" in text


def test_a_campaign_says_whether_it_runs(admin: Client, db: None) -> None:
    now = timezone.now()
    make_campaign(name="a", is_on=False)
    make_campaign(name="b", ends_at=now)
    make_campaign(name="c", starts_at=now + timedelta(days=1))
    make_campaign(name="d", budget_nano=1)
    make_campaign(name="e")
    text = page(admin.get(address(Campaign, "changelist")))
    for word in ("Off", "Ended", "Not yet begun", "Spent", "Running"):
        assert word in text
