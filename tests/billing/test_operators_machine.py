"""The state machine of money, and in between whatever operators, customers and sweeps can do by hand.

`MONEY_MACHINE_STEPS` sets how many steps in all, as for the machine it builds on.
"""

from contextlib import suppress

import pytest
from django.db.models import QuerySet
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from accounts.models import User
from accounts.services import ensure_house_reseller
from billing.adjusting import OwesLess, TooLittleToTake
from billing.adjustments import (
    AdjustmentRefused,
    approve_adjustment,
    record_top_up,
    reject_adjustment,
    request_adjustment,
    request_correction,
    request_reversal,
)
from billing.corrections import CorrectionTooLarge, NotAggregatedYet
from billing.debts import collect_debts
from billing.expiry import expire_lots
from billing.models import (
    Adjustment,
    AdjustmentKind,
    AdjustmentState,
    LedgerTransaction,
    Lot,
    LotKind,
    Refund,
    RefundState,
    UsageRecord,
    Voucher,
)
from billing.refunds import RefundTooLarge, finish_refund, request_refund
from billing.reversals import REVERSIBLE, NotReversible
from billing.vouchers import VoucherRefused, VoucherTerms, create_voucher, redeem_voucher
from tests.billing.test_money_machine import STEPS, STEPS_EACH, WALLETS, Isolated

pytestmark = pytest.mark.usefixtures("low_limit")
LIMIT = 1_000
SUMS = st.integers(1, 2_500)
REFUSED = (
    AdjustmentRefused,
    CorrectionTooLarge,
    NotAggregatedYet,
    NotReversible,
    OwesLess,
    RefundTooLarge,
    TooLittleToTake,
    VoucherRefused,
)


class OperatorsMachine(Isolated):
    """Whoever is over the limit is approved or rejected by the other of two operators."""

    def __init__(self) -> None:
        super().__init__()
        self.asking = User.objects.create_user("asking@example.com")
        self.deciding = User.objects.create_user("deciding@example.com")
        for number in range(3):
            terms = VoucherTerms(
                reseller=ensure_house_reseller(), campaign="c", amount_nano=50, max_uses=number + 1
            )
            create_voucher(terms=terms, code=f"CODE{number}")

    @rule(wallet=WALLETS, amount=SUMS, kind=st.sampled_from(["goodwill", "take_back", "write_off"]))
    def adjust(self, wallet: int, amount: int, kind: str) -> None:
        with suppress(*REFUSED):
            for _ in range(2):  # the form is sent twice
                request_adjustment(
                    organization=self.payers[wallet].organization,
                    kind=AdjustmentKind(kind),
                    amount_nano=amount,
                    may_owe=amount % 2 == 0,
                    reason="r",
                    fact_key=self._key(),
                    requested_by=self.asking,
                )
            self.came_in[wallet] += amount

    @rule(wallet=WALLETS, amount=SUMS)
    def transfer(self, wallet: int, amount: int) -> None:
        record_top_up(
            organization=self.payers[wallet].organization,
            amount_nano=amount,
            tax_nano=amount // 5,
            reference=self._key(),
            reason="r",
            fact_key=self._key(),
            recorded_by=self.asking,
        )
        self.came_in[wallet] += amount

    @rule(approved=st.booleans())
    def decide(self, approved: bool) -> None:
        rows = Adjustment.across_all_organizations.filter(organization__in=self._organizations())
        waiting = rows.filter(state=AdjustmentState.REQUESTED).first()
        if waiting is None:
            return
        if not approved:
            reject_adjustment(adjustment=waiting, rejected_by=self.deciding, reason="r")
            return
        with suppress(*REFUSED):
            approve_adjustment(adjustment=waiting, approved_by=self.deciding)

    @rule(wallet=WALLETS, number=st.integers(0, 2))
    def redeem(self, wallet: int, number: int) -> None:
        with suppress(*REFUSED):
            redeem_voucher(organization=self.payers[wallet].organization, code=f"code-{number}")
            self.came_in[wallet] += 50

    @rule()
    def expire(self) -> None:
        expire_lots()

    @rule()
    def collect(self) -> None:
        collect_debts()

    @rule(data=st.data(), amount=SUMS)
    def ask_for_refund(self, data: st.DataObject, amount: int) -> None:
        lots = self._lots().filter(kind=LotKind.PAID, remaining__gt=0)
        lot = data.draw(st.sampled_from(list(lots))) if lots else None
        if lot is not None:
            with suppress(*REFUSED):
                request_refund(
                    lot=lot,
                    amount_nano=min(amount, lot.remaining),
                    reason="r",
                    fact_key=self._key(),
                    requested_by=self.asking,
                )

    @rule(data=st.data(), outcome=st.sampled_from([RefundState.SUCCEEDED, RefundState.FAILED]))
    def end_refund(self, data: st.DataObject, outcome: RefundState) -> None:
        rows = Refund.across_all_organizations.filter(organization__in=self._organizations())
        open_ones = list(rows.filter(state=RefundState.REQUESTED).order_by("pk"))
        if open_ones:
            refund = data.draw(st.sampled_from(open_ones))
            for _ in range(2):
                finish_refund(refund=refund, outcome=outcome, actor=self.deciding)

    @rule(data=st.data())
    def reverse(self, data: st.DataObject) -> None:
        postings = LedgerTransaction.objects.filter(kind__in=REVERSIBLE).order_by("posted_at")
        ours = [one for one in postings if one.entries.filter(account__owner__in=self._owners()).exists()]
        with suppress(*REFUSED):
            request_reversal(
                original=data.draw(st.sampled_from(ours)),
                reason="r",
                fact_key=self._key(),
                requested_by=self.asking,
            )

    @precondition(lambda self: self.prices)
    @rule(data=st.data(), part=st.integers(1, 4))
    def give_back(self, data: st.DataObject, part: int) -> None:
        request_id = data.draw(st.sampled_from(sorted(self.prices)))
        record = UsageRecord.across_all_organizations.filter(pk=request_id).first()
        if record is None or not record.charge_nano:
            return
        with suppress(*REFUSED):
            request_correction(
                request_id=request_id,
                amount_nano=max(1, record.charge_nano // part) if part > 1 else None,
                reason="r",
                fact_key=self._key(),
                requested_by=self.asking,
            )

    def _key(self) -> str:
        return f"{id(self)}-{self.steps}"

    def _organizations(self) -> list[int]:
        return [payer.organization.pk for payer in self.payers]

    def _owners(self) -> list[str]:
        return [f"organization:{number}" for number in self._organizations()]

    def _lots(self) -> QuerySet[Lot]:
        return Lot.across_all_organizations.filter(organization__in=self._organizations()).order_by("pk")


@pytest.fixture
def low_limit(settings: object) -> None:
    settings.SECOND_OPERATOR_OVER_NANO = LIMIT  # type: ignore[attr-defined]


@pytest.mark.django_db
@pytest.mark.timeout(1800)
def test_whatever_operators_do_in_between_the_books_balance() -> None:
    examples = settings(
        max_examples=max(1, STEPS // STEPS_EACH),
        stateful_step_count=STEPS_EACH,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    run_state_machine_as_test(OperatorsMachine, settings=examples)
    assert Voucher.objects.count() == 0
