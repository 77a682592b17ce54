"""An operator on the admin site, and a customer with a row in every table that operators see."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from accounts.alerts import raise_alert
from accounts.models import (
    APIKey,
    AuditEvent,
    Membership,
    OperatorAlert,
    Organization,
    Reseller,
    Role,
    User,
)
from accounts.services import (
    create_api_key,
    create_operator,
    create_organization,
    ensure_house_reseller,
)
from billing.adjustments import record_top_up
from billing.archive import make_usage_partitions
from billing.books import check_books
from billing.campaigns import on_sign_up
from billing.contracts import TokenUsage
from billing.disputes import book_dispute
from billing.facts import WarningFacts
from billing.fraud import book_warning
from billing.models import (
    Adjustment,
    BalanceTransaction,
    BooksReport,
    Campaign,
    CampaignKind,
    Dispute,
    FraudWarning,
    Grant,
    Lease,
    LedgerAccount,
    LedgerEntry,
    LedgerTransaction,
    Lot,
    OrganizationTerms,
    PaymentTerms,
    PriceKind,
    PriceVersion,
    Referral,
    Refund,
    SettlementBatch,
    SignUp,
    StripeEvent,
    TaxRate,
    TopUp,
    UnmatchedPayment,
    UsageRecord,
    UsageRollup,
    Voucher,
    VoucherRedemption,
    VoucherSeries,
    Wallet,
)
from billing.payment_facts import PaymentFacts
from billing.price_shapes import Price
from billing.publishing import publish_price
from billing.referrals import referral_code
from billing.refunds import request_refund
from billing.services import grant_credit
from billing.unmatched import put_in_suspense
from billing.vouchers import VoucherTerms, create_voucher_series, redeem_voucher
from common.ids import uuid7
from relay.models import Channel, Model, Route, Vendor
from tests.factories.campaigns import make_campaign
from tests.factories.money import Payer
from tests.factories.payments import dispute_facts, top_up_paid

DOLLAR = 10**9
CHARGE_NANO = 452_500
OF_OPERATORS = (
    LedgerAccount,
    LedgerEntry,
    LedgerTransaction,
    Lot,
    Adjustment,
    Refund,
    Voucher,
    VoucherRedemption,
    VoucherSeries,
)
OF_CARDS = (TopUp, Dispute, FraudWarning, UnmatchedPayment, StripeEvent, BalanceTransaction)
OF_PROMOTIONS = (PaymentTerms, OrganizationTerms, TaxRate, Campaign, Referral, SignUp)
PageOf = Callable[..., str]


@pytest.fixture
def operator(db: None) -> User:
    user, _password = create_operator(email="operator@example.com")
    return user


@pytest.fixture
def admin(client: Client, operator: User) -> Client:
    """A browser in which the operator has signed in."""
    client.force_login(operator)
    return client


@pytest.fixture
def owner(db: None) -> User:
    return User.objects.create_user("owner@example.com", "owner-password")


@pytest.fixture
def organization(owner: User) -> Organization:
    return create_organization(owner=owner, name="Acme")


@pytest.fixture
def api_key(organization: Organization) -> APIKey:
    return create_api_key(organization=organization, name="production").api_key


@pytest.fixture
def channel(db: None) -> Channel:
    channel = Channel(name="main", vendor=Vendor.OPENAI, base_url="https://vendor.example/v1")
    channel.set_api_keys(("vendor-secret-1",))
    channel.save()
    return channel


@pytest.fixture
def model(channel: Channel) -> Model:
    model = Model.objects.create(
        name="gpt-test", owned_by="Tests", context_window=128_000, max_output_tokens=16_000
    )
    Route.objects.create(model=model, channel=channel, upstream_model="gpt-test-1")
    return model


@pytest.fixture
def price(db: None) -> PriceVersion:
    version = publish_price(
        model="gpt-test",
        kind=PriceKind.RETAIL,
        price=Price(
            rates={"input": 2_500_000_000, "output": 10 * DOLLAR, "cache_read": 37_500_000},
            bands=[{"over_prompt_tokens": 200_000, "rates": {"input": 5 * DOLLAR, "output": 20 * DOLLAR}}],
        ),
    )
    assert version is not None
    return version


@pytest.fixture
def grant(organization: Organization) -> Grant:
    return grant_credit(
        organization=organization, amount_nano=5 * DOLLAR, reason="Welcome", fact_key="test:welcome"
    )


@pytest.fixture
def usage(api_key: APIKey, price: PriceVersion) -> UsageRecord:
    make_usage_partitions()
    return record_usage(api_key, price)


def record_usage(api_key: APIKey, price: PriceVersion, **values: Any) -> UsageRecord:
    now = timezone.now()
    batch = SettlementBatch.objects.create(
        id=uuid7(), holder=uuid4(), created_at=now, records=1, charge_nano=CHARGE_NANO
    )
    tokens = {f"{name}_tokens": 0 for name in TOKEN_CLASSES}
    facts = {
        **tokens,
        "input_tokens": 1490,
        "output_tokens": 8,
        "request_id": uuid7(),
        "batch": batch,
        "reseller": Reseller.objects.get(is_house=True),
        "organization": api_key.organization,
        "api_key": api_key,
        "model": price.model,
        "channel": "main",
        "upstream_model": "gpt-test-1",
        "charge_nano": CHARGE_NANO,
        "uncollected_nano": 0,
        "cost_nano": 0,
        "wholesale_nano": 0,
        "service_tier": "",
        "retail_version": price,
        "usage_source": "reported",
        "ending": "complete",
        "is_stream": True,
        "started_at": now,
        "first_output_at": now + timedelta(milliseconds=120),
        "ended_at": now + timedelta(seconds=2),
        **values,
    }
    record: UsageRecord = UsageRecord.across_all_organizations.create(**facts)
    return record


TOKEN_CLASSES = [name.removesuffix("_tokens") for name in TokenUsage.__dataclass_fields__]


@pytest.fixture
def rollup(usage: UsageRecord) -> UsageRollup:
    rollup: UsageRollup = UsageRollup.across_all_organizations.create(
        bucket=timezone.now(),
        organization=usage.organization,
        reseller=usage.reseller,
        api_key=usage.api_key,
        model=usage.model,
        requests=1,
        prompt_tokens=1490,
        completion_tokens=8,
        charge_nano=CHARGE_NANO,
        cost_nano=0,
    )
    return rollup


@pytest.fixture
def lease(grant: Grant) -> Lease:
    now = timezone.now()
    return Lease.objects.create(
        wallet=Wallet.objects.get(pk=grant.organization_id),
        holder=uuid4(),
        granted=DOLLAR,
        opened_at=now,
        expires_at=now + timedelta(seconds=20),
    )


@pytest.fixture
def alert(db: None) -> OperatorAlert:
    raise_alert(kind="test", subject="channel main", message="Something is odd.")
    return OperatorAlert.objects.get()


@pytest.fixture
def transfer(organization: Organization, operator: User) -> Adjustment:
    return record_top_up(
        organization=organization,
        amount_nano=20 * DOLLAR,
        reference="2026-117",
        reason="Statement 11",
        fact_key="test:transfer",
        recorded_by=operator,
    )


@pytest.fixture
def paid_lot(transfer: Adjustment) -> Lot:
    lot: Lot = Lot.across_all_organizations.get(origin=transfer.transaction)
    return lot


@pytest.fixture
def refund(paid_lot: Lot) -> Refund:
    return request_refund(lot=paid_lot, amount_nano=DOLLAR, reason="Asked for", fact_key="test:refund")


@pytest.fixture
def series(db: None) -> VoucherSeries:
    terms = VoucherTerms(reseller=ensure_house_reseller(), campaign="launch", amount_nano=DOLLAR)
    return create_voucher_series(terms=terms, size=2, fact_key="test:series")


@pytest.fixture
def redemption(organization: Organization, series: VoucherSeries) -> VoucherRedemption:
    return redeem_voucher(organization=organization, code=series.vouchers.earliest("pk").code)


@pytest.fixture
def operated(refund: Refund, redemption: VoucherRedemption, model: Model, alert: OperatorAlert) -> None:
    """Rows that operators had made."""


@pytest.fixture
def card_payments(organization: Organization, api_key: APIKey) -> None:
    """One that a bank asks about, and that looked like fraud before."""
    top_up = top_up_paid(Payer(organization, api_key), 20_00, tax=3_80)
    payment = top_up.payment_intent_id or ""
    book_dispute(dispute_facts(top_up, 23_80, status="warning_needs_response", moves=()))
    book_warning(WarningFacts(warning_id="issfr_1", payment_intent_id=payment, fraud_type="misc"))
    unmatched_payment()
    BalanceTransaction.objects.create(
        balance_transaction_id="txn_1",
        type="charge",
        source_id="ch_1",
        currency="USD",
        amount_minor=23_80,
        fee_minor=99,
        net_minor=22_81,
        happened_at=timezone.now(),
    )
    StripeEvent.objects.create(
        event_id="evt_1", type="charge.succeeded", livemode=False, payload={}, happened_at=timezone.now()
    )


def unmatched_payment(payment: str = "pi_stray", cents: int = 15_00) -> UnmatchedPayment:
    facts = PaymentFacts(
        payment_intent_id=payment,
        status="succeeded",
        top_up_id=None,
        customer_id=None,
        currency="USD",
        amount=cents,
        livemode=False,
    )
    return put_in_suspense(facts, "nobody asked for it")


@pytest.fixture
def promotions(organization: Organization) -> None:
    """Terms, tax and campaigns of operators, and whom they brought."""
    house = ensure_house_reseller()
    PaymentTerms.objects.create(reseller=house)
    OrganizationTerms.across_all_organizations.create(organization=organization)
    TaxRate.objects.create(reseller=house, country="DE", name="VAT", parts_per_million=190_000)
    make_campaign(CampaignKind.REFERRAL)
    person = User.objects.create_user("brought@example.com")
    brought = create_organization(owner=person, name="Brought")
    SignUp.objects.create(user=person, address="198.51.100.7")
    on_sign_up(brought, None, code=referral_code(organization))


@pytest.fixture
def books_check(db: None) -> BooksReport:
    report = check_books()
    assert report is not None
    return report


@pytest.fixture
def rows(  # noqa: PLR0917 - fixtures, by name
    rollup: UsageRollup,
    lease: Lease,
    operated: None,
    promotions: None,
    card_payments: None,
    books_check: BooksReport,
) -> dict[type[Any], Any]:
    """One row of every class on the site."""
    managed = (AuditEvent, OperatorAlert, Organization, Reseller, User, Wallet, Grant, Lease, Channel, Model)
    found: dict[type[Any], Any] = {kind: rows_of(kind).first() for kind in managed}
    plain = (Membership, APIKey, PriceVersion, SettlementBatch, UsageRecord, UsageRollup, BooksReport)
    for kind in (*plain, *OF_OPERATORS, *OF_PROMOTIONS, *OF_CARDS):
        found[kind] = rows_of(kind).first()
    return found


def rows_of(kind: type[Any]) -> Any:
    return getattr(kind, "across_all_organizations", kind._base_manager).all()


def add_member(organization: Organization, email: str, role: str = Role.VIEWER) -> Membership:
    user = User.objects.create_user(email)
    membership: Membership = Membership.across_all_organizations.create(
        organization=organization, user=user, role=role
    )
    return membership
