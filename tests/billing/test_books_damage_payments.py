"""Card payments, refunds and disputes with one wrong row: the rule it breaks is named."""

from dataclasses import replace
from typing import Any

import pytest
from django.db import connection

from billing.books import verify_books
from billing.card_refunds import book_refund, request_card_refund
from billing.disputes import book_dispute
from billing.payment_facts import PaymentFacts
from billing.unmatched import put_in_suspense
from tests.factories.credit import OF_PRICES, spend
from tests.factories.money import make_payer
from tests.factories.payments import CENT, dispute_facts, refund_facts, top_up_paid

pytestmark = pytest.mark.django_db


@pytest.fixture
def payments(db: None) -> None:
    """A held top-up partly refunded; one refund under way, one paid, one that left a debt; three disputes."""
    held = top_up_paid(make_payer(), 300_00, tax=30_00, held=True)
    request_card_refund(top_up=held, amount_nano=100_00 * CENT, reason="r", fact_key="held")
    payer = make_payer()
    first, second, third, fourth = (top_up_paid(payer, 100_00, tax=19_00) for _ in range(4))
    request_card_refund(top_up=first, amount_nano=10_00 * CENT, reason="r", fact_key="under way")
    book_refund(refund_facts(first, 11_90))
    spend(payer, 120_00 * CENT)
    book_refund(refund_facts(first, 80_00))
    book_dispute(dispute_facts(second, 119_00))
    book_dispute(dispute_facts(third, 119_00, status="lost"))
    facts = dispute_facts(fourth, 119_00)
    book_dispute(facts)
    book_dispute(replace(facts, status="won", moves=[*facts.moves, replace(facts.moves[0], amount=119_00)]))
    put_in_suspense(
        PaymentFacts(
            payment_intent_id="pi_nobodys",
            status="succeeded",
            top_up_id=None,
            customer_id=None,
            currency="USD",
            amount=5_00,
            livemode=False,
        ),
        "Nobody's",
    )


def broken() -> set[str]:
    names = {check["name"] for check in verify_books()["checks"] if not check["ok"]}
    return names - OF_PRICES


def change(table: str, what: str, where: str) -> str:
    row = f"SELECT ctid FROM {table} WHERE {where} LIMIT 1"  # noqa: S608 - names of this module
    return f"UPDATE {table} SET {what} WHERE ctid = ({row})"  # noqa: S608 - see above


def entry(what: str, code: str) -> str:
    accounts = f"SELECT id FROM billing_ledgeraccount WHERE code = '{code}'"  # noqa: S608 - see above
    return change("billing_ledgerentry", what, f"account_id IN ({accounts})")


MORE = "amount = amount + 1"
OF_REFUND, OF_DISPUTE, OF_TOP_UP = "billing_refund", "billing_dispute", "billing_topup"
DAMAGE = [
    ("held_credit", entry(MORE, "2030")),
    ("held_credit", change(OF_TOP_UP, "unlocked_at = now()", "held_until IS NOT NULL")),
    ("held_credit", change(OF_TOP_UP, "held_until = now()", "held_until IS NULL")),
    ("held_credit", change(OF_REFUND, "from_held = false", "from_held")),
    ("held_credit", change(OF_DISPUTE, "held_nano = held_nano + 1", "held_nano > 0")),
    ("disputes", entry(MORE, "1150")),
    ("disputes", change(OF_DISPUTE, "withdrawn_minor = withdrawn_minor + 1", "outcome = 'open'")),
    ("disputes", change(OF_DISPUTE, "withdrawn_minor = withdrawn_minor + 1", "outcome = 'won'")),
    ("disputes", change(OF_DISPUTE, "tax_nano = tax_nano + 1", "outcome = 'lost'")),
    ("disputes", change(OF_DISPUTE, "margin_nano = 1", "outcome = 'lost'")),
    ("disputes", "DELETE FROM billing_dispute WHERE outcome = 'lost'"),
    ("refunds", entry(MORE, "2060")),
    ("refunds", change(OF_REFUND, "amount_nano = amount_nano + 1", "paid_at IS NULL")),
    ("refunds", change(OF_REFUND, "paid_at = now()", "paid_at IS NULL")),
    ("refunds", change(OF_REFUND, "state = 'failed'", "paid_at IS NULL")),
    ("refunds", "DELETE FROM billing_refund WHERE fact_key = 'under way'"),
    ("card_refunds", change(OF_REFUND, "owed_nano = owed_nano - 1", "owed_nano > 0")),
    ("card_refunds", change(OF_REFUND, f"amount_nano = {400_00 * CENT}", "from_held")),
    ("card_refunds", change(OF_REFUND, f"tax_nano = {40_00 * CENT}", "from_held")),
    ("suspense", entry("amount = -amount", "2900")),
    ("suspense", change("billing_unmatchedpayment", "settled_at = now()", "true")),
    ("suspense", "DELETE FROM billing_unmatchedpayment"),
]


def test_without_damage_they_are_in_order(payments: None) -> None:
    assert broken() == set()


@pytest.mark.parametrize(("rule", "statement"), DAMAGE, ids=lambda text: text[:70])
def test_one_wrong_row_breaks_its_rule(payments: None, rule: str, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(statement)
        changed: Any = cursor.rowcount
        cursor.execute("SET LOCAL session_replication_role = origin")
    assert changed == 1
    assert rule in broken()
