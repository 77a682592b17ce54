"""`billing_settle`: each request charged once, never more than there is."""

from uuid import uuid4

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from billing.books import verify_books
from billing.models import Grant, SettlementBatch, UsageRecord
from common.ids import uuid7
from tests.factories.money import lease, make_payer, make_record, settle

pytestmark = pytest.mark.django_db
RECORDS = UsageRecord.across_all_organizations


def test_a_charge_moves_wallet_and_lease_together() -> None:
    payer, holder = make_payer(1_000), uuid4()
    lease(payer, holder, 500)
    left = settle(holder, make_record(payer, 120))
    assert left == {payer.organization.pk: 380}
    assert (payer.wallet.posted, payer.wallet.pending) == (880, 380)
    assert payer.lease(holder).settled == 120
    assert verify_books()["ok"]


def test_the_same_batch_again_changes_nothing() -> None:
    payer, holder, batch = make_payer(1_000), uuid4(), uuid7()
    record = make_record(payer, 100)
    settle(holder, record, batch=batch)
    assert settle(holder, record, batch=batch) == {}
    assert payer.wallet.posted == 900
    assert SettlementBatch.objects.count() == 1


def test_the_same_request_in_another_batch_is_charged_once() -> None:
    payer, holder = make_payer(1_000), uuid4()
    record = make_record(payer, 100)
    settle(holder, record)
    settle(holder, record, make_record(payer, 7))
    assert payer.wallet.posted == 893
    assert RECORDS.filter(organization=payer.organization).count() == 2
    assert verify_books()["ok"]


def test_a_charge_above_the_lease_takes_what_is_free() -> None:
    payer, holder = make_payer(1_000), uuid4()
    lease(payer, holder, 100)
    settle(holder, make_record(payer, 250))
    assert (payer.wallet.posted, payer.wallet.pending) == (750, 0)
    assert verify_books()["ok"]


def test_what_others_have_leased_is_not_touched() -> None:
    payer, ours, theirs = make_payer(1_000), uuid4(), uuid4()
    lease(payer, ours, 100)
    lease(payer, theirs, 800)
    settle(ours, make_record(payer, 500))
    [record] = RECORDS.filter(organization=payer.organization)
    assert (record.charge_nano, record.uncollected_nano) == (200, 300)
    assert (payer.wallet.posted, payer.wallet.pending) == (800, 800)
    assert verify_books()["ok"]


def test_of_several_records_the_first_are_paid() -> None:
    payer, holder = make_payer(100), uuid4()
    records = [make_record(payer, 60), make_record(payer, 60), make_record(payer, 60)]
    records.sort(key=lambda record: record["request_id"])
    settle(holder, *records)
    paid = dict(RECORDS.filter(organization=payer.organization).values_list("request_id", "charge_nano"))
    assert [paid[record["request_id"]] for record in records] == [60, 40, 0]
    assert payer.wallet.posted == 0


def test_several_wallets_in_one_batch() -> None:
    first, second, holder = make_payer(1_000), make_payer(1_000), uuid4()
    settle(holder, make_record(second, 20), make_record(first, 10), make_record(second, 30))
    assert (first.wallet.posted, second.wallet.posted) == (990, 950)
    [batch] = SettlementBatch.objects.all()
    assert (batch.records, batch.charge_nano) == (3, 60)


@pytest.mark.parametrize("broken", [{"organization_id": 999_999_999}, {"model": None}, {"input_tokens": -1}])
def test_a_bad_record_leaves_nothing_behind(broken: dict[str, object]) -> None:
    payer, holder = make_payer(1_000), uuid4()
    with pytest.raises(DatabaseError), transaction.atomic():
        settle(holder, make_record(payer, 10), {**make_record(payer, 10), **broken})
    assert payer.wallet.posted == 1_000
    assert not SettlementBatch.objects.exists()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE billing_wallet SET posted = -1",
        "UPDATE billing_wallet SET pending = posted + 1",
        "UPDATE billing_lease SET settled = granted + 1",
    ],
)
def test_the_database_refuses_impossible_wallets_and_leases(change: str) -> None:
    payer = make_payer(1_000)
    lease(payer, uuid4(), 10)
    with pytest.raises(IntegrityError), connection.cursor() as cursor:
        cursor.execute(change)


@pytest.mark.parametrize("table", ["billing_usagerecord", "billing_grant", "accounts_auditevent"])
@pytest.mark.parametrize("change", ["DELETE FROM {}", "UPDATE {} SET organization_id = organization_id"])
def test_history_cannot_be_changed(table: str, change: str) -> None:
    payer = make_payer(1_000)
    settle(uuid4(), make_record(payer, 10))
    assert Grant.across_all_organizations.exists()
    with pytest.raises(IntegrityError, match="append-only"), connection.cursor() as cursor:
        cursor.execute(change.format(table))
