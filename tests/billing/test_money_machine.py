"""A state machine over all that moves money: after every step the books balance, nothing is paid twice.

`MONEY_MACHINE_STEPS` sets how many steps in all; `make chaos` walks ten thousand.
"""

import os
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from billing import services
from billing.adjustments import request_adjustment
from billing.aggregation import aggregate_batches
from billing.books import verify_books
from billing.corrections import correct_usage
from billing.credit import Credit
from billing.debts import collect_debts
from billing.expiry import expire_lots
from billing.freezing import freeze_wallet, unfreeze_wallet
from billing.ledger import Account, Owner, fold
from billing.lots import Arrival, bring_in
from billing.models import (
    AdjustmentKind,
    LedgerAccount,
    LedgerEntry,
    LedgerTransaction,
    LedgerUnfolded,
    Lot,
    LotKind,
    PostingKind,
    Refund,
    RefundState,
    UsageRecord,
    Wallet,
)
from billing.refunds import finish_refund, request_refund
from billing.reversals import reverse_transaction
from billing.vouchers import VoucherRefused, VoucherTerms, create_voucher, redeem_voucher
from common.errors import AppError
from common.ids import uuid7
from tests.factories.money import Payer, end_lease, lease, make_payer, make_price, make_record, settle

STEPS = int(os.environ.get("MONEY_MACHINE_STEPS", "1000"))
STEPS_EACH = 50
FULL_CHECK_EVERY = 10

AMOUNTS = st.integers(0, 2_000)
WALLETS = st.integers(0, 1)
PROCESSES = st.integers(0, 2)


@dataclass
class Process:
    """A relay process as far as money knows it: its name, its credit in memory, what it has admitted."""

    holder: UUID = field(default_factory=uuid4)
    credits: dict[int, Credit] = field(default_factory=dict)
    holds: list[tuple[int, int, int]] = field(default_factory=list)  # wallet, amount, generation
    spool: list[tuple[UUID, list[dict[str, Any]]]] = field(default_factory=list)

    def credit(self, wallet: int) -> Credit:
        return self.credits.setdefault(wallet, Credit(wallet))


