"""What operators do with money by form: each page calls its service once, with who and why."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.html import strip_tags

from accounts.models import AuditEvent, Organization, User
from accounts.services import create_operator, ensure_house_reseller
from billing.adjustments import request_adjustment
from billing.freezing import freeze_wallet
from billing.models import (
    Adjustment,
    AdjustmentKind,
    FreezeCause,
    LedgerAccount,
    LedgerTransaction,
    Lot,
    Refund,
    Voucher,
    VoucherSeries,
    Wallet,
)
from billing.vouchers import VoucherTerms, create_voucher_series
from tests.factories.credit import arrive, assert_money_adds_up, spend
from tests.factories.money import Payer, make_payer, make_price

DOLLAR = 10**9


def page(response: Any) -> str:
    return " ".join(strip_tags(response.content.decode()).split())


def send(admin: Client, address: str, **typed: str) -> Any:
    """The form as it is shown, filled in, sent."""
    form = admin.get(address).context["form"]
    shown = {name: form[name].value() for name in form.fields}
    values = {name: str(value) for name, value in shown.items() if value not in (None, False)}
    return admin.post(address, {**values, **typed}, follow=True)


def of_wallet(name: str, organization: Organization) -> str:
    return reverse(f"admin:billing_wallet_{name}", args=[organization.pk])


def wallet(organization: Organization) -> Wallet:
    return Wallet.objects.get(pk=organization.pk)


@pytest.fixture
def second(db: None) -> Client:
    """Another operator, in a browser of their own."""
    other, _password = create_operator(email="second@example.com")
    browser = Client()
    browser.force_login(other)
    return browser


class TestWallet:
    def test_a_transfer_is_recorded_once(self, admin: Client, organization: Organization) -> None:
        address = of_wallet("record_transfer", organization)
        send(admin, address, amount="20", tax="4", reference="2026-117", reason="Statement 11")
        again = send(admin, address, amount="20", reference="2026-117", reason="Statement 11")
        assert "was recorded before" in page(again)
        assert wallet(organization).posted == 20 * DOLLAR
        assert_money_adds_up()

    def test_credit_is_taken_back_and_the_rest_owed_only_where_ticked(
        self, admin: Client, organization: Organization, grant: object
    ) -> None:
        address = of_wallet("take_back", organization)
        assert "$5.00 can be taken" in page(send(admin, address, amount="7", reason="Abuse"))
        send(admin, address, amount="7", reason="Abuse", may_owe="on")
        owing = wallet(organization)
        assert (owing.posted, owing.receivable, owing.status) == (0, 2 * DOLLAR, "blocked")

    def test_a_debt_is_forgiven(self, admin: Client, organization: Organization) -> None:
        send(admin, of_wallet("take_back", organization), amount="7", reason="Abuse", may_owe="on")
        shown = admin.get(reverse("admin:billing_wallet_change", args=[organization.pk]))
        assert of_wallet("write_off", organization) in shown.content.decode()
        send(admin, of_wallet("write_off", organization), amount="7", reason="Hopeless")
        assert wallet(organization).status == "active"

    def test_who_owes_nothing_is_offered_no_forgiveness(
        self, admin: Client, organization: Organization
    ) -> None:
        shown = admin.get(reverse("admin:billing_wallet_change", args=[organization.pk]))
        text = shown.content.decode()
        assert of_wallet("write_off", organization) not in text
        assert of_wallet("unfreeze", organization) not in text

    def test_it_is_frozen_and_unfrozen_with_a_reason(
        self, admin: Client, organization: Organization, operator: User
    ) -> None:
        send(admin, of_wallet("freeze", organization), reason=" ")
        assert wallet(organization).status == "active"
        send(admin, of_wallet("freeze", organization), reason="Stolen card")
        assert wallet(organization).status == "frozen"
        send(admin, of_wallet("unfreeze", organization), reason="It was not")
        assert wallet(organization).status == "active"
        assert AuditEvent.objects.get(action="wallet.frozen").actor == operator

    def test_what_a_dispute_froze_an_operator_may_freeze_as_well(
        self, admin: Client, organization: Organization
    ) -> None:
        freeze_wallet(
            organization=organization, reason="dp_1 is disputed", cause=FreezeCause.DISPUTE, subject="dp_1"
        )
        address = reverse("admin:billing_wallet_change", args=[organization.pk])
        assert "A dispute: dp_1 is disputed" in page(admin.get(address))
        send(admin, of_wallet("freeze", organization), reason="We look at it")
        text = admin.get(address).content.decode()
        assert "An operator: We look at it" in text
        assert of_wallet("freeze", organization) not in text


class TestSecondOperator:
    @pytest.fixture
    def waiting(self, organization: Organization, operator: User) -> Adjustment:
        return request_adjustment(
            organization=organization,
            kind=AdjustmentKind.GOODWILL,
            amount_nano=500 * DOLLAR,
            reason="Large customer",
            fact_key="f",
            requested_by=operator,
        )

    def of(self, waiting: Adjustment, name: str) -> str:
        return reverse(f"admin:billing_adjustment_{name}", args=[waiting.pk])

    def test_the_first_page_shows_what_waits(self, admin: Client, waiting: Adjustment) -> None:
        text = page(admin.get(reverse("admin:index")))
        assert "1 request waits for a second operator" in text
        assert "Large customer" in text

    def test_the_same_operator_cannot_approve_it(
        self, admin: Client, waiting: Adjustment, organization: Organization
    ) -> None:
        assert "Somebody else than who asked" in page(send(admin, self.of(waiting, "approve")))
        assert wallet(organization).posted == 0

    def test_another_one_approves_it(
        self, second: Client, waiting: Adjustment, organization: Organization
    ) -> None:
        asked = page(second.get(self.of(waiting, "approve")))
        assert "Large customer" in asked
        assert wallet(organization).posted == 0
        send(second, self.of(waiting, "approve"))
        assert wallet(organization).posted == 500 * DOLLAR
        shown = second.get(self.of(waiting, "change")).content.decode()
        assert self.of(waiting, "approve") not in shown
        assert "waits for a second operator" not in page(second.get(reverse("admin:index")))

    def test_it_is_rejected_with_a_reason(
        self, second: Client, waiting: Adjustment, organization: Organization
    ) -> None:
        send(second, self.of(waiting, "reject"), reason="")
        assert Adjustment.across_all_organizations.get().state == "requested"
        send(second, self.of(waiting, "reject"), reason="Too much")
        assert Adjustment.across_all_organizations.get().state == "rejected"
        assert wallet(organization).posted == 0


class TestRefund:
    def test_credit_is_taken_out_then_paid(
        self, admin: Client, paid_lot: Lot, organization: Organization
    ) -> None:
        address = reverse("admin:billing_lot_refund", args=[paid_lot.pk])
        assert "can be refunded now" in page(send(admin, address, amount="21", reason="Asked for"))
        send(admin, address, amount="15", reason="Asked for")
        refund = Refund.across_all_organizations.get()
        assert wallet(organization).posted == 5 * DOLLAR
        send(admin, reverse("admin:billing_refund_was_paid", args=[refund.pk]), source="1020")
        assert Refund.across_all_organizations.get().state == "succeeded"
        assert_money_adds_up()

    def test_failed_it_comes_back(self, admin: Client, refund: Refund, organization: Organization) -> None:
        send(admin, reverse("admin:billing_refund_has_failed", args=[refund.pk]))
        assert wallet(organization).posted == 20 * DOLLAR
        shown = admin.get(reverse("admin:billing_refund_change", args=[refund.pk])).content.decode()
        assert reverse("admin:billing_refund_has_failed", args=[refund.pk]) not in shown


class TestLedger:
    def test_an_account_shows_what_waits_to_be_folded_too(self, admin: Client, grant: object) -> None:
        account = LedgerAccount.objects.get(code="5100")
        assert account.balance == 0
        assert "$5.00" in page(admin.get(reverse("admin:billing_ledgeraccount_change", args=[account.pk])))
        assert "$5.00" in page(admin.get(reverse("admin:billing_ledgeraccount_changelist"), {"code": "5100"}))

    def test_a_transaction_shows_its_entries_and_lots(self, admin: Client, paid_lot: Lot) -> None:
        text = page(admin.get(reverse("admin:billing_ledgertransaction_change", args=[paid_lot.origin_id])))
        assert "1020 Bank · operator" in text
        assert "-$20.00" in text
        assert "Acme · Paid" in text

    def test_entries_are_found_by_account_and_transactions_by_fact(
        self, admin: Client, paid_lot: Lot
    ) -> None:
        bank = LedgerAccount.objects.get(code="1020")
        entries = admin.get(reverse("admin:billing_ledgerentry_changelist"), {"account__id__exact": bank.pk})
        assert len(entries.context["cl"].result_list) == 1
        for wanted in (paid_lot.origin.fact_key, str(paid_lot.origin_id)):
            found = admin.get(reverse("admin:billing_ledgertransaction_changelist"), {"q": wanted})
            assert [one.pk for one in found.context["cl"].result_list] == [paid_lot.origin_id]

    def test_a_posting_is_reversed(self, admin: Client, paid_lot: Lot, organization: Organization) -> None:
        address = reverse("admin:billing_ledgertransaction_reverse", args=[paid_lot.origin_id])
        send(admin, address, reason="Recorded by mistake")
        assert wallet(organization).posted == 0
        shown = admin.get(reverse("admin:billing_ledgertransaction_change", args=[paid_lot.origin_id]))
        assert f"reversal:{paid_lot.origin_id}" in page(shown)
        assert address not in shown.content.decode()
        assert_money_adds_up()

    def test_usage_is_not_reversed_but_given_back(self, admin: Client) -> None:
        payer, record = used()
        usage = LedgerTransaction.objects.get(kind="usage")
        shown = admin.get(reverse("admin:billing_ledgertransaction_change", args=[usage.pk]))
        assert "/reverse" not in shown.content.decode()
        address = reverse("admin:billing_usagerecord_give_back", args=[record["request_id"]])
        send(admin, address, amount="1", reason="Vendor error")
        send(admin, address, amount="", reason="Vendor error")
        assert payer.wallet.posted == 20 * DOLLAR
        refused = send(admin, address, amount="1", reason="Vendor error")
        assert "can be given back" in page(refused)
        assert_money_adds_up()


def used() -> tuple[Payer, dict[str, Any]]:
    payer = make_payer()
    arrive(payer, 20 * DOLLAR)
    return payer, spend(payer, 5 * DOLLAR, retail_version_id=make_price().pk)


class TestVouchers:
    def test_a_word_is_made(self, admin: Client, operator: User) -> None:
        address = reverse("admin:billing_voucher_add")
        send(admin, address, code="black friday", campaign="bf", amount="5", max_uses="10", credit_days="30")
        voucher = Voucher.objects.get()
        assert (voucher.code, voucher.max_uses, voucher.credit_days) == ("BLACKFRIDAY", 10, 30)
        assert (voucher.created_by, voucher.disabled_at) == (operator, None)
        taken = send(admin, address, code="Black-Friday", campaign="bf", amount="5")
        assert "There is such a code already" in page(taken)

    def test_a_series_is_made_once_and_downloaded_once(self, admin: Client) -> None:
        address = reverse("admin:billing_voucherseries_add")
        form = admin.get(address).context["form"]
        typed = {name: form[name].value() or "" for name in form.fields}
        typed |= {"size": "3", "campaign": "fair", "amount": "5"}
        for _ in range(2):
            admin.post(address, typed)
        series = VoucherSeries.objects.get()
        download = reverse("admin:billing_voucherseries_download", args=[series.pk])
        assert "text/html" in admin.get(download)["Content-Type"]
        lines = admin.post(download).content.decode().split()
        codes = set(series.vouchers.values_list("code", flat=True))
        assert lines[0] == "code"
        assert {line.replace("-", "") for line in lines[1:]} == codes
        assert "handed out before" in page(admin.post(download))
        listed = admin.get(reverse("admin:billing_voucher_changelist")).content.decode()
        assert not any(code in listed.replace("-", "") for code in codes)

    def test_codes_are_disabled_and_enabled(self, admin: Client, series: VoucherSeries) -> None:
        one = series.vouchers.earliest("pk")
        send(admin, reverse("admin:billing_voucher_disable", args=[one.pk]))
        assert Voucher.objects.exclude(disabled_at=None).count() == 1
        send(admin, reverse("admin:billing_voucherseries_disable", args=[series.pk]))
        assert not Voucher.objects.filter(disabled_at=None).exists()
        send(admin, reverse("admin:billing_voucherseries_enable", args=[series.pk]))
        assert Voucher.objects.filter(disabled_at=None).count() == 2

    def test_over_the_limit_another_operator_enables_them(
        self, admin: Client, second: Client, operator: User
    ) -> None:
        terms = VoucherTerms(reseller=ensure_house_reseller(), campaign="c", amount_nano=60 * DOLLAR)
        series = create_voucher_series(terms=terms, size=2, fact_key="f", created_by=operator)
        address = reverse("admin:billing_voucherseries_enable", args=[series.pk])
        assert "Another operator enables these codes" in page(send(admin, address))
        send(second, address)
        assert Voucher.objects.filter(disabled_at=None).count() == 2

    def test_who_redeemed_is_listed(self, admin: Client, redemption: Any) -> None:
        address = reverse("admin:billing_voucherredemption_changelist")
        text = page(admin.get(address, {"voucher__id__exact": redemption.voucher_id}))
        assert "Acme" in text
