"""A charge given back goes to where it came from, never more than it was, and never changes the record."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import Reseller, User
from billing.adjustments import AdjustmentRefused, approve_adjustment, request_correction
from billing.aggregation import aggregate_batches
from billing.corrections import CorrectionTooLarge, NotAggregatedYet, UsageUnknown, correct_usage
from billing.ledger import Account
from billing.models import (
    LedgerTransaction,
    LotKind,
    PostingKind,
    UsageCorrection,
    UsageRecord,
)
from billing.operators import ReasonMissing
from common.ids import uuid7
from tests.billing.test_settle_concurrency import at_once
from tests.factories.credit import arrive, assert_money_adds_up, balance, remaining, spend
from tests.factories.money import Payer, lease, make_payer, make_price, make_record, settle


def give_back(record: dict[str, Any], amount: int | None = None, fact_key: str = "") -> UsageCorrection:
    return correct_usage(
        request_id=record["request_id"],
        amount_nano=amount,
        reason="vendor error",
        fact_key=fact_key or uuid4().hex,
    )


def settle_together(payer: Payer, *prices: int, **facts: Any) -> list[dict[str, Any]]:
    holder = uuid4()
    lease(payer, holder, sum(prices))
    records = [make_record(payer, price, **facts) for price in prices]
    settle(holder, *records)
    aggregate_batches()
    return records


@pytest.mark.django_db
class TestGivingBack:
    def test_all_of_a_charge_comes_back_to_its_lot(self) -> None:
        payer = make_payer()
        lot = arrive(payer, 100)
        correction = give_back(spend(payer, 30))
        assert (correction.amount_nano, remaining(lot), payer.wallet.posted) == (30, [100], 100)
        assert correction.transaction.kind == PostingKind.CORRECTION
        assert balance(Account.PAID_REVENUE) == 0
        assert_money_adds_up()

    def test_the_last_spent_comes_back_first(self) -> None:
        payer = make_payer()
        paid, promotional = arrive(payer, 100), arrive(payer, 30, LotKind.PROMOTIONAL)
        record = spend(payer, 50)
        assert remaining(paid, promotional) == [80, 0]
        give_back(record, 25)
        assert remaining(paid, promotional) == [100, 5]
        give_back(record, 25)
        assert remaining(paid, promotional) == [100, 30]
        assert_money_adds_up()

    def test_two_requests_of_one_posting_share_what_its_lots_gave(self) -> None:
        payer = make_payer()
        paid, promotional = arrive(payer, 100), arrive(payer, 30, LotKind.PROMOTIONAL)
        first, second = settle_together(payer, 25, 25)
        give_back(first)
        assert remaining(paid, promotional) == [100, 5]
        give_back(second)
        assert remaining(paid, promotional) == [100, 30]
        assert_money_adds_up()

    def test_first_off_the_debt_the_request_left(self) -> None:
        payer = make_payer()
        lot = arrive(payer, 100)
        record = spend(payer, 130)
        assert (payer.wallet.receivable, payer.wallet.status) == (30, "blocked")
        correction = give_back(record, 40)
        assert (correction.uncollected_nano, payer.wallet.receivable, payer.wallet.status) == (
            30,
            0,
            "active",
        )
        assert remaining(lot) == [10]
        assert_money_adds_up()

    def test_a_debt_that_was_paid_since_comes_back_as_paid_credit(self) -> None:
        payer = make_payer()
        arrive(payer, 100)
        record = spend(payer, 130)
        arrive(payer, 50)
        assert payer.wallet.posted == 20
        give_back(record)
        assert (payer.wallet.posted, payer.wallet.receivable) == (150, 0)
        assert_money_adds_up()

    def test_the_record_stays_as_it_is(self) -> None:
        payer = make_payer()
        arrive(payer, 100)
        record = spend(payer, 30)
        give_back(record)
        assert UsageRecord.across_all_organizations.get(pk=record["request_id"]).charge_nano == 30

    def test_twice_is_once(self) -> None:
        payer = make_payer()
        arrive(payer, 100)
        record = spend(payer, 30)
        first, second = give_back(record, 10, "form"), give_back(record, 10, "form")
        assert first == second
        assert payer.wallet.posted == 80


@pytest.mark.django_db
class TestMargin:
    def test_a_reseller_loses_what_it_earned_on_it(self) -> None:
        payer = make_customer_of_a_reseller()
        arrive(payer, 100)
        record = spend_with_wholesale(payer, (30, 20))[0]
        assert balance(Account.RESELLER_PAYABLE) == -10
        for amount in (7, 7, 16):
            give_back(record, amount)
        assert balance(Account.RESELLER_PAYABLE) == 0
        assert_money_adds_up()

    def test_on_promotional_credit_it_had_earned_nothing(self) -> None:
        payer = make_customer_of_a_reseller()
        arrive(payer, 100, LotKind.PROMOTIONAL)
        give_back(spend_with_wholesale(payer, (30, 20))[0])
        assert balance(Account.RESELLER_PAYABLE) == 0

    def test_of_mixed_requests_only_its_own_part_goes(self) -> None:
        payer = make_customer_of_a_reseller()
        arrive(payer, 100)
        with_margin, without = spend_with_wholesale(payer, (40, 20), (40, 40))
        give_back(without)
        assert balance(Account.RESELLER_PAYABLE) == -20
        give_back(with_margin)
        assert balance(Account.RESELLER_PAYABLE) == 0


def make_customer_of_a_reseller() -> Payer:
    payer = make_payer()
    payer.organization.reseller = Reseller.objects.create(slug="second", name="Second")
    payer.organization.save()
    return payer


def spend_with_wholesale(payer: Payer, *charges: tuple[int, int]) -> list[dict[str, Any]]:
    """Requests of one posting, (charge, wholesale) each, as settling writes them for a reseller."""
    version = make_price().pk
    holder = uuid4()
    lease(payer, holder, sum(charge for charge, _ in charges))
    records = [make_record(payer, charge) for charge, _ in charges]
    settle(holder, *records)
    rewrite(
        {record["request_id"]: wholesale for record, (_, wholesale) in zip(records, charges, strict=True)},
        version,
    )
    aggregate_batches()
    return records


def rewrite(wholesale: dict[UUID, int], version: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        for request_id, nano in wholesale.items():
            cursor.execute(
                "UPDATE billing_usagerecord SET wholesale_nano = %s, wholesale_version_id = %s"
                " WHERE request_id = %s",
                [nano, version, request_id],
            )
        cursor.execute("SET session_replication_role = origin")


@pytest.mark.django_db
class TestRefusals:
    def test_never_more_than_the_price_over_all_corrections(self) -> None:
        payer = make_payer()
        arrive(payer, 100)
        record = spend(payer, 30)
        give_back(record, 20)
        for amount in (11, 0, -1):
            with pytest.raises(CorrectionTooLarge):
                give_back(record, amount)
        give_back(record)
        with pytest.raises(CorrectionTooLarge):
            give_back(record)
        assert payer.wallet.posted == 100

    def test_a_charge_that_is_not_booked_yet_is_refused_for_now(self) -> None:
        payer = make_payer()
        arrive(payer, 100)
        record = spend(payer, 30, aggregated=False)
        with pytest.raises(NotAggregatedYet):
            give_back(record)
        aggregate_batches()
        give_back(record)

    def test_what_is_not_there_is_refused(self) -> None:
        with pytest.raises(UsageUnknown):
            give_back({"request_id": uuid7()})

    def test_it_needs_a_reason(self) -> None:
        payer = make_payer()
        arrive(payer, 100)
        with pytest.raises(ReasonMissing):
            correct_usage(request_id=spend(payer, 30)["request_id"], reason="", fact_key="f")

    def test_the_database_knows_the_bound_and_keeps_corrections(self) -> None:
        payer = make_payer()
        arrive(payer, 100)
        record = spend(payer, 30)
        correction = give_back(record, 20)
        posting = arrive(payer, 1).origin
        values = {
            "organization": payer.organization,
            "request_id": record["request_id"],
            "amount_nano": 11,
            "uncollected_nano": 0,
            "margin_nano": 0,
            "reason": "r",
            "fact_key": "by mistake",
            "transaction": posting,
        }
        with pytest.raises(DatabaseError), transaction.atomic():
            UsageCorrection.across_all_organizations.create(**values)
        with pytest.raises(DatabaseError), transaction.atomic():
            correction.delete()

    def test_over_the_limit_a_second_operator_decides(self, settings: Any) -> None:
        settings.SECOND_OPERATOR_OVER_NANO = 10
        ada, grace = (User.objects.create_user(f"{name}@example.com") for name in ("ada", "grace"))
        payer = make_payer()
        arrive(payer, 100)
        request_id = spend(payer, 30)["request_id"]
        terms = {"request_id": request_id, "reason": "vendor error", "requested_by": ada}
        waiting = request_correction(fact_key="a", **terms)
        assert (waiting.state, waiting.amount_nano, payer.wallet.posted) == ("requested", 30, 70)
        approve_adjustment(adjustment=waiting, approved_by=grace)
        assert payer.wallet.posted == 100
        assert request_correction(fact_key="a", **terms) == waiting
        with pytest.raises(AdjustmentRefused):
            request_correction(fact_key="b", **terms)


@pytest.mark.django_db
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
@given(
    lots=st.lists(st.tuples(st.integers(1, 60), st.booleans()), min_size=1, max_size=4),
    prices=st.lists(st.integers(1, 50), min_size=1, max_size=4),
    parts=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40)), max_size=8),
)
def test_whatever_is_given_back_the_books_stay_equal(
    lots: list[tuple[int, bool]], prices: list[int], parts: list[tuple[int, int]]
) -> None:
    with transaction.atomic():
        payer = make_payer()
        opened = [
            arrive(payer, size, LotKind.PROMOTIONAL if is_promotional else LotKind.PAID)
            for size, is_promotional in lots
        ]
        records = [spend(payer, price) for price in prices]
        for number, amount in parts:
            try:
                give_back(records[number % len(records)], amount)
            except CorrectionTooLarge:
                continue
        assert_money_adds_up()
        for record in records:
            try:
                give_back(record)
            except CorrectionTooLarge:
                continue
        assert_money_adds_up()
        assert payer.wallet.receivable == 0
        assert payer.wallet.posted == sum(size for size, _ in lots)
        assert remaining(*opened) == [size for size, _ in lots]
        transaction.set_rollback(True)


@pytest.mark.django_db(transaction=True)
def test_given_back_by_many_at_once_it_is_never_more_than_the_charge() -> None:
    payer = make_payer()
    arrive(payer, 100)
    record = spend(payer, 30)

    def attempt() -> int:
        try:
            return give_back(record, 8).amount_nano
        except CorrectionTooLarge:
            return 0

    assert sum(at_once(*[attempt] * 8)) == 24
    assert payer.wallet.posted == 94
    assert_money_adds_up()
    assert LedgerTransaction.objects.filter(kind=PostingKind.CORRECTION).count() == 3