class MoneyMachine(RuleBasedStateMachine):
    """Two wallets, three relay processes. The model keeps only what came in and what every request cost."""

    def __init__(self) -> None:
        super().__init__()
        self.payers: list[Payer] = [make_payer(1_000), make_payer(5)]
        self.processes = [Process(), Process(), Process()]
        self.came_in = [1_000, 5]
        self.batches: list[tuple[UUID, UUID, list[dict[str, Any]]]] = []
        self.prices: dict[UUID, int] = {}
        self.steps = 0
        reseller = self.payers[0].organization.reseller
        terms = VoucherTerms(reseller=reseller, campaign="c", amount_nano=400, max_uses=2)
        self.code = create_voucher(terms=terms, code=f"CODE{uuid7().hex[-12:]}").code

    @rule(wallet=WALLETS, amount=st.integers(1, 3_000), days=st.sampled_from([None, -1, 5]))
    def grant(self, wallet: int, amount: int, days: int | None) -> None:
        expires_at = None if days is None else timezone.now() + timedelta(days=days)
        for _ in range(2):  # told twice
            services.grant_credit(
                organization=self.payers[wallet].organization,
                amount_nano=amount,
                reason="r",
                fact_key=f"grant {self.steps}-{id(self)}",
                expires_at=expires_at,
            )
        self.came_in[wallet] += amount

    @rule(wallet=WALLETS, amount=st.integers(1, 3_000), tax=st.integers(0, 500))
    def top_up(self, wallet: int, amount: int, tax: int) -> None:
        arrival = Arrival(
            organization_id=self.payers[wallet].organization.pk,
            kind=LotKind.PAID,
            amount_nano=amount,
            tax_nano=tax,
            fact_key=f"top-up {self.steps}-{id(self)}",
            posting_kind=PostingKind.TOP_UP,
            source=Account.BANK,
            source_owner=Owner.OPERATOR,
        )
        bring_in(arrival)
        bring_in(arrival)
        self.came_in[wallet] += amount

    @rule(wallet=WALLETS)
    def redeem(self, wallet: int) -> None:
        """A code good for both wallets together once each."""
        with suppress(VoucherRefused):
            self.came_in[wallet] += redeem_voucher(
                organization=self.payers[wallet].organization, code=self.code
            ).grant.amount_nano

    @rule()
    def expire(self) -> None:
        expire_lots()

    @rule()
    def collect(self) -> None:
        collect_debts()

    @rule(data=st.data(), part=st.integers(1, 100))
    def start_refund(self, data: st.DataObject, part: int) -> None:
        lots = list(Lot.across_all_organizations.filter(kind=LotKind.PAID).order_by("pk"))
        if lots:
            lot = data.draw(st.sampled_from(lots))
            with suppress(AppError):
                request_refund(
                    lot=lot,
                    amount_nano=max(1, lot.original * part // 100),
                    reason="r",
                    fact_key=f"refund {self.steps}-{id(self)}",
                )

    @rule(data=st.data(), outcome=st.sampled_from([RefundState.SUCCEEDED, RefundState.FAILED]))
    def end_refund(self, data: st.DataObject, outcome: RefundState) -> None:
        refunds = list(Refund.across_all_organizations.order_by("pk"))
        if refunds:
            with suppress(AppError):
                finish_refund(refund=data.draw(st.sampled_from(refunds)), outcome=outcome)

    @rule(data=st.data())
    def reverse(self, data: st.DataObject) -> None:
        """Any posting at all: what cannot be reversed is refused and changes nothing."""
        postings = list(LedgerTransaction.objects.order_by("pk"))
        if postings:
            with suppress(AppError):
                reverse_transaction(original=data.draw(st.sampled_from(postings)), reason="r")

    @rule(data=st.data(), amount=st.none() | st.integers(1, 2_000))
    def correct(self, data: st.DataObject, amount: int | None) -> None:
        if self.prices:
            with suppress(AppError):
                correct_usage(
                    request_id=data.draw(st.sampled_from(sorted(self.prices))),
                    amount_nano=amount,
                    reason="r",
                    fact_key=f"correction {self.steps}-{id(self)}",
                )

    @rule(wallet=WALLETS, kind=st.sampled_from(["goodwill", "take_back", "write_off"]), amount=AMOUNTS)
    def adjust(self, wallet: int, kind: str, amount: int) -> None:
        with suppress(AppError):
            request_adjustment(
                organization=self.payers[wallet].organization,
                kind=AdjustmentKind(kind),
                amount_nano=amount,
                reason="r",
                fact_key=f"adjustment {self.steps}-{id(self)}",
                may_owe=amount % 2 == 0,
            )
            self.came_in[wallet] += amount if kind == "goodwill" else 0

    @rule(wallet=WALLETS, frozen=st.booleans())
    def freeze(self, wallet: int, frozen: bool) -> None:
        change = freeze_wallet if frozen else unfreeze_wallet
        with suppress(AppError):
            change(organization=self.payers[wallet].organization, reason="r")

    @rule(rate=st.integers(1, 10**12))
    def change_price(self, rate: int) -> None:
        make_price(input=rate, output=rate)

    @rule(wallet=WALLETS, process=PROCESSES, need=AMOUNTS, want=AMOUNTS)
    def lease_credit(self, wallet: int, process: int, need: int, want: int) -> None:
        free, holder = self.wallet(wallet).available, self.processes[process].holder
        granted, left = lease(self.payers[wallet], holder, need, want=want, seconds=60)
        assert granted == 0 or need <= granted <= free
        self.processes[process].credit(wallet).grow(granted, left, deadline=1.0 if granted else 0.0)

    @rule(wallet=WALLETS, process=PROCESSES, amount=AMOUNTS)
    def admit(self, wallet: int, process: int, amount: int) -> None:
        credit = self.processes[process].credit(wallet)
        if credit.has_lease() and credit.admits(amount, now=0.0):
            credit.take(amount, now=0.0)
            self.processes[process].holds.append((wallet, amount, credit.generation))

    @rule(process=PROCESSES, cost=st.integers(0, 120), spooled=st.booleans())
    def finish(self, process: int, cost: int, spooled: bool) -> None:
        """Settle all that was admitted, at `cost` per cent of its hold: above 100 is an overrun."""
        chosen = self.processes[process]
        records = []
        for wallet, amount, generation in chosen.holds:
            price = amount * cost // 100
            records.append(make_record(self.payers[wallet], price))
            chosen.credit(wallet).give_back(amount, price, generation)
        chosen.holds.clear()
        if records:
            self.prices |= {record["request_id"]: record["price_nano"] for record in records}
            chosen.spool.append((uuid7(), records))
        if not spooled:
            self._replay(chosen)

    @rule(process=PROCESSES)
    def replay(self, process: int) -> None:
        self._replay(self.processes[process])

    @precondition(lambda self: self.batches)
    @rule(data=st.data(), anew=st.booleans())
    def resend(self, data: st.DataObject, anew: bool) -> None:
        """The answer to a commit was lost: the same batch again, or its records under a new id."""
        batch, holder, records = data.draw(st.sampled_from(self.batches))
        settle(holder, *records, batch=uuid7() if anew else batch)

    @rule(process=PROCESSES)
    def crash(self, process: int) -> None:
        """Memory is gone, the spool is left to the next one, the leases expire and are reaped."""
        dead = self.processes[process]
        self.processes[process] = Process(spool=dead.spool)
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE billing_lease SET expires_at = now() - interval '1 hour' WHERE holder = %s",
                [dead.holder],
            )

    @rule(wallet=WALLETS, process=PROCESSES)
    def return_lease(self, wallet: int, process: int) -> None:
        chosen = self.processes[process]
        before = self.wallet(wallet)
        returned = end_lease(self.payers[wallet], chosen.holder)
        chosen.credit(wallet).end()
        assert self.wallet(wallet).pending == before.pending - returned

    @rule()
    def reap(self) -> None:
        services.reap_expired_leases()

    @rule()
    def aggregate(self) -> None:
        aggregate_batches(at_once=2)

    @rule()
    def fold_ledger(self) -> None:
        fold(at_once=3)

    def wallet(self, number: int) -> Wallet:
        return self.payers[number].wallet

    def _replay(self, process: Process) -> None:
        for batch, records in process.spool:
            settle(process.holder, *records, batch=batch)
            self.batches.append((batch, process.holder, records))
        process.spool.clear()

    @invariant()
    def books_balance(self) -> None:
        """The whole check now and then, what it rests on every time."""
        self.steps += 1
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
            cursor.execute(IDENTITIES)
            assert cursor.fetchall() == []
        if self.steps % FULL_CHECK_EVERY == 0:
            assert [check for check in verify_books()["checks"] if not check["ok"]] == []

    @invariant()
    def every_request_is_accounted_for_once(self) -> None:
        rows = UsageRecord.across_all_organizations.values_list(
            "request_id", "charge_nano", "uncollected_nano"
        )
        waiting = {
            record["request_id"]
            for process in self.processes
            for _, records in process.spool
            for record in records
        }
        settled = {request: price for request, price in self.prices.items() if request not in waiting}
        assert {request: charge + rest for request, charge, rest in rows} == settled

    @invariant()
    def the_ledger_is_whole(self) -> None:
        entries = sum(LedgerEntry.objects.values_list("amount", flat=True))
        balances = sum(LedgerAccount.objects.values_list("balance", flat=True))
        waiting = sum(LedgerUnfolded.objects.values_list("amount", flat=True))
        assert (entries, balances + waiting) == (0, 0)

    @invariant()
    def nobody_paid_more_than_came_in(self) -> None:
        for number, came_in in enumerate(self.came_in):
            wallet = self.wallet(number)
            assert 0 <= wallet.pending <= wallet.posted <= came_in


