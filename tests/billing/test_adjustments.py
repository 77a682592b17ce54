"""What operators move by hand: reasons, a second operator over the limit, and books that stay equal."""

from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, transaction

from accounts.models import AuditEvent, User
from billing.adjusting import OwesLess, TooLittleToTake
from billing.adjustments import (
    AdjustmentDecided,
    AdjustmentRefused,
    TransferKnown,
    approve_adjustment,
    record_top_up,
    reject_adjustment,
    request_adjustment,
)
from billing.aggregation import aggregate_batches
from billing.debts import collect_debts
from billing.ledger import Account
from billing.models import Adjustment, AdjustmentKind, LedgerTransaction, Lot, LotKind, PostingKind
from billing.operators import ReasonMissing, SecondOperatorNeeded
from tests.billing.test_settle_concurrency import at_once
from tests.factories.credit import arrive, assert_money_adds_up, balance, remaining, spend
from tests.factories.money import Payer, end_lease, lease, make_payer

LIMIT = 100
GOODWILL, TAKE_BACK, WRITE_OFF = AdjustmentKind.GOODWILL, AdjustmentKind.TAKE_BACK, AdjustmentKind.WRITE_OFF


@pytest.fixture(autouse=True)
def limit(settings: Any) -> None:
    settings.SECOND_OPERATOR_OVER_NANO = LIMIT


@pytest.fixture
def ada(db: None) -> User:
    return User.objects.create_user("ada@example.com")


@pytest.fixture
def grace(db: None) -> User:
    return User.objects.create_user("grace@example.com")


def adjust(payer: Payer, kind: AdjustmentKind, amount: int, **terms: Any) -> Adjustment:
    values = {"reason": "because", "fact_key": uuid4().hex, **terms}
    return request_adjustment(organization=payer.organization, kind=kind, amount_nano=amount, **values)


def in_debt(amount: int, credit: int = 0) -> Payer:
    payer = make_payer()
    if credit:
        arrive(payer, credit)
    adjust(payer, TAKE_BACK, amount + credit, may_owe=True)
    assert payer.wallet.receivable == amount
    return payer


@pytest.mark.django_db
class TestPosting:
    def test_goodwill_is_promotional_credit_and_a_cost_of_its_own(self) -> None:
        payer = make_payer()
        adjustment = adjust(payer, GOODWILL, 40)
        assert payer.wallet.posted == 40
        assert Lot.across_all_organizations.get().kind == LotKind.PROMOTIONAL
        assert balance(Account.GOODWILL) == 40
        assert adjustment.transaction is not None
        assert adjustment.transaction.kind == PostingKind.ADJUSTMENT
        assert_money_adds_up()

    def test_taking_back_begins_with_what_would_be_spent_last(self) -> None:
        payer = make_payer()
        promotional, paid = arrive(payer, 50, LotKind.PROMOTIONAL), arrive(payer, 30)
        adjust(payer, TAKE_BACK, 45)
        assert remaining(promotional, paid) == [35, 0]
        assert (payer.wallet.posted, payer.wallet.status) == (35, "active")
        assert_money_adds_up()

    def test_no_more_is_taken_than_nobody_has_spent_or_holds(self) -> None:
        payer, holder = make_payer(), uuid4()
        arrive(payer, 100)
        spend(payer, 30, aggregated=False)
        lease(payer, holder, 20)
        with pytest.raises(TooLittleToTake, match=r"0\.00000005 "):
            adjust(payer, TAKE_BACK, 60)
        assert (payer.wallet.posted, Adjustment.across_all_organizations.count()) == (70, 0)

    def test_the_rest_is_owed_where_that_was_asked_for(self) -> None:
        payer, holder = make_payer(), uuid4()
        arrive(payer, 100)
        spend(payer, 30, aggregated=False)
        lease(payer, holder, 20)
        adjust(payer, TAKE_BACK, 60, may_owe=True)
        wallet = payer.wallet
        assert (wallet.posted, wallet.pending, wallet.receivable, wallet.status) == (20, 20, 10, "blocked")
        aggregate_batches()
        assert_money_adds_up()

    def test_forgiving_a_debt_opens_the_wallet(self) -> None:
        payer = in_debt(60)
        adjust(payer, WRITE_OFF, 20)
        assert (payer.wallet.receivable, payer.wallet.status) == (40, "blocked")
        adjust(payer, WRITE_OFF, 40)
        assert (payer.wallet.receivable, payer.wallet.status) == (0, "active")
        assert balance(Account.BAD_DEBT) == 60
        assert_money_adds_up()

    def test_no_more_is_forgiven_than_is_owed(self) -> None:
        with pytest.raises(OwesLess):
            adjust(in_debt(60), WRITE_OFF, 61)

    def test_a_bank_transfer_is_paid_credit_and_its_tax_is_none(self) -> None:
        payer = make_payer()
        top_up(payer, "2026-117", tax_nano=8)
        assert payer.wallet.posted == 40
        assert Lot.across_all_organizations.get().kind == LotKind.PAID
        assert (balance(Account.BANK), balance(Account.TAX_PAYABLE)) == (48, -8)
        assert LedgerTransaction.objects.get().kind == PostingKind.TOP_UP
        assert_money_adds_up()

    def test_a_bank_reference_counts_once(self) -> None:
        payer = make_payer()
        top_up(payer, "2026-117")
        with pytest.raises(TransferKnown):
            top_up(make_payer(), " 2026-117 ")
        with pytest.raises(AdjustmentRefused):
            top_up(payer, "  ")
        assert payer.wallet.posted == 40

    def test_the_same_form_twice_is_posted_once(self) -> None:
        payer = make_payer()
        for _ in range(2):
            adjust(payer, GOODWILL, 40, fact_key="form")
        assert payer.wallet.posted == 40
        with pytest.raises(AdjustmentRefused):
            adjust(make_payer(), GOODWILL, 40, fact_key="form")

    @pytest.mark.parametrize(("amount", "tax"), [(0, 0), (-5, 0), (5, -1)])
    def test_nothing_is_no_adjustment(self, amount: int, tax: int) -> None:
        with pytest.raises(AdjustmentRefused):
            adjust(make_payer(), GOODWILL, amount, tax_nano=tax)

    def test_it_needs_a_reason(self) -> None:
        with pytest.raises(ReasonMissing):
            adjust(make_payer(), GOODWILL, 5, reason=" ")

    def test_it_is_audited_with_what_the_wallet_held(self, ada: User) -> None:
        payer = make_payer()
        adjust(payer, GOODWILL, 40, requested_by=ada, ip="192.0.2.7")
        event = AuditEvent.objects.get(action="adjustment.posted")
        assert (event.actor, event.reason, event.ip) == (ada, "because", "192.0.2.7")
        assert event.before == {"posted_nano": 0, "receivable_nano": 0}
        assert event.after == {
            "kind": "goodwill",
            "amount_nano": 40,
            "posted_nano": 40,
            "receivable_nano": 0,
        }


