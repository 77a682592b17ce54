"""Rows of money cannot be added, changed or deleted on the admin site, by address either."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, User
from billing.models import (
    Adjustment,
    Dispute,
    FraudWarning,
    Grant,
    Lease,
    LedgerAccount,
    LedgerEntry,
    LedgerTransaction,
    Lot,
    PriceVersion,
    Referral,
    Refund,
    SettlementBatch,
    SignUp,
    StripeEvent,
    TopUp,
    UnmatchedPayment,
    UsageRecord,
    UsageRollup,
    Voucher,
    VoucherRedemption,
    VoucherSeries,
    Wallet,
)

LEDGER = (
    LedgerAccount,
    LedgerEntry,
    LedgerTransaction,
    Lot,
    Adjustment,
    Refund,
    VoucherRedemption,
    Referral,
    SignUp,
    TopUp,
    Dispute,
    FraudWarning,
    StripeEvent,
    UnmatchedPayment,
)
MADE = (PriceVersion, Voucher, VoucherSeries)
MONEY = (Grant, Lease, SettlementBatch, UsageRecord, UsageRollup, Wallet, AuditEvent, *LEDGER, *MADE)
each_class = pytest.mark.parametrize("kind", MONEY, ids=lambda kind: kind._meta.label)


def address(kind: type[Any], page: str, *args: object) -> str:
    return reverse(f"admin:{kind._meta.app_label}_{kind._meta.model_name}_{page}", args=args)


def stored(row: Any) -> dict[str, Any]:
    values: dict[str, Any] = row._meta.base_manager.filter(pk=row.pk).values().get()
    return values


@each_class
def test_a_row_is_not_changed(kind: type[Any], admin: Client, rows: dict[type[Any], Any]) -> None:
    row = rows[kind]
    before = stored(row)
    typed = dict.fromkeys(before, "7") | {"_save": "Save"}
    assert admin.post(address(kind, "change", row.pk), typed).status_code == 403
    assert stored(row) == before


@each_class
def test_a_row_is_not_deleted(kind: type[Any], admin: Client, rows: dict[type[Any], Any]) -> None:
    row = rows[kind]
    assert admin.get(address(kind, "delete", row.pk)).status_code == 403
    assert admin.post(address(kind, "delete", row.pk), {"post": "yes"}).status_code == 403
    assert stored(row)


@pytest.mark.parametrize("kind", [k for k in MONEY if k not in MADE], ids=lambda k: k._meta.label)
def test_a_row_is_not_added(kind: type[Any], admin: Client) -> None:
    assert admin.get(address(kind, "add")).status_code == 403
    assert admin.post(address(kind, "add"), {"_save": "Save"}).status_code == 403
    assert not kind._meta.base_manager.exists()


def test_the_page_of_a_wallet_has_no_field_to_fill_in(admin: Client, rows: dict[type[Any], Any]) -> None:
    response = admin.get(address(Wallet, "change", rows[Wallet].pk))
    assert response.context["adminform"].form.fields == {}
    assert b'name="_save"' not in response.content


def test_amounts_are_exact_and_their_nano_units_beside_them(
    admin: Client, operator: User, rows: dict[type[Any], Any]
) -> None:
    page = admin.get(address(UsageRecord, "changelist")).content.decode()
    assert 'title="452,500 nano-units">$0.0004525<' in page
