"""The books check finds damage in what operators and sweeps did."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import User
from billing.adjustments import approve_adjustment, record_top_up
from billing.books import verify_books
from billing.corrections import correct_usage
from billing.expiry import expire_lots
from billing.refunds import request_refund
from tests.factories.credit import arrive, spend
from tests.factories.money import make_payer

pytestmark = pytest.mark.django_db


@pytest.fixture
def history(db: None) -> None:
    """One of everything: an expiry, a correction, a refund, an adjustment that two operators decided."""
    payer = make_payer()
    ada, grace = (User.objects.create_user(f"{name}@example.com") for name in ("ada", "grace"))
    lot = arrive(payer, 100)
    record = spend(payer, 30)
    correct_usage(request_id=record["request_id"], amount_nano=10, reason="r", fact_key="c")
    request_refund(lot=lot, amount_nano=20, reason="r", fact_key="r")
    arrive(payer, 5, expires_at=timezone.now() - timedelta(minutes=1))
    expire_lots()
    waiting = record_top_up(
        organization=payer.organization,
        amount_nano=200 * 10**9,
        reference="2026-117",
        reason="r",
        fact_key="t",
        recorded_by=ada,
    )
    approve_adjustment(adjustment=waiting, approved_by=grace)


def broken() -> set[str]:
    return {check["name"] for check in verify_books()["checks"] if not check["ok"]}


@pytest.mark.parametrize(
    ("damage", "rule"),
    [
        ("UPDATE billing_refund SET amount_nano = amount_nano + 1", "refunds"),
        ("UPDATE billing_refund SET state = 'succeeded', paid_at = now()", "refunds"),
        ("DELETE FROM billing_refund", "refunds"),
        ("UPDATE billing_adjustment SET amount_nano = amount_nano + 1", "adjustments"),
        ("UPDATE billing_adjustment SET kind = 'goodwill'", "adjustments"),
        ("UPDATE billing_adjustment SET state = 'rejected'", "adjustments"),
        ("UPDATE billing_lotentry SET amount = 31 WHERE amount = 10", "corrected_lots"),
        ("UPDATE billing_usagecorrection SET margin_nano = 1", "corrected_margin"),
        ("UPDATE billing_ledgertransaction SET kind = 'grant' WHERE kind = 'correction'", "revenue"),
        ("UPDATE billing_lot SET expires_at = expires_at + interval '1 hour'", "expiry"),
        ("UPDATE billing_lot SET expires_at = NULL", "expiry"),
    ],
)
def test_damage_is_found_by_its_rule(history: None, damage: str, rule: str) -> None:
    before = broken()
    assert rule not in before
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(damage)
        cursor.execute("SET LOCAL session_replication_role = origin")
    assert rule in broken()
