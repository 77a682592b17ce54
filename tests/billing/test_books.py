"""The books check names what is wrong in words and numbers that fit into JSON."""

import json
from uuid import uuid4

import pytest
from django.db import connection

from billing import aggregation
from billing.books import SHOWN, verify_books
from tests.factories.money import make_payer, make_record, settle

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE billing_wallet SET posted = posted + 1",
        "DELETE FROM billing_settlementbatch",
        "UPDATE billing_settlementbatch SET charge_nano = charge_nano + 1",
        "UPDATE billing_usagerollup SET charge_nano = charge_nano + 1",
    ],
)
def test_every_difference_can_be_printed(tampering: str) -> None:
    settle(uuid4(), make_record(make_payer(1_000), 10))
    aggregation.aggregate_batches()
    with connection.cursor() as cursor:
        cursor.execute(tampering)
    report = verify_books()
    assert not report["ok"]
    assert json.loads(json.dumps(report)) == report


def test_totals_are_integers_of_everything() -> None:
    payer = make_payer(30)
    make_payer(70)
    settle(uuid4(), make_record(payer, 50))
    assert verify_books()["totals"] == {
        "granted_nano": 100,
        "charged_nano": 30,
        "uncollected_nano": 20,
        "usage_records": 1,
        "posted_nano": 70,
        "pending_nano": 0,
        "owed_nano": 20,
        "batches_to_aggregate": 1,
        "postings": 2,
        "archived_records": 0,
        "archived_charged_nano": 0,
    }


def test_a_great_mess_is_shown_in_part() -> None:
    for _ in range(SHOWN + 1):
        make_payer()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE billing_wallet SET posted = 1")
    [wallets] = [check for check in verify_books()["checks"] if check["name"] == "wallets"]
    assert len(wallets["differences"]) == SHOWN


def test_an_empty_installation_is_in_order() -> None:
    assert verify_books()["ok"]
