"""A sweep or an operator's action killed between every two of its durable effects, then run once more.

In the end everything must stand as after one undisturbed run.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from allauth.account.models import EmailAddress
from django.db import connection
from django.db.models import Sum
from django.utils import timezone

from accounts.services import ensure_house_reseller
from billing.books import verify_books
from billing.campaigns import on_sign_up
from billing.ledger import Account
from billing.models import (
    Campaign,
    CampaignKind,
    LedgerUnfolded,
    Lot,
    Referral,
    Refund,
    SettlementBatch,
    SignUp,
    UsageRollup,
    Voucher,
    VoucherRedemption,
)
from billing.referrals import referral_code
from billing.refunds import request_refund
from billing.vouchers import VoucherTerms, create_voucher
from tests.crash.die_at import Point
from tests.factories.campaigns import make_campaign
from tests.factories.credit import arrive, assert_money_adds_up, balance
from tests.factories.money import Payer, lease, make_payer, make_record, settle
from tests.factories.processes import start_python
from tests.factories.top_ups import paid_top_up

pytestmark = pytest.mark.django_db(transaction=True)
KILLED, SECONDS = -9, 30
STARTER = """
import accounts.services, billing.tasks, billing.refunds, billing.vouchers
from tests.crash.die_at import fork_for_each_line
fork_for_each_line()
"""
COMMIT = "django.db.backends.base.base:BaseDatabaseWrapper.commit"
EXECUTE = "django.db.backends.utils:CursorWrapper.execute"


@dataclass(frozen=True)
class Service:
    """`prepare` makes what `code` works on; `{organization}` in it is the payer's. `figures`: the outcome."""

    prepare: Callable[[Payer], object]
    code: str
    figures: dict[str, int]


def _spend_thrice(payer: Payer) -> None:
    arrive(payer, 1_000)
    holder = uuid4()
    lease(payer, holder, 100)
    for _ in range(3):
        settle(holder, make_record(payer, 10))


def _let_lots_expire(payer: Payer) -> None:
    arrive(payer, 1_000)
    for amount in (70, 50):
        arrive(payer, amount, expires_at=timezone.now() - timedelta(minutes=1))


def _make_voucher(_payer: Payer) -> None:
    terms = VoucherTerms(reseller=ensure_house_reseller(), campaign="launch", amount_nano=500, max_uses=2)
    create_voucher(terms=terms, code="WELCOME")


def _ask_for_refund(payer: Payer) -> None:
    request_refund(lot=arrive(payer, 1_000), amount_nano=40, reason="asked for", fact_key="form-1")


def _let_leases_expire(payer: Payer) -> None:
    arrive(payer, 1_000)
    for _ in range(3):
        lease(payer, uuid4(), 100, seconds=-60)


def _bring_somebody(payer: Payer) -> None:
    make_campaign(CampaignKind.REFERRAL, amount_nano=5, referrer_nano=10, budget_nano=20)
    brought = make_payer()
    on_sign_up(brought.organization, None, code=referral_code(payer.organization))
    paid_top_up(brought)


def _verify_an_address(payer: Payer) -> None:
    make_campaign(CampaignKind.SIGN_UP, amount_nano=10, budget_nano=15)
    owner = payer.organization.members.get()
    SignUp.objects.create(user=owner)
    EmailAddress.objects.create(user=owner, email=owner.email, primary=True, verified=True)


