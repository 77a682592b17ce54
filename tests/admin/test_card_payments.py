"""What operators do with card payments by form: refund, approve, call off, unlock, answer a dispute."""

import json
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, Organization, User
from accounts.services import create_api_key, create_operator
from billing.card_refunds import claim_refund, request_card_refund
from billing.disputes import book_dispute
from billing.facts import WarningFacts
from billing.fraud import book_warning
from billing.models import Dispute, FraudWarning, Refund, TopUp, Wallet
from tests.admin.test_money_pages import page, send
from tests.factories.credit import assert_money_adds_up, spend
from tests.factories.money import Payer
from tests.factories.payments import CENT, dispute_facts, top_up_paid

DOLLAR = 10**9


@pytest.fixture
def payer(organization: Organization) -> Payer:
    return Payer(organization, create_api_key(organization=organization, name="used").api_key)


@pytest.fixture
def second(db: None) -> Client:
    other, _password = create_operator(email="second@example.com")
    browser = Client()
    browser.force_login(other)
    return browser


def of(row: TopUp | Refund | Dispute | FraudWarning, name: str) -> str:
    return reverse(f"admin:billing_{row._meta.model_name}_{name}", args=[row.pk])


def wallet(payer: Payer) -> Wallet:
    return Wallet.objects.get(pk=payer.organization.pk)


class TestRefund:
    def test_it_offers_what_is_refundable_and_takes_it_out(
        self, admin: Client, payer: Payer, operator: User
    ) -> None:
        top_up = top_up_paid(payer, 50_00, tax=9_50)
        spend(payer, 20_00 * CENT + 1, aggregated=False)
        shown = page(admin.get(of(top_up, "refund")))
        assert "Of $50.00, $29.99 can go back to the card now." in shown
        sent = send(admin, of(top_up, "refund"), reason="Asked for by mail")
        assert "Stripe is asked to refund it" in page(sent)
        refund = Refund.across_all_organizations.get()
        assert (refund.amount_nano, refund.tax_nano) == (29_99 * CENT, 5_70 * CENT)
        assert refund.requested_by == operator
        assert AuditEvent.objects.filter(action="refund.requested", actor=operator).exists()
        assert_money_adds_up()

    def test_more_than_there_is_or_parts_of_cents_are_refused_on_the_page(
        self, admin: Client, payer: Payer
    ) -> None:
        top_up = top_up_paid(payer, 50_00)
        assert "can be refunded now" in page(send(admin, of(top_up, "refund"), amount="50.01", reason="r"))
        assert "whole cents" in page(send(admin, of(top_up, "refund"), amount="0.001", reason="r"))
        assert not Refund.across_all_organizations.exists()

    def test_the_lots_page_leads_to_the_top_ups(self, admin: Client, payer: Payer) -> None:
        top_up = top_up_paid(payer, 50_00)
        response = admin.get(reverse("admin:billing_lot_refund", args=[top_up.lot_id]))
        assert response["Location"] == of(top_up, "refund")

    def test_over_the_limit_another_operator_approves_it(
        self, admin: Client, second: Client, payer: Payer
    ) -> None:
        top_up = top_up_paid(payer, 150_00)
        text = page(send(admin, of(top_up, "refund"), amount="150", reason="Closing the account"))
        assert "another operator approves it" in text
        refund = Refund.across_all_organizations.get()
        assert "Another operator approves it" in page(send(admin, of(refund, "approve")))
        assert "Closing the account" in page(second.get(of(refund, "approve")))
        send(second, of(refund, "approve"))
        refund.refresh_from_db()
        assert refund.approved_by is not None
        assert of(refund, "approve") not in second.get(of(refund, "change")).content.decode()

    def test_it_can_be_called_off_until_stripe_is_asked(self, admin: Client, payer: Payer) -> None:
        refund = ask(top_up_paid(payer, 50_00))
        shown = admin.get(of(refund, "change")).content.decode()
        assert of(refund, "has_failed") in shown
        assert of(refund, "was_paid") not in shown
        claim_refund(refund.pk)
        assert of(refund, "has_failed") not in admin.get(of(refund, "change")).content.decode()
        assert "Stripe says how this one ends" in page(send(admin, of(refund, "has_failed")))

    def test_an_unpaid_one_has_no_such_page(self, admin: Client, organization: Organization) -> None:
        top_up = TopUp.across_all_organizations.create(
            organization=organization, origin="checkout", attempt_key="a", amount_minor=1_00
        )
        assert admin.get(of(top_up, "refund")).status_code == 404
        assert of(top_up, "refund") not in admin.get(of(top_up, "change")).content.decode()


def ask(top_up: TopUp) -> Refund:
    return request_card_refund(top_up=top_up, amount_nano=50_00 * CENT, reason="r", fact_key="f")


