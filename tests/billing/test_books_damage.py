"""Months of books in which one row is wrong: whatever row it is, the rule it breaks is named."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, transaction
from pytest_django import DjangoDbBlocker

from billing.books import RULES, verify_books
from tests.factories.books import fill_books

pytestmark = pytest.mark.django_db
RECORDS = 10_000


@pytest.fixture(scope="module")
def months(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Made once, in a transaction that is never committed."""
    with django_db_blocker.unblock(), transaction.atomic():
        fill_books(records=RECORDS, organizations=300, models=12)
        yield
        transaction.set_rollback(True)


@pytest.fixture
def cursor(months: None) -> Iterator[Any]:
    with connection.cursor() as cursor:
        yield cursor


def broken_by(cursor: Any, statement: str) -> set[str]:
    """Does what no trigger would let pass; the test's own transaction takes it back."""
    cursor.execute("SET LOCAL session_replication_role = replica")
    cursor.execute(statement)
    assert cursor.rowcount == 1, "one row is wrong, not none and not many"
    cursor.execute("SET LOCAL session_replication_role = origin")
    return {check["name"] for check in verify_books()["checks"] if not check["ok"]}


def first(table: str, where: str = "true") -> str:
    return f"ctid = (SELECT min(ctid) FROM {table} WHERE {where})"  # noqa: S608 - names of this module


def change(table: str, what: str, where: str = "true") -> str:
    return f"UPDATE {table} SET {what} WHERE {first(table, where)}"  # noqa: S608 - see above


def remove(table: str, where: str = "true") -> str:
    return f"DELETE FROM {table} WHERE {first(table, where)}"  # noqa: S608 - see above


def usage(what: str, where: str = "true") -> str:
    """Of the partitioned table: ctid is not enough to name a row."""
    row = f"SELECT request_id FROM billing_usagerecord WHERE {where} ORDER BY 1 LIMIT 1"  # noqa: S608
    return f"UPDATE billing_usagerecord SET {what} WHERE request_id = ({row})"  # noqa: S608


def entry(what: str, code: str) -> str:
    of_account = f"account_id IN (SELECT id FROM billing_ledgeraccount WHERE code = '{code}')"  # noqa: S608
    of_usage = "transaction_id IN (SELECT id FROM billing_ledgertransaction WHERE kind = 'usage')"
    return change("billing_ledgerentry", what, f"{of_account} AND {of_usage}")