def top_up(payer: Payer, reference: str, amount: int = 40, **terms: Any) -> Adjustment:
    values = {"reason": "bank statement", "fact_key": uuid4().hex, **terms}
    return record_top_up(organization=payer.organization, amount_nano=amount, reference=reference, **values)


@pytest.mark.django_db
class TestTheSecondOperator:
    def test_up_to_the_limit_one_is_enough(self, ada: User) -> None:
        adjustment = adjust(make_payer(), GOODWILL, LIMIT, requested_by=ada)
        assert (adjustment.state, adjustment.needs_second) == ("posted", False)

    def test_over_it_nothing_moves_until_another_approves(self, ada: User, grace: User) -> None:
        payer = make_payer()
        adjustment = adjust(payer, GOODWILL, LIMIT + 1, requested_by=ada)
        assert (adjustment.state, payer.wallet.posted) == ("requested", 0)
        assert not LedgerTransaction.objects.exists()
        for _ in range(2):
            approved = approve_adjustment(adjustment=adjustment, approved_by=grace)
        assert (approved.state, approved.decided_by) == ("posted", grace)
        assert payer.wallet.posted == LIMIT + 1
        assert_money_adds_up()

    def test_a_limit_of_nothing_asks_for_two_always(self, settings: Any, ada: User) -> None:
        settings.SECOND_OPERATOR_OVER_NANO = 0
        assert adjust(make_payer(), GOODWILL, 1, requested_by=ada).state == "requested"

    def test_tax_counts_too(self, ada: User) -> None:
        assert top_up(make_payer(), "x", LIMIT, tax_nano=1, recorded_by=ada).state == "requested"

    def test_nobody_approves_their_own(self, ada: User) -> None:
        payer = make_payer()
        adjustment = adjust(payer, GOODWILL, LIMIT + 1, requested_by=ada)
        with pytest.raises(SecondOperatorNeeded):
            approve_adjustment(adjustment=adjustment, approved_by=ada)
        assert payer.wallet.posted == 0

    def test_the_database_knows_that_too(self, ada: User) -> None:
        adjust(make_payer(), GOODWILL, 5)
        transaction_id = LedgerTransaction.objects.get().pk
        waiting = adjust(make_payer(), GOODWILL, LIMIT + 1, requested_by=ada)
        rows = Adjustment.across_all_organizations.filter(pk=waiting.pk)
        Adjustment.across_all_organizations.exclude(pk=waiting.pk).update(state="rejected", transaction=None)
        with pytest.raises(IntegrityError), transaction.atomic():
            rows.update(state="posted", decided_by=ada, transaction=transaction_id)

    def test_rejected_it_stays_so(self, ada: User, grace: User) -> None:
        payer = make_payer()
        adjustment = adjust(payer, GOODWILL, LIMIT + 1, requested_by=ada)
        with pytest.raises(ReasonMissing):
            reject_adjustment(adjustment=adjustment, rejected_by=grace, reason="")
        for _ in range(2):
            reject_adjustment(adjustment=adjustment, rejected_by=grace, reason="too much")
        with pytest.raises(AdjustmentDecided):
            approve_adjustment(adjustment=adjustment, approved_by=grace)
        assert payer.wallet.posted == 0
        assert AuditEvent.objects.filter(action="adjustment.rejected").count() == 1

    def test_posted_it_cannot_be_rejected(self, ada: User) -> None:
        adjustment = adjust(make_payer(), GOODWILL, 5)
        with pytest.raises(AdjustmentDecided):
            reject_adjustment(adjustment=adjustment, rejected_by=ada, reason="no")

    def test_what_could_not_be_posted_does_not_wait_either(self, ada: User) -> None:
        with pytest.raises(TooLittleToTake):
            adjust(make_payer(), TAKE_BACK, LIMIT + 1, requested_by=ada)
        assert not Adjustment.across_all_organizations.exists()

    def test_what_cannot_be_posted_any_more_waits_on(self, ada: User, grace: User) -> None:
        payer = make_payer()
        arrive(payer, LIMIT + 1)
        adjustment = adjust(payer, TAKE_BACK, LIMIT + 1, requested_by=ada)
        spend(payer, 10)
        with pytest.raises(TooLittleToTake):
            approve_adjustment(adjustment=adjustment, approved_by=grace)
        assert Adjustment.across_all_organizations.get().state == "requested"
        assert_money_adds_up()

    def test_a_rejected_transfer_can_be_recorded_again(self, ada: User, grace: User) -> None:
        payer = make_payer()
        first = top_up(payer, "2026-117", LIMIT + 1, recorded_by=ada)
        with pytest.raises(TransferKnown):
            top_up(payer, "2026-117", recorded_by=ada)
        reject_adjustment(adjustment=first, rejected_by=grace, reason="typing error")
        top_up(payer, "2026-117", recorded_by=ada)
        assert payer.wallet.posted == 40