FIND = """
from accounts.models import Organization
organization = Organization.objects.get(pk={organization})
"""
AGGREGATION = Service(
    _spend_thrice,
    "from billing import aggregation\n"
    "aggregation.aggregate_batches(at_once=2); aggregation.aggregate_batches()",
    {"posted": 970, "in_lots": 970, "pending": 70, "added_up": 30, "unsettled": 0, "revenue": -30},
)
FOLD = Service(
    lambda payer: [arrive(payer, amount) for amount in (400, 600)],
    "from django.db import transaction\nfrom billing.ledger import posting\n"
    "with transaction.atomic(): posting.fold(at_once=1)\n"
    "with transaction.atomic(): posting.fold()",
    {"posted": 1_000, "in_lots": 1_000, "unfolded": 0, "bank": 1_000, "bank_folded": 1_000},
)
EXPIRY = Service(
    _let_lots_expire,
    "from billing import expiry; expiry.expire_lots()",
    {"posted": 1_000, "in_lots": 1_000, "breakage": -120},
)
VOUCHER = Service(
    _make_voucher,
    FIND + "from billing import vouchers\n"
    "try: vouchers.redeem_voucher(organization=organization, code='WELCOME')\n"
    "except vouchers.VoucherRedeemedBefore: pass",
    {"posted": 500, "in_lots": 500, "redemptions": 1, "voucher_uses": 1},
)
REFUND_START = Service(
    lambda payer: arrive(payer, 1_000),
    "from billing import refunds\nfrom billing.models import Lot\n"
    "refunds.request_refund(lot=Lot.across_all_organizations.get(), amount_nano=40, reason='asked for',"
    " fact_key='form-1')",
    {"posted": 960, "in_lots": 960, "refunds_requested": 1, "refunds_payable": -40, "bank": 1_000},
)
REFUND_END = Service(
    _ask_for_refund,
    "from billing import refunds\nfrom billing.models import Refund, RefundState\n"
    "refunds.finish_refund(refund=Refund.across_all_organizations.get(), outcome=RefundState.SUCCEEDED)",
    {"posted": 960, "in_lots": 960, "refunds_succeeded": 1, "refunds_payable": 0, "bank": 960},
)
REAPING = Service(
    _let_leases_expire,
    "from billing import tasks; tasks.reap_leases()",
    {"posted": 1_000, "in_lots": 1_000, "pending": 0},
)
REFERRAL = Service(
    _bring_somebody,
    "from billing import referrals; referrals.pay_due_referrals()",
    {"posted": 10, "in_lots": 20_000_000_015, "campaigns_granted": 15, "referrals_paid": 1},
)
BONUS = Service(
    _verify_an_address,
    "from billing import campaigns; campaigns.give_due_sign_up_bonuses()",
    {"posted": 10, "in_lots": 10, "campaigns_granted": 10},
)
CASES = {
    "aggregation: after the rollups, before the ledger": (
        AGGREGATION,
        Point("billing.aggregation:_post_usage", "before"),
    ),
    "aggregation: after the ledger, before the batches are done": (
        AGGREGATION,
        Point("billing.aggregation:_post_usage", "after"),
    ),
    "aggregation: after the lots are posted, before they are consumed": (
        AGGREGATION,
        Point("billing.aggregation:change_lots", "before"),
    ),
    "aggregation: before the commit": (AGGREGATION, Point(COMMIT, "before")),
    "aggregation: after the commit, before the next batches": (AGGREGATION, Point(COMMIT, "after")),
    "fold: before the commit": (FOLD, Point(COMMIT, "before")),
    "fold: between two parts": (FOLD, Point(COMMIT, "after")),
    "expiry: between the ledger and the wallet": (EXPIRY, Point("billing.lots:change_lots", "before")),
    "expiry: between two lots": (EXPIRY, Point("billing.expiry:expire_lot", "after")),
    "expiry: before the second commit": (EXPIRY, Point(COMMIT, "before", hit=2)),
    "voucher: between the grant and its use": (VOUCHER, Point("billing.vouchers:grant_credit", "after")),
    "voucher: before the commit": (VOUCHER, Point(COMMIT, "before", hit=2)),
    "voucher: after the commit": (VOUCHER, Point(COMMIT, "after", hit=2)),
    "refund: asked for, before the commit": (REFUND_START, Point(COMMIT, "before")),
    "refund: between asking and its end": (REFUND_START, Point(COMMIT, "after")),
    "refund: after the payment is posted, before it has ended": (
        REFUND_END,
        Point("billing.refunds:post", "after"),
    ),
    "refund: ended, before the commit": (REFUND_END, Point(COMMIT, "before")),
    "refund: ended, after the commit": (REFUND_END, Point(COMMIT, "after")),
    "referral: between counting and granting": (
        REFERRAL,
        Point("billing.promotions:take_from_budget", "after"),
    ),
    "referral: between one side and the other": (REFERRAL, Point("billing.referrals:_give", "after")),
    "referral: before the commit": (REFERRAL, Point(COMMIT, "before")),
    "referral: after the commit": (REFERRAL, Point(COMMIT, "after")),
    "bonus: between counting and granting": (BONUS, Point("billing.promotions:grant_credit", "before")),
    "bonus: before the commit": (BONUS, Point(COMMIT, "before")),
    "bonus: after the commit": (BONUS, Point(COMMIT, "after")),
    "reaping: between two leases": (REAPING, Point(EXECUTE, "after", "billing_end_lease")),
}