AGGREGATED = "batch_id IN (SELECT id FROM billing_settlementbatch WHERE aggregated_at IS NOT NULL)"
WAITING = "batch_id IN (SELECT id FROM billing_settlementbatch WHERE aggregated_at IS NULL)"
UNPOSTED_GRANT = """
INSERT INTO billing_grant (organization_id, amount_nano, kind, fact_key, reason, created_at)
SELECT min(id), 5, 'goodwill', 'nobody posted this', 'r', now() FROM accounts_organization
"""
UNREDEEMED_VOUCHER = """
INSERT INTO billing_voucher (reseller_id, code, campaign, amount_nano, currency, max_uses, used, created_at)
SELECT min(id), 'C', 'c', 5, 'USD', 3, 1, now() FROM accounts_reseller
"""
LOST_RECORD = """
DELETE FROM billing_usagerecord
WHERE request_id = (SELECT request_id FROM billing_usagerecord WHERE charge_nano > 0 LIMIT 1)
"""
INVENTED_ARCHIVE = """
INSERT INTO billing_archivedusage
    (archive_id, organization_id, records, charge_nano, uncollected_nano, cost_nano)
SELECT 1, min(id), 1, 1, 0, 0 FROM accounts_organization
"""
LAST_BATCH = "(SELECT id FROM billing_settlementbatch ORDER BY created_at DESC LIMIT 1)"
OTHER_CUSTOMER = "(SELECT max(id) FROM accounts_organization)"
EARNED = f"wholesale_nano > 1 AND uncollected_nano = 0 AND organization_id % 2 = 0 AND {AGGREGATED}"
SECOND_RESELLER = "(SELECT id FROM accounts_reseller WHERE NOT is_house)"
DAMAGE = [
    ("wallets", change("billing_wallet", "posted = posted + 1")),
    ("wallets", change("billing_wallet", "posted = posted - 1")),
    ("wallets", usage("charge_nano = charge_nano + 1", WAITING)),
    ("wallets", remove("billing_wallet", "posted > 0 AND pending = 0")),
    ("pending", change("billing_wallet", "pending = pending + 1")),
    ("pending", change("billing_lease", "settled = settled + 1")),
    ("pending", change("billing_lease", "state = 'reaped'")),
    ("pending", remove("billing_lease")),
    ("owed", change("billing_wallet", "receivable = receivable + 1", "receivable > 0")),
    ("owed", change("billing_wallet", "receivable = 1, status = 'blocked'", "receivable = 0")),
    ("owed", entry("amount = amount + 1", "1100")),
    ("grants", change("billing_grant", "amount_nano = amount_nano + 1")),
    ("grants", remove("billing_grant")),
    ("grants", UNPOSTED_GRANT),
    ("vouchers", UNREDEEMED_VOUCHER),
    ("postings_balance", entry("amount = amount + 1", "4010")),
    ("postings_balance", remove("billing_ledgerentry")),
    ("postings_balance", remove("billing_ledgertransaction", "kind = 'usage'")),
    ("accounts", change("billing_ledgeraccount", "balance = balance + 1", "is_hot")),
    ("accounts", change("billing_ledgeraccount", "balance = balance - 1", "NOT is_hot")),
    ("accounts", change("billing_ledgerunfolded", "amount = amount + 1")),
    ("accounts", remove("billing_ledgerunfolded")),
    ("credit", entry("amount = amount - 1", "2010")),
    ("credit", entry("amount = amount - 1", "2020")),
    ("credit", change("billing_lot", "remaining = remaining - 1")),
    ("lots", change("billing_lot", "remaining = remaining - 1")),
    ("lots", change("billing_lot", "original = original + 1")),
    ("lots", change("billing_lotentry", "amount = amount - 1", "amount < 0")),
    ("lots", remove("billing_lotentry", "amount < 0")),
    ("lot_postings", change("billing_lotentry", "amount = amount - 1", "amount < 0")),
    ("lot_postings", change("billing_lot", "kind = 'promotional'", "kind = 'paid'")),
    ("usage_by_customer", usage("charge_nano = charge_nano + 1", AGGREGATED)),
    ("usage_by_customer", usage("uncollected_nano = uncollected_nano + 1", AGGREGATED)),
    ("usage_by_customer", usage(f"organization_id = {OTHER_CUSTOMER}", f"charge_nano > 0 AND {AGGREGATED}")),
    ("usage_by_customer", entry("amount = amount + 1", "2010")),
    ("usage_by_reseller", entry("amount = amount - 1", "4020")),
    ("usage_by_reseller", entry("amount = amount + 1", "5020")),
    ("usage_by_reseller", usage("wholesale_nano = wholesale_nano - 1", EARNED)),
    ("usage_by_channel", usage("channel = 'another'", f"cost_nano > 0 AND {AGGREGATED}")),
    ("usage_by_channel", entry("amount = amount + 1", "5010")),
    ("usage_postings", usage("cost_nano = cost_nano + 1", AGGREGATED)),
    ("usage_postings", entry("amount = amount - 1", "2100")),
    ("usage_postings", entry("amount = amount + 1", "2050")),
    ("prices", usage("charge_nano = charge_nano + 1")),
    ("prices", usage("cost_nano = cost_nano - 1", "cost_nano > 1")),
    ("prices", usage("wholesale_nano = wholesale_nano + 1", "wholesale_version_id IS NOT NULL")),
    ("prices", usage("output_tokens = output_tokens + 1")),
    ("prices", usage("retail_version_id = cost_version_id")),
    ("prices", usage("model = 'another'")),
    ("prices", usage("cost_version_id = NULL", "cost_nano > 0")),
    ("prices", change("billing_priceversion", "input = input + 1000000", "kind = 'retail'")),
    ("prices", remove("billing_priceversion", f"kind = 'wholesale' AND reseller_id = {SECOND_RESELLER}")),
    ("batches", change("billing_settlementbatch", "charge_nano = charge_nano + 1")),
    ("batches", change("billing_settlementbatch", "records = records - 1")),
    ("batches", remove("billing_settlementbatch")),
    ("batches", usage(f"batch_id = {LAST_BATCH}", "charge_nano > 0")),
    ("batches", LOST_RECORD),
    ("aggregated", change("billing_settlementbatch", "aggregated_at = NULL", "posting_id IS NOT NULL")),
    ("aggregated", change("billing_settlementbatch", "posting_id = NULL", "posting_id IS NOT NULL")),
    (
        "aggregated",
        change("billing_ledgertransaction", "kind = 'adjustment', fact_key = 'x'", "kind = 'usage'"),
    ),
    ("rollups", change("billing_usagerollup", "requests = requests + 1")),
    ("rollups", change("billing_usagerollup", "prompt_tokens = prompt_tokens + 1")),
    ("rollups", change("billing_usagerollup", "cost_nano = cost_nano + 1")),
    ("rollups", change("billing_usagerollup", "bucket = bucket + interval '15 minutes'")),
    ("rollups", remove("billing_usagerollup")),
    ("rollups", usage("reasoning_tokens = reasoning_tokens + 1", AGGREGATED)),
    ("suspense", change("billing_ledgeraccount", "code = '2900'", "code = '1100'")),
    ("archived_usage", INVENTED_ARCHIVE),
]


@pytest.mark.parametrize(("rule", "statement"), DAMAGE, ids=lambda text: text[:60])
def test_one_wrong_row_breaks_its_rule(cursor: Any, rule: str, statement: str) -> None:
    assert rule in broken_by(cursor, statement)


def test_months_without_damage_are_in_order(cursor: Any) -> None:
    report = verify_books()
    assert [check for check in report["checks"] if not check["ok"]] == []
    assert report["totals"]["usage_records"] == RECORDS


def test_no_rule_has_two_meanings() -> None:
    names = [rule.name for rule in RULES]
    assert len(names) == len(set(names))
