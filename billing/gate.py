"""All that the relay may ask of money: hold, release, settle. One `Gate` per process.

Holds are taken from credit leased to this process, so that a warm request touches no database until it is
settled. What this module must keep true: credit is taken from memory before anything is sent upstream, and
given back only after the charge is committed or nothing is owed.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any
from uuid import uuid4

import psycopg
import structlog
from django.conf import settings

from billing.contracts import (
    CreditRefused,
    Demand,
    Hold,
    ModelTariffs,
    MoneyUnavailable,
    Outcome,
    PriceMissing,
    TokenUsage,
    UsageCharge,
)
from billing.credit import Credit
from billing.pricing import affordable_output, price_usage, worst_price
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
LEAST_USEFUL_OUTPUT = 256

RENEW = """
UPDATE billing_lease l SET expires_at = clock_timestamp() + make_interval(secs => %s)
FROM billing_wallet w
WHERE w.organization_id = l.wallet_id AND w.status = 'active'
  AND l.holder = %s AND l.state = 'open' AND l.wallet_id = ANY(%s)
RETURNING l.wallet_id
"""
USAGE_CLASSES = tuple(field.name for field in fields(TokenUsage))

log = structlog.get_logger(__name__)


class Gate:
    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._writer = MoneyWriter(holder=uuid4(), spool_folder=settings.SPOOL_FOLDER)
        self._credits: dict[int, Credit] = {}
        self._locks: dict[int, asyncio.Lock] = {}
        self._tariffs = TariffBook({}, None)
        self._keeper: asyncio.Task[None] | None = None
        self._renewed_at = 0.0
        self._renewal: asyncio.Future[Rows] | None = None
        self._unwritten: dict[asyncio.Future[None], float] = {}

    async def start(self) -> None:
        await self.refresh_prices()
        self._writer.start()
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Call it when no request is open: gives every lease back."""
        if self._keeper is not None:
            self._keeper.cancel()
        for credit in self._credits.values():
            if credit.has_lease():
                self._return_lease(credit)
        await self._writer.stop()

    async def refresh_prices(self) -> None:
        """Take over the price versions that are in force now."""
        self._tariffs = await read_in_thread(load_tariff_book)

    def has_price(self, reseller_id: int, model: str) -> bool:
        return self._tariffs.find(reseller_id, model) is not None

    async def open_hold(self, demand: Demand) -> Hold:
        """Keep the worst case aside. Raises PriceMissing, CreditRefused, MoneyUnavailable."""
        tariffs = self._tariffs.find(demand.payer.reseller_id, demand.model)
        if tariffs is None:
            raise PriceMissing(f"{demand.model} has no price")
        if self._writer.is_stuck:
            raise MoneyUnavailable("what is finished cannot be written down; no new work meanwhile")
        credit = self._credit_of(demand.payer.organization_id)
        credit.open_requests += 1  # from here on the keeper leaves this credit alone
        try:
            amount, limit = _worst_case(demand, tariffs, credit)
            if not credit.admits(amount, self._clock()):
                amount, limit = await self._enlarge_in_turn(demand, tariffs, credit)
        except BaseException:
            credit.open_requests -= 1
            raise
        credit.take(amount, self._clock())
        return Hold(
            request_id=demand.request_id,
            payer=demand.payer,
            model=demand.model,
            tariffs=tariffs,
            amount_nano=amount,
            max_output_tokens=limit,
            lease_generation=credit.generation,
        )

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
        price = price_usage(outcome.usage, hold.tariffs.retail)
        cost = price_usage(outcome.usage, hold.tariffs.cost) if hold.tariffs.cost else 0
        hold.is_open = False  # from here on the record decides, however the wait ends
        record = _record(hold, outcome, price, cost)
        written = self._writer.settle(record, lambda: self._close(hold, charge=price))
        self._unwritten[written] = self._clock()
        try:
            await written
        except psycopg.Error as error:
            raise MoneyUnavailable("the charge could not be written down") from error
        finally:
            del self._unwritten[written]
        return UsageCharge(charge_nano=price, cost_nano=cost)

    def _credit_of(self, organization_id: int) -> Credit:
        credit = self._credits.get(organization_id)
        if credit is None:
            credit = self._credits[organization_id] = Credit(organization_id)
        return credit

    def _close(self, hold: Hold, *, charge: int) -> None:
        credit = self._credit_of(hold.payer.organization_id)
        credit.open_requests -= 1
        credit.give_back(hold.amount_nano, charge, hold.lease_generation)
        if charge:
            credit.note_spending(charge, self._clock())

    async def _enlarge_in_turn(
        self, demand: Demand, tariffs: ModelTariffs, credit: Credit
    ) -> tuple[int, int]:
        """One at a time for each wallet, and not for ever where the database neither answers nor fails."""
        try:
            async with asyncio.timeout(LEASE_WAIT_S):
                async with self._locks.setdefault(credit.organization_id, asyncio.Lock()):
                    return await self._enlarge(demand, tariffs, credit)
        except (TimeoutError, psycopg.Error) as error:
            raise MoneyUnavailable("credit cannot be checked right now") from error

    async def _enlarge(self, demand: Demand, tariffs: ModelTariffs, credit: Credit) -> tuple[int, int]:
        """Lease enough for `demand`; returns what to hold and the output limit it pays."""
        least = _least(demand, tariffs)
        most = _price_of(demand, tariffs, demand.max_output_tokens or demand.model_max_output_tokens)
        for _ in range(LEASE_TRIES):  # while we wait, warm requests may take what we count on
            amount, limit = _worst_case(demand, tariffs, credit)
            if credit.admits(amount, self._clock()):  # the one before us in the lock leased enough
                return amount, limit
            if credit.was_refused(least, self._clock()):
                break
            if credit.has_lease() and self._clock() >= credit.deadline:
                self._return_lease(credit)
            granted = await self._lease(credit, max(0, least - credit.free), credit.wanted(most))
            amount, limit = _what_fits(demand, tariffs, credit)
            if credit.admits(max(amount, least), self._clock()):
                return amount, limit
            if not granted:
                credit.note_refusal(least, self._clock())
                break
        raise CreditRefused("the balance does not cover this request")

    async def _lease(self, credit: Credit, need: int, wanted: int) -> int:
        """What the wallet gave. Raises psycopg.Error.

        It counts from the moment the answer is there, whether or not somebody still waits for it: the
        charges that come after it are taken from it.
        """
        asked_at, generation = self._clock(), credit.generation

        def take_over(rows: Rows) -> None:
            [[granted, wallet_free]] = rows
            if credit.generation == generation:
                credit.grow(granted, wallet_free or 0, asked_at + LEASE_S - LEASE_MARGIN_S)

        [[granted, _]] = await self._writer.call(
            "SELECT granted, free FROM billing_lease_credit(%s, %s, %s, %s, %s)",
            credit.organization_id,
            self._writer.holder,
            min(need, MOST_NANO),
            min(wanted, MOST_NANO),
            LEASE_S,
            on_rows=take_over,
        )
        return int(granted)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(KEEP_EVERY_S)
            self._keep_once()

    def _keep_once(self) -> None:
        """Waits for nothing: while the database does not answer, those who wait must still be told."""
        now = self._clock()
        self._end_long_waits(now)
        for credit in list(self._credits.values()):
            if credit.open_requests == 0 and now - credit.last_used > IDLE_RETURN_S:
                if credit.has_lease():
                    self._return_lease(credit)
                self._credits.pop(credit.organization_id, None)
                self._locks.pop(credit.organization_id, None)
        if now - self._renewed_at >= RENEW_EVERY_S and (self._renewal is None or self._renewal.done()):
            self._renewal = self._renew(now)

    def _end_long_waits(self, now: float) -> None:
        """Whoever waits for a commit too long hears that it will come later; the record stays queued."""
        for written, asked_at in self._unwritten.items():
            if now - asked_at > SETTLE_WAIT_S and not written.done():
                written.set_exception(MoneyUnavailable("the charge is not written down yet"))

    def _return_lease(self, credit: Credit) -> None:
        credit.end()
        returned = self._writer.call(
            "SELECT billing_end_lease(%s, %s, 'closed', NULL)",
            credit.organization_id,
            self._writer.holder,
        )
        returned.add_done_callback(_log_failure("lease_not_returned"))

    def _renew(self, now: float) -> asyncio.Future[Rows] | None:
        """Leases that this process knows of, of wallets that are not blocked; what else stands under its name
        (a grant whose answer was lost, a return that failed) must expire."""
        leased = {credit: credit.generation for credit in self._credits.values() if credit.has_lease()}
        if not leased:
            return None
        renewal = self._writer.call(
            RENEW,
            LEASE_S,
            self._writer.holder,
            [credit.organization_id for credit in leased],
            on_rows=lambda rows: self._renewed(now, leased, {row[0] for row in rows}),
        )
        renewal.add_done_callback(_log_failure("leases_not_renewed"))
        return renewal

    def _renewed(self, now: float, leased: Mapping[Credit, int], still_open: set[int]) -> None:
        self._renewed_at = now
        for credit, generation in leased.items():
            if credit.generation != generation:
                continue
            if credit.organization_id in still_open:
                credit.deadline = now + LEASE_S - LEASE_MARGIN_S
            else:
                self._return_lease(credit)