class TestHeld:
    def test_an_operator_unlocks_it(self, admin: Client, payer: Payer, operator: User) -> None:
        top_up = top_up_paid(payer, 300_00, held=True)
        assert "credit held" in page(admin.get(of(top_up, "change")))
        send(admin, of(top_up, "unlock"))
        assert wallet(payer).posted == 300 * DOLLAR
        assert of(top_up, "unlock") not in admin.get(of(top_up, "change")).content.decode()
        assert AuditEvent.objects.get(action="top_up.unlocked").actor == operator

    def test_held_ones_are_found(self, admin: Client, payer: Payer) -> None:
        top_up_paid(payer, 300_00, held=True)
        open_one = TopUp(organization=payer.organization, origin="checkout", attempt_key="a", amount_minor=1)
        open_one.save()
        listed = admin.get(reverse("admin:billing_topup_changelist"), {"held": "yes"})
        assert len(listed.context["cl"].result_list) == 1


class TestDispute:
    @pytest.fixture
    def dispute(self, payer: Payer) -> Dispute:
        top_up = top_up_paid(payer, 50_00, tax=9_50)
        TopUp.across_all_organizations.filter(pk=top_up.pk).update(requested_ip="198.51.100.9")
        made = book_dispute(dispute_facts(top_up, 59_50))
        assert made is not None
        return made

    def test_its_page_says_what_is_held(self, admin: Client, dispute: Dispute) -> None:
        shown = page(admin.get(of(dispute, "change")))
        assert "needs_response" in shown
        assert "$59.50" in shown

    def test_evidence_is_a_file_and_taking_it_is_on_record(
        self, admin: Client, dispute: Dispute, payer: Payer, rollup: object
    ) -> None:
        response = admin.get(of(dispute, "evidence"))
        assert response["Content-Disposition"].startswith('attachment; filename="evidence-dp_')
        told: dict[str, Any] = json.loads(response.content)
        assert told["payment"]["credit"] == "50"
        assert told["payment"]["asked_for_from"] == "198.51.100.9"
        assert told["usage"]["requests"] == 1
        assert told["usage"]["newest_requests"][0]["prompt_tokens"] == 1490
        assert told["customer"]["members"][0]["email"] == "owner@example.com"
        assert told["terms_accepted"] == "not recorded"
        assert payer.api_key.digest.hex() not in response.content.decode()
        assert AuditEvent.objects.filter(action="dispute.evidence_taken").count() == 1

    def test_a_question_can_be_ended_by_a_refund_and_a_dispute_cannot(
        self, admin: Client, dispute: Dispute, payer: Payer
    ) -> None:
        top_up = top_up_paid(payer, 20_00)
        asked = book_dispute(dispute_facts(top_up, 20_00, status="warning_needs_response", moves=()))
        assert asked is not None
        assert of(asked, "refund") in admin.get(of(asked, "change")).content.decode()
        assert of(dispute, "refund") not in admin.get(of(dispute, "change")).content.decode()
        send(admin, of(asked, "refund"))
        assert Refund.across_all_organizations.get().amount_nano == 20_00 * CENT


class TestFraudWarning:
    def test_the_payment_is_refunded_at_once_and_the_warning_seen_to(
        self, admin: Client, payer: Payer
    ) -> None:
        top_up = top_up_paid(payer, 50_00)
        facts = WarningFacts(
            warning_id="issfr_7", payment_intent_id=top_up.payment_intent_id or "", fraud_type="misc"
        )
        warning = book_warning(facts)
        assert warning is not None
        assert wallet(payer).status == "frozen"
        send(admin, of(warning, "refund"))
        assert "issfr_7" in Refund.across_all_organizations.get().reason
        send(admin, of(warning, "settle"))
        warning.refresh_from_db()
        assert warning.settled_at is not None
        assert of(warning, "settle") not in admin.get(of(warning, "change")).content.decode()


class TestTestMode:
    @pytest.mark.parametrize(("key", "is_marked"), [("sk_test_1", True), ("sk_live_1", False), ("", False)])
    def test_pages_of_operators_say_so_too(
        self, admin: Client, settings: Any, key: str, *, is_marked: bool
    ) -> None:
        settings.STRIPE_API_KEY = key
        assert ("Test mode" in page(admin.get(reverse("admin:billing_topup_changelist")))) is is_marked


def test_a_receipt_is_a_link(admin: Client, payer: Payer) -> None:
    top_up = top_up_paid(payer, 50_00)
    receipt = f"https://pay.stripe.com/receipts/{'x' * 300}"
    TopUp.across_all_organizations.filter(pk=top_up.pk).update(receipt_url=receipt)
    assert f'<a href="{receipt}"' in admin.get(of(top_up, "change")).content.decode()