# Wallets that break what must be true at every moment, aggregated or not.
IDENTITIES = """
SELECT w.organization_id, w.posted, w.pending, w.receivable, l.lots, u.charged, u.uncollected,
    e.leased, a.owed
FROM billing_wallet w
CROSS JOIN LATERAL (SELECT coalesce(sum(remaining), 0) AS lots FROM billing_lot
    WHERE organization_id = w.organization_id) l
CROSS JOIN LATERAL (SELECT coalesce(sum(r.charge_nano), 0) AS charged,
        coalesce(sum(r.uncollected_nano), 0) AS uncollected
    FROM billing_usagerecord r JOIN billing_settlementbatch b ON b.id = r.batch_id
    WHERE b.aggregated_at IS NULL AND r.organization_id = w.organization_id) u
CROSS JOIN LATERAL (SELECT coalesce(sum(granted - settled), 0) AS leased FROM billing_lease
    WHERE wallet_id = w.organization_id AND state = 'open') e
CROSS JOIN LATERAL (SELECT coalesce(sum(balance), 0) AS owed FROM billing_ledgeraccount
    WHERE code = '1100' AND owner = 'organization:' || w.organization_id) a
WHERE w.posted <> l.lots - u.charged OR w.pending <> e.leased OR w.receivable <> a.owed + u.uncollected
   OR (w.receivable > 0 AND w.status = 'active') OR (w.receivable = 0 AND w.status = 'blocked')
"""


class Isolated(MoneyMachine):
    """Each example in a transaction of its own, taken back at its end."""

    def __init__(self) -> None:
        self.transaction = transaction.atomic()
        self.transaction.__enter__()
        super().__init__()

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.transaction.__exit__(None, None, None)


@pytest.mark.django_db
@pytest.mark.timeout(1800)
def test_any_order_of_events_balances() -> None:
    examples = settings(
        max_examples=max(1, STEPS // STEPS_EACH),
        stateful_step_count=STEPS_EACH,
        deadline=None,
        phases=[Phase.generate],  # a walk this long takes longer to shrink than to read
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    run_state_machine_as_test(Isolated, settings=examples)