@pytest.mark.django_db
class TestDebts:
    def test_credit_that_comes_back_pays_what_is_owed(self) -> None:
        payer, holder = make_payer(), uuid4()
        arrive(payer, 100)
        lease(payer, holder, 80)
        adjust(payer, TAKE_BACK, 50, may_owe=True)
        assert collect_debts() == 0
        end_lease(payer, holder)
        assert [collect_debts(), collect_debts()] == [1, 0]
        wallet = payer.wallet
        assert (wallet.posted, wallet.receivable, wallet.status) == (50, 0, "active")
        assert_money_adds_up()

    def test_a_frozen_wallet_is_left_alone(self) -> None:
        payer, holder = make_payer(), uuid4()
        arrive(payer, 100)
        lease(payer, holder, 80)
        adjust(payer, TAKE_BACK, 50, may_owe=True)
        end_lease(payer, holder)
        wallet = payer.wallet
        wallet.status = "frozen"
        wallet.save()
        assert collect_debts() == 0


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_one_form_sent_many_times_at_once_is_posted_once(self) -> None:
        payer = make_payer()
        at_once(*[lambda: adjust(payer, GOODWILL, 40, fact_key="form").pk] * 8)
        assert payer.wallet.posted == 40
        assert_money_adds_up()

    def test_many_approvals_at_once_post_once(self, ada: User) -> None:
        payer = make_payer()
        adjustment = adjust(payer, GOODWILL, LIMIT + 1, requested_by=ada)
        others = [User.objects.create_user(f"{number}@example.com") for number in range(6)]
        at_once(
            *[
                lambda other=other: approve_adjustment(adjustment=adjustment, approved_by=other).pk
                for other in others
            ]
        )
        assert payer.wallet.posted == LIMIT + 1

    def test_taking_back_at_once_takes_no_more_than_there_is(self) -> None:
        payer = make_payer()
        arrive(payer, 100)

        def take() -> int:
            try:
                return adjust(payer, TAKE_BACK, 30).amount_nano
            except TooLittleToTake:
                return 0

        assert sum(at_once(*[take] * 6)) == 90
        assert_money_adds_up()

    def test_one_bank_reference_recorded_twice_at_once_counts_once(self) -> None:
        payers = [make_payer(), make_payer()]

        def attempt(payer: Payer) -> bool:
            try:
                top_up(payer, "2026-117")
            except (TransferKnown, IntegrityError):
                return False
            return True

        assert sum(at_once(*[lambda payer=payer: attempt(payer) for payer in payers])) == 1
        assert_money_adds_up()