def prices_in_force() -> TariffBook:
    """For whoever shows prices; the money path reads its own copy."""
    return load_tariff_book()


def _worst_case(demand: Demand, tariffs: ModelTariffs, credit: Credit) -> tuple[int, int]:
    """What to hold, and the output tokens per choice that it pays for certain."""
    if demand.max_output_tokens is not None:
        return _price_of(demand, tariffs, demand.max_output_tokens), demand.max_output_tokens
    full = _price_of(demand, tariffs, demand.model_max_output_tokens)
    budget = max(credit.share(), _least(demand, tariffs))
    if full <= budget:
        return full, demand.model_max_output_tokens
    return _lowered(demand, tariffs, budget)


def _what_fits(demand: Demand, tariffs: ModelTariffs, credit: Credit) -> tuple[int, int]:
    """The same within what is free now; a limit of the caller is never lowered."""
    amount, limit = _worst_case(demand, tariffs, credit)
    if amount <= credit.free or demand.max_output_tokens is not None:
        return amount, limit
    return _lowered(demand, tariffs, credit.free)


def _lowered(demand: Demand, tariffs: ModelTariffs, budget: int) -> tuple[int, int]:
    affordable = affordable_output(tariffs.retail, prompt_tokens=demand.prompt_tokens, budget_nano=budget)
    limit = min(affordable // demand.choices, demand.model_max_output_tokens)
    return _price_of(demand, tariffs, limit), limit


def _least(demand: Demand, tariffs: ModelTariffs) -> int:
    """The price of the shortest answer worth sending the request for."""
    limit = demand.max_output_tokens
    if limit is None:
        limit = min(LEAST_USEFUL_OUTPUT, demand.model_max_output_tokens)
    return _price_of(demand, tariffs, limit)


def _price_of(demand: Demand, tariffs: ModelTariffs, output_tokens: int) -> int:
    return worst_price(
        tariffs.retail,
        prompt_tokens=demand.prompt_tokens,
        output_tokens=output_tokens * demand.choices,
    )


def _record(hold: Hold, outcome: Outcome, price: int, cost: int) -> Mapping[str, Any]:
    """A row for `billing_settle`."""
    usage = outcome.usage
    return {
        "request_id": hold.request_id,
        "organization_id": hold.payer.organization_id,
        "reseller_id": hold.payer.reseller_id,
        "api_key_id": hold.payer.api_key_id,
        "model": hold.model,
        "channel": outcome.channel,
        "upstream_model": outcome.upstream_model.replace("\0", "")[:200],
        **{name: getattr(usage, name) for name in USAGE_CLASSES},
        "price_nano": price,
        "cost_nano": cost,
        "retail_version_id": hold.tariffs.retail.version_id,
        "cost_version_id": hold.tariffs.cost.version_id if hold.tariffs.cost else None,
        "usage_source": outcome.source,
        "ending": outcome.ending,
        "is_stream": outcome.is_stream,
        "started_at": outcome.started_at,
        "first_output_at": outcome.first_output_at,
        "ended_at": outcome.ended_at,
    }


def _log_failure(event: str) -> Callable[[asyncio.Future[Rows]], None]:
    def log_it(done: asyncio.Future[Rows]) -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            log.warning(event, error=type(error).__name__)

    return log_it
