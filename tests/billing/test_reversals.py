"""A posting undone by its mirror; what was spent of it by then is owed."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from accounts.models import User
from billing.adjustments import AdjustmentRefused, approve_adjustment, request_adjustment, request_reversal
from billing.aggregation import aggregate_batches
from billing.debts import collect_debts
from billing.expiry import expire_lots
from billing.ledger import Account
from billing.models import (
    AdjustmentKind,
    LedgerTransaction,
    Lot,
    LotKind,
    PostingKind,
    RefundState,
    WalletStatus,
)
from billing.operators import ReasonMissing
from billing.refunds import finish_refund, request_refund
from billing.reversals import NotReversible, reverse_transaction
from billing.services import grant_credit
from tests.billing.test_settle_concurrency import at_once
from tests.factories.credit import arrive, assert_money_adds_up, balance, remaining, spend
from tests.factories.money import Payer, end_lease, lease, make_payer

PAST = timezone.now() - timedelta(minutes=1)


def reverse(lot_or_posting: Lot | LedgerTransaction | None) -> LedgerTransaction:
    original = lot_or_posting.origin if isinstance(lot_or_posting, Lot) else lot_or_posting
    assert original is not None
    return reverse_transaction(original=original, reason="mistake")


def wallet_of(payer: Payer) -> tuple[int, int, str]:
    wallet = payer.wallet
    return wallet.posted, wallet.receivable, wallet.status


def adjust(payer: Payer, kind: AdjustmentKind, amount: int, **terms: Any) -> LedgerTransaction:
    adjustment = request_adjustment(
        organization=payer.organization,
        kind=kind,
        amount_nano=amount,
        reason="because",
        fact_key=uuid4().hex,
        **terms,
    )
    assert adjustment.transaction is not None
    return adjustment.transaction


@pytest.mark.django_db
class TestCreditThatCameIn:
    def test_unspent_it_is_as_if_it_had_never_come(self) -> None:
        payer = make_payer()
        lot = arrive(payer, 100, tax_nano=20)
        reversal = reverse(lot)
        assert (reversal.kind, reversal.reverses_id) == (PostingKind.REVERSAL, lot.origin_id)
        assert wallet_of(payer) == (0, 0, "active")
        assert (balance(Account.BANK), balance(Account.TAX_PAYABLE)) == (0, 0)
        assert_money_adds_up()

    def test_what_was_spent_is_owed(self) -> None:
        payer = make_payer()
        lot = arrive(payer, 100)
        spend(payer, 30)
        reverse(lot)
        assert wallet_of(payer) == (0, 30, "blocked")
        assert_money_adds_up()

    def test_charges_that_lots_do_not_show_yet_are_spent_too(self) -> None:
        payer = make_payer()
        lot = arrive(payer, 100)
        spend(payer, 30, aggregated=False)
        reverse(lot)
        assert wallet_of(payer) == (0, 30, "blocked")
        aggregate_batches()
        assert_money_adds_up()

    def test_what_a_lease_held_pays_the_debt_when_it_comes_back(self) -> None:
        payer, holder = make_payer(), uuid4()
        lot = arrive(payer, 100)
        lease(payer, holder, 40)
        reverse(lot)
        assert wallet_of(payer) == (40, 40, "blocked")
        end_lease(payer, holder)
        collect_debts()
        assert wallet_of(payer) == (0, 0, "active")
        assert_money_adds_up()

    def test_other_credit_is_not_touched(self) -> None:
        payer = make_payer()
        wrong, right = arrive(payer, 100), arrive(payer, 50)
        spend(payer, 100)
        reverse(wrong)
        assert remaining(wrong, right) == [0, 50]
        assert wallet_of(payer) == (50, 100, "blocked")
        collect_debts()
        assert wallet_of(payer) == (0, 50, "blocked")
        assert_money_adds_up()

    def test_what_expired_is_not_owed(self) -> None:
        payer = make_payer()
        lot = arrive(payer, 100, LotKind.PROMOTIONAL, expires_at=PAST)
        spend(payer, 30)
        expire_lots()
        reverse(lot)
        assert wallet_of(payer) == (0, 30, "blocked")
        assert balance(Account.PROMOTIONS) == 0
        assert_money_adds_up()

    def test_what_operators_took_back_is_not_owed(self) -> None:
        payer = make_payer()
        lot = arrive(payer, 100)
        adjust(payer, AdjustmentKind.TAKE_BACK, 40)
        spend(payer, 10)
        reverse(lot)
        assert wallet_of(payer) == (0, 10, "blocked")
        assert balance(Account.ROUNDING) == 0
        assert_money_adds_up()

    def test_what_was_refunded_is_owed(self) -> None:
        payer = make_payer()
        lot = arrive(payer, 100)
        refund = request_refund(lot=lot, amount_nano=40, reason="asked for", fact_key="form")
        finish_refund(refund=refund, outcome=RefundState.SUCCEEDED)
        reverse(lot)
        assert wallet_of(payer) == (0, 40, "blocked")
        assert_money_adds_up()

    def test_a_debt_it_had_paid_is_owed_again(self) -> None:
        payer = make_payer()
        adjust(payer, AdjustmentKind.TAKE_BACK, 30, may_owe=True)
        lot = arrive(payer, 100)
        assert wallet_of(payer) == (70, 0, "active")
        reverse(lot)
        assert wallet_of(payer) == (0, 30, "blocked")
        assert_money_adds_up()

    def test_a_grant_and_goodwill_are_reversed_likewise(self) -> None:
        payer = make_payer()
        grant = grant_credit(
            organization=payer.organization, amount_nano=50, reason="r", fact_key="g", campaign="x"
        )
        goodwill = adjust(payer, AdjustmentKind.GOODWILL, 20)
        reverse(LedgerTransaction.objects.get(fact_key=f"grant:{grant.pk}"))
        reverse(goodwill)
        assert wallet_of(payer) == (0, 0, "active")
        assert balance(Account.PROMOTIONS) == balance(Account.GOODWILL) == 0
        assert_money_adds_up()

    def test_a_frozen_wallet_stays_frozen(self) -> None:
        payer = make_payer()
        lot = arrive(payer, 100)
        spend(payer, 30)
        wallet = payer.wallet
        wallet.status = WalletStatus.FROZEN
        wallet.save()
        reverse(lot)
        assert wallet_of(payer) == (0, 30, "frozen")


@pytest.mark.django_db
class TestCreditThatWasTaken:
    def test_it_comes_back_to_its_lots(self) -> None:
        payer = make_payer()
        promotional, paid = arrive(payer, 50, LotKind.PROMOTIONAL), arrive(payer, 30)
        reverse(adjust(payer, AdjustmentKind.TAKE_BACK, 45))
        assert remaining(promotional, paid) == [50, 30]
        assert wallet_of(payer) == (80, 0, "active")
        assert balance(Account.ROUNDING) == 0
        assert_money_adds_up()

    def test_the_debt_it_made_is_gone(self) -> None:
        payer = make_payer()
        lot = arrive(payer, 30)
        reverse(adjust(payer, AdjustmentKind.TAKE_BACK, 80, may_owe=True))
        assert remaining(lot) == [30]
        assert wallet_of(payer) == (30, 0, "active")
        assert_money_adds_up()

    def test_a_debt_that_was_paid_meanwhile_comes_back_as_credit(self) -> None:
        payer = make_payer()
        taking = adjust(payer, AdjustmentKind.TAKE_BACK, 80, may_owe=True)
        arrive(payer, 100)
        reverse(taking)
        assert wallet_of(payer) == (100, 0, "active")
        assert_money_adds_up()

    def test_a_forgiven_debt_is_owed_again(self) -> None:
        payer = make_payer()
        adjust(payer, AdjustmentKind.TAKE_BACK, 80, may_owe=True)
        reverse(adjust(payer, AdjustmentKind.WRITE_OFF, 80))
        assert wallet_of(payer) == (0, 80, "blocked")
        assert balance(Account.BAD_DEBT) == 0
        assert_money_adds_up()


@pytest.mark.django_db
class TestRefusals:
    def test_twice_is_once(self) -> None:
        payer = make_payer()
        lot = arrive(payer, 100)
        assert reverse(lot) == reverse(lot)
        assert LedgerTransaction.objects.filter(kind=PostingKind.REVERSAL).count() == 1

    def test_usage_expiry_refunds_and_reversals_are_not_reversed(self) -> None:
        payer = make_payer()
        lot = arrive(payer, 100)
        spend(payer, 10)
        request_refund(lot=lot, amount_nano=10, reason="asked for", fact_key="form")
        arrive(payer, 10, expires_at=PAST)
        expire_lots()
        reverse(arrive(payer, 5))
        kinds = (PostingKind.USAGE, PostingKind.EXPIRY, PostingKind.REFUND, PostingKind.REVERSAL)
        for kind in kinds:
            with pytest.raises(NotReversible):
                reverse(LedgerTransaction.objects.get(kind=kind))

    def test_what_a_wallet_paid_by_itself_is_not_reversed(self) -> None:
        payer, holder = make_payer(), uuid4()
        arrive(payer, 50)
        lease(payer, holder, 50)
        adjust(payer, AdjustmentKind.TAKE_BACK, 20, may_owe=True)
        end_lease(payer, holder)
        collect_debts()
        with pytest.raises(NotReversible):
            reverse(LedgerTransaction.objects.get(fact_key__startswith="collect:"))

    def test_it_needs_a_reason(self) -> None:
        lot = arrive(make_payer(), 100)
        with pytest.raises(ReasonMissing):
            reverse_transaction(original=lot.origin, reason=" ")

    def test_over_the_limit_a_second_operator_decides(self, settings: Any) -> None:
        settings.SECOND_OPERATOR_OVER_NANO = 50
        ada, grace = (User.objects.create_user(f"{name}@example.com") for name in ("ada", "grace"))
        payer = make_payer()
        lot = arrive(payer, 100)
        waiting = request_reversal(original=lot.origin, reason="mistake", fact_key="a", requested_by=ada)
        assert (waiting.state, payer.wallet.posted) == ("requested", 100)
        with pytest.raises(AdjustmentRefused):
            request_reversal(original=lot.origin, reason="mistake", fact_key="b", requested_by=grace)
        approve_adjustment(adjustment=waiting, approved_by=grace)
        assert payer.wallet.posted == 0
        again = request_reversal(original=lot.origin, reason="mistake", fact_key="a", requested_by=ada)
        assert again == waiting
        with pytest.raises(AdjustmentRefused):
            request_reversal(original=lot.origin, reason="mistake", fact_key="c", requested_by=ada)


@pytest.mark.django_db(transaction=True)
def test_reversed_by_many_at_once_it_is_reversed_once() -> None:
    payer = make_payer()
    lot = arrive(payer, 100)
    reversals = at_once(*[lambda: reverse(lot).pk] * 6)
    assert len(set(reversals)) == 1
    assert wallet_of(payer) == (0, 0, "active")
    assert_money_adds_up()