class Processes:
    """On the test database, one after the other; each is a fork of one that has everything loaded."""

    def __init__(self) -> None:
        self._starter = start_python(STARTER)

    def run(self, code: str, point: Point | None = None) -> int:
        """How the process ended."""
        assert self._starter.stdin is not None
        assert self._starter.stdout is not None
        told = {"point": point and point.fields, "program": ["-c", code]}
        print(json.dumps(told), file=self._starter.stdin, flush=True)
        self._starter.stdout.readline()
        return int(self._starter.stdout.readline())

    def discard(self) -> None:
        self._starter.kill()
        self._starter.communicate(timeout=SECONDS)


@pytest.fixture(scope="module")
def processes(django_db_setup: None) -> Iterator[Processes]:
    processes = Processes()
    yield processes
    processes.discard()


@pytest.fixture(autouse=True)
def no_usage_left(transactional_db: None) -> Iterator[None]:
    """The partitioned table is not Django's to empty."""
    yield
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE billing_usagerecord")


@pytest.mark.parametrize("name", CASES)
def test_killed_and_run_again(name: str, processes: Processes) -> None:
    service, point = CASES[name]
    payer = make_payer()
    service.prepare(payer)
    code = service.code.format(organization=payer.organization.pk)
    assert processes.run(code, point) == KILLED
    assert processes.run(code) == 0
    connection.close()
    found = figures(payer)
    assert {name: found[name] for name in service.figures} == service.figures
    assert [check for check in verify_books()["checks"] if not check["ok"]] == []
    assert_money_adds_up()


def figures(payer: Payer) -> dict[str, Any]:
    wallet = payer.wallet
    refunds = Refund.across_all_organizations
    return {
        "posted": wallet.posted,
        "pending": wallet.pending,
        "in_lots": _sum(Lot.across_all_organizations, "remaining"),
        "added_up": _sum(UsageRollup.across_all_organizations, "charge_nano"),
        "unsettled": SettlementBatch.objects.filter(aggregated_at=None).count(),
        "campaigns_granted": _sum(Campaign.objects, "granted_nano"),
        "referrals_paid": Referral.across_all_organizations.filter(state="paid").count(),
        "unfolded": LedgerUnfolded.objects.count(),
        "redemptions": VoucherRedemption.across_all_organizations.count(),
        "voucher_uses": _sum(Voucher.objects, "used"),
        "refunds_requested": refunds.filter(state="requested").count(),
        "refunds_succeeded": refunds.filter(state="succeeded").count(),
        "refunds_payable": balance(Account.REFUNDS_PAYABLE),
        "revenue": balance(Account.PAID_REVENUE),
        "bank": balance(Account.BANK),
        "bank_folded": _bank_as_folded(),
        "breakage": balance(Account.BREAKAGE),
    }


def _sum(rows: Any, name: str) -> int:
    return int(rows.aggregate(Sum(name, default=0))[f"{name}__sum"])


def _bank_as_folded() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(balance), 0) FROM billing_ledgeraccount WHERE code = %s", [Account.BANK]
        )
        return int(cursor.fetchone()[0])
