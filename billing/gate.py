"""All that the relay may ask of money: hold, release, settle. One `Gate` per process.

Holds are taken from credit leased to this process, so that a warm request touches no database until it is
settled. A request is held against its organization's wallet and every budget that bounds it, or against none.
What this module must keep true: credit is taken from memory before anything is sent upstream, and given back
only after the charge is committed or nothing is owed.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from uuid import uuid4

import psycopg
import structlog
from django.conf import settings

from billing.budget_book import BudgetBook, load_budget_book
from billing.contracts import (
    BudgetExceeded,
    CreditRefused,
    Demand,
    HeldBudget,
    Hold,
    ModelTariffs,
    MoneyUnavailable,
    Outcome,
    Payer,
    PriceMissing,
    TierNotPriced,
    UsageCharge,
    WalletFrozen,
)
from billing.holds import has_tier, least_price, price_of, usage_record, what_fits, worst_case
from billing.purses import BudgetPurse, Purse, WalletPurse, least_share
from billing.tariffs import TariffBook, load_tariff_book
from billing.writer import MoneyWriter, Rows
from common.database import read_in_thread
from common.money import MOST_NANO

LEASE_S = 20.0
LEASE_MARGIN_S = 2.0
RENEW_EVERY_S = 5.0
IDLE_RETURN_S = 5.0
KEEP_EVERY_S = 1.0
SETTLE_WAIT_S = 20.0
LEASE_WAIT_S = 5.0
LEASE_TRIES = 4
RECALL_TRIES = 6
RECALL_WAIT_S = 0.05

log = structlog.get_logger(__name__)


class Gate:
    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.tell: Callable[[str, str], None] = _tell_nobody
        self._clock = clock
        self._writer = MoneyWriter(
            holder=uuid4(), spool_folder=settings.SPOOL_FOLDER, on_blocked=self._wallet_blocked
        )
        self._credits: dict[int, WalletPurse] = {}
        self._budgets: dict[int, BudgetPurse] = {}
        self._locks: dict[int, asyncio.Lock] = {}
        self._tariffs = TariffBook({}, None)
        self._budget_book = BudgetBook({})
        self._keeper: asyncio.Task[None] | None = None
        self._renewed_at = 0.0
        self._renewal: asyncio.Future[Rows] | None = None
        self._unwritten: dict[asyncio.Future[None], float] = {}

    async def start(self) -> None:
        await self.refresh_prices()
        await self.refresh_budgets()
        self._writer.start()
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Call it when no request is open: gives every lease back."""
        if self._keeper is not None:
            self._keeper.cancel()
        for purse in self._purses():
            if purse.has_lease():
                self._return_lease(purse)
        await self._writer.stop()

    async def refresh_prices(self) -> None:
        """Take over the price versions that are in force now, and those to come."""
        self._tariffs = await read_in_thread(load_tariff_book)

    async def refresh_budgets(self) -> None:
        """Take over which budgets there are; what is spent of them is leased, not read."""
        self._budget_book = await read_in_thread(load_budget_book)

    def has_price(self, reseller_id: int, model: str) -> bool:
        return self._tariffs.find(reseller_id, model) is not None

    async def open_hold(self, demand: Demand) -> Hold:
        """Keep the worst case aside. Raises PriceMissing, TierNotPriced, CreditRefused, MoneyUnavailable."""
        if self._writer.is_stuck:
            raise MoneyUnavailable("what is finished cannot be written down; no new work meanwhile")
        moment = datetime.now(UTC)
        tariffs = self._tariffs_of(demand, moment)
        purses = self._purses_of(demand.payer)
        for purse in purses:
            purse.open_requests += 1  # from here on the keeper leaves this credit alone
        try:
            amount, limit = worst_case(demand, tariffs, least_share(purses))
            if not _admit(purses, amount, self._clock()):
                amount, limit = await self._enlarge_in_turn(demand, tariffs, purses)
        except BaseException:
            for purse in purses:
                purse.open_requests -= 1
            raise
        for purse in purses:
            purse.take(amount, self._clock())
        return Hold(
            request_id=demand.request_id,
            payer=demand.payer,
            model=demand.model,
            tariffs=tariffs,
            admitted_at=moment,
            amount_nano=amount,
            max_output_tokens=limit,
            service_tier=demand.service_tier,
            lease_generation=purses[0].generation,
            budgets=tuple(map(_held, purses[1:])),
        )

    def _tariffs_of(self, demand: Demand, moment: datetime) -> ModelTariffs:
        tariffs = self._tariffs.find(demand.payer.reseller_id, demand.model, moment)
        if tariffs is None:
            raise PriceMissing(f"{demand.model} has no price")
        if demand.service_tier and not has_tier(tariffs.retail, demand.service_tier):
            raise TierNotPriced(f"{demand.model} has no price for {demand.service_tier}")
        return tariffs

    def release(self, hold: Hold) -> None:
        """Nothing is owed: the whole hold is free again. Releasing twice changes nothing."""
        if hold.is_open:
            hold.is_open = False
            self._close(hold, charge=0)

    async def settle(self, hold: Hold, outcome: Outcome) -> UsageCharge:
        """Charge what was used, at the prices the request was admitted under; returns after the commit.

        Raises MoneyUnavailable when the commit takes too long; the record stays queued and is written as
        soon as the database answers.
        """
        record = usage_record(hold, outcome)
        price = record["price_nano"]
        hold.is_open = False  # from here on the record decides, however the wait ends
        written = self._writer.settle(record, lambda: self._close(hold, charge=price))
        self._unwritten[written] = self._clock()
        try:
            await written
        except psycopg.Error as error:
            raise MoneyUnavailable("the charge could not be written down") from error
        finally:
            del self._unwritten[written]
        return UsageCharge(charge_nano=price, cost_nano=record["cost_nano"])

    def wallet_changed(self, organization_id: int) -> None:
        """Somebody blocked, froze, thawed or filled a wallet: ask again before anything else is admitted."""
        purse = self._credits.get(organization_id)
        if purse is None:
            return
        purse.forget_refusal()
        if purse.has_lease():
            self._renew_these(WalletPurse, [purse], self._clock())

    def _wallet_blocked(self, organization_id: int) -> None:
        purse = self._credits.get(organization_id)
        if purse is not None and purse.has_lease():
            self.wallet_changed(organization_id)
            self.tell("wallet", str(organization_id))

    def give_back_idle(self, purse_name: str) -> None:
        """Another process needs what lies idle here."""
        for purse in self._purses():
            if purse.name == purse_name and (idle := purse.give_up_idle()):
                statement, values = purse.give_back_part(self._writer.holder, idle)
                self._writer.call(statement, *values).add_done_callback(_log_failure("idle_not_given_back"))

    def _purses(self) -> list[Purse]:
        return [*self._credits.values(), *self._budgets.values()]

    def _purses_of(self, payer: Payer) -> list[Purse]:
        """The wallet first, then the budgets that bound this key, in order of their ids."""
        wallet = self._wallet_of(payer.organization_id)
        budgets = self._budget_book.of(payer)
        if not budgets:
            return [wallet]
        return [wallet, *(self._budget_of(budget.budget_id) for budget in budgets)]

    def _wallet_of(self, organization_id: int) -> WalletPurse:
        purse = self._credits.get(organization_id)
        if purse is None:
            purse = self._credits[organization_id] = WalletPurse(organization_id)
        return purse

    def _budget_of(self, budget_id: int) -> BudgetPurse:
        purse = self._budgets.get(budget_id)
        if purse is None:
            purse = self._budgets[budget_id] = BudgetPurse(budget_id)
        return purse

    def _close(self, hold: Hold, *, charge: int) -> None:
        wallet = self._wallet_of(hold.payer.organization_id)
        wallet.open_requests -= 1
        wallet.give_back(hold.amount_nano, charge, hold.lease_generation)
        if charge:
            wallet.note_spending(charge, self._clock())
        for held in hold.budgets:
            self._close_budget(held, hold.amount_nano, charge)

    def _close_budget(self, held: HeldBudget, amount: int, charge: int) -> None:
        purse = self._budget_of(held.budget_id)
        purse.open_requests -= 1
        if purse.period_id == held.period_id:  # otherwise it was charged to a period that is over
            purse.give_back(amount, charge, held.generation)
            if charge:
                purse.note_spending(charge, self._clock())

    async def _enlarge_in_turn(
        self, demand: Demand, tariffs: ModelTariffs, purses: Sequence[Purse]
    ) -> tuple[int, int]:
        """One at a time for each wallet, and not for ever where the database neither answers nor fails."""
        try:
            async with asyncio.timeout(LEASE_WAIT_S):
                async with self._locks.setdefault(demand.payer.organization_id, asyncio.Lock()):
                    return await self._enlarge(demand, tariffs, purses)
        except (TimeoutError, psycopg.Error) as error:
            raise MoneyUnavailable("credit cannot be checked right now") from error

    async def _enlarge(
        self, demand: Demand, tariffs: ModelTariffs, purses: Sequence[Purse]
    ) -> tuple[int, int]:
        """Lease enough for `demand`; returns what to hold and the output limit it pays."""
        least = least_price(demand, tariffs)
        most = price_of(demand, tariffs, demand.max_output_tokens or demand.model_max_output_tokens)
        for _ in range(LEASE_TRIES):  # while we wait, warm requests may take what we count on
            amount, limit = worst_case(demand, tariffs, least_share(purses))
            if _admit(purses, amount, self._clock()):  # the one before us in the lock leased enough
                return amount, limit
            for purse in purses:
                if not purse.admits(amount, self._clock()) and not await self._fill(purse, least, most):
                    raise self._refusal(demand, purse)
            amount, limit = what_fits(demand, tariffs, least_share(purses), _free(purses))
            if _admit(purses, max(amount, least), self._clock()):
                return amount, limit
        raise CreditRefused("others are spending what this request needs")

    async def _fill(self, purse: Purse, least: int, most: int) -> bool:
        """Lease at least what the shortest answer needs; ask others for theirs before giving up."""
        now = self._clock()
        if purse.was_refused(least, now):
            return False
        if purse.has_lease() and purse.is_over(now):
            self._return_lease(purse)
        granted, with_others = await self._lease(purse, least, most)
        if with_others and not granted:
            self.tell("recall", purse.name)
        for _ in range(RECALL_TRIES):
            if granted or not with_others:
                break
            await asyncio.sleep(RECALL_WAIT_S)
            granted, with_others = await self._lease(purse, least, most)
        if granted or purse.admits(least, self._clock()):
            return True
        purse.note_refusal(least, self._clock())
        return False

    def _refusal(self, demand: Demand, purse: Purse) -> CreditRefused:
        for budget in self._budget_book.of(demand.payer):
            if isinstance(purse, BudgetPurse) and purse.owner_id == budget.budget_id:
                return BudgetExceeded(
                    "a budget does not cover this request", subject=budget.subject, period=budget.period
                )
        if isinstance(purse, WalletPurse) and purse.is_frozen:
            return WalletFrozen("the wallet is frozen")
        return CreditRefused("the balance does not cover this request")

    async def _lease(self, purse: Purse, least: int, most: int) -> tuple[int, int]:
        """What was granted, and what others hold. Raises psycopg.Error.

        It counts from the moment the answer is there, whether or not somebody still waits for it: the
        charges that come after it are taken from it.
        """
        asked_at, generation = self._clock(), purse.generation
        need = min(max(0, least - purse.free), MOST_NANO)
        statement, values = purse.lease(
            self._writer.holder, need, min(purse.wanted(most), MOST_NANO), LEASE_S
        )

        def take_over(rows: Rows) -> None:
            if purse.generation == generation:
                purse.take_over(rows, asked_at, LEASE_S - LEASE_MARGIN_S)

        purse.leases_asked += 1
        answer = self._writer.call(statement, *values, on_rows=take_over)
        answer.add_done_callback(partial(_note_answer, purse))
        rows = await asyncio.shield(answer)
        return (rows[0][0], rows[0][2]) if rows else (0, 0)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(KEEP_EVERY_S)
            self._keep_once()

    def _keep_once(self) -> None:
        """Waits for nothing: while the database does not answer, those who wait must still be told."""
        now = self._clock()
        self._end_long_waits(now)
        for purse in self._purses():
            is_waited_for = purse.open_requests or purse.leases_asked
            if not is_waited_for and now - purse.last_used > IDLE_RETURN_S:
                if purse.has_lease():
                    self._return_lease(purse)
                self._forget(purse)
        if now - self._renewed_at >= RENEW_EVERY_S and (self._renewal is None or self._renewal.done()):
            self._renewal = self._renew(now)

    def _forget(self, purse: Purse) -> None:
        if isinstance(purse, WalletPurse):
            self._credits.pop(purse.owner_id, None)
            self._locks.pop(purse.owner_id, None)
        else:
            self._budgets.pop(purse.owner_id, None)

    def _end_long_waits(self, now: float) -> None:
        """Whoever waits for a commit too long hears that it will come later; the record stays queued."""
        for written, asked_at in self._unwritten.items():
            if now - asked_at > SETTLE_WAIT_S and not written.done():
                written.set_exception(MoneyUnavailable("the charge is not written down yet"))

    def _return_lease(self, purse: Purse) -> None:
        statement, values = purse.give_back_all(self._writer.holder)
        purse.end()
        self._writer.call(statement, *values).add_done_callback(_log_failure("lease_not_returned"))

    def _renew(self, now: float) -> asyncio.Future[Rows] | None:
        """Leases that this process knows of, and only where credit may still be spent; what else stands under
        its name (a grant whose answer was lost, a return that failed) must expire."""
        budgets = self._renew_these(BudgetPurse, self._budgets.values(), now)
        wallets = self._renew_these(WalletPurse, self._credits.values(), now)
        if wallets is not None:
            wallets.add_done_callback(lambda done: self._note_renewal(now, done))
        return wallets or budgets

    def _renew_these(
        self, kind: type[Purse], purses: Iterable[Purse], now: float
    ) -> asyncio.Future[Rows] | None:
        leased = {purse: purse.generation for purse in purses if purse.has_lease()}
        if not leased:
            return None
        renewal = self._writer.call(
            kind.RENEW,
            LEASE_S,
            self._writer.holder,
            [purse.row_id for purse in leased],
            on_rows=lambda rows: self._renewed(now, leased, {row[0] for row in rows}),
        )
        renewal.add_done_callback(_log_failure("leases_not_renewed"))
        return renewal

    def _note_renewal(self, now: float, done: asyncio.Future[Rows]) -> None:
        """What failed is tried again at once. Renewing a single lease says nothing about the others."""
        if not done.cancelled() and done.exception() is None:
            self._renewed_at = now

    def _renewed(self, now: float, leased: Mapping[Purse, int], still_open: set[int]) -> None:
        for purse, generation in leased.items():
            if purse.generation != generation:
                continue
            if purse.row_id in still_open:
                purse.deadline = now + LEASE_S - LEASE_MARGIN_S
            else:
                self._return_lease(purse)


def prices_in_force() -> TariffBook:
    """For whoever shows prices; the money path reads its own copy."""
    return load_tariff_book()


def _admit(purses: Sequence[Purse], amount: int, now: float) -> bool:
    return all(purse.admits(amount, now) for purse in purses)


def _held(purse: Purse) -> HeldBudget:
    return HeldBudget(purse.owner_id, purse.row_id, purse.generation)


def _free(purses: Sequence[Purse]) -> int:
    return min(purse.spendable for purse in purses)


def _note_answer(purse: Purse, answer: asyncio.Future[Rows]) -> None:
    """Also looks at the failure: whoever asked may have left."""
    purse.leases_asked -= 1
    if not answer.cancelled():
        answer.exception()


def _tell_nobody(_kind: str, _subject: str) -> None:
    """Until somebody connects this gate with the others'."""


def _log_failure(event: str) -> Callable[[asyncio.Future[Rows]], None]:
    def log_it(done: asyncio.Future[Rows]) -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            log.warning(event, error=type(error).__name__)

    return log_it
