"""What a relay process keeps: keys, offers, credit and connections, and how they stay fresh."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from django.conf import settings
from django.db import connections
from django.db.utils import DatabaseError

from accounts.alerts import raise_alert
from accounts.authentication import KeyCache
from accounts.contracts import Principal
from billing.gate import Gate
from common.broadcast import announce, listen
from common.database import read_in_thread
from relay.media import MediaFetcher
from relay.memory import ThoughtMemory
from relay.offers import Offer, OfferBook, load_offer_book
from relay.routing import Target
from relay.stream import finish_streams
from relay.substitution import is_substituted
from relay.transport import UpstreamClient

REFRESH_S = 15.0
GATHER_NOTICES_S = 0.05
MODELS_REMEMBERED = 10_000

log = structlog.get_logger(__name__)


class Relay:
    """One per process; made and started on the event loop that serves."""

    def __init__(self) -> None:
        self.keys = KeyCache(pepper=settings.KEY_PEPPER)
        self.gate = Gate()
        self.upstream = UpstreamClient()
        self.memory = ThoughtMemory()
        self.media = MediaFetcher()
        self._seen_models: set[tuple[str, str]] = set()
        self.offers = OfferBook({}, {})
        self._stale = asyncio.Event()
        self._budgets_stale = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await self._refresh_catalog()
        self.gate.tell = self._tell_others
        await self.gate.start()
        self._tasks = [
            asyncio.create_task(listen(self._on_notice, self._on_connected)),
            asyncio.create_task(self._keep_fresh(self._stale, self._refresh_offers_and_prices)),
            asyncio.create_task(self._keep_fresh(self._budgets_stale, self.gate.refresh_budgets)),
        ]

    async def stop(self) -> None:
        """After the last request: settle what is left, give leases back, close connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await finish_streams()
        await self.gate.stop()
        await self.upstream.aclose()
        await self.memory.aclose()
        self.media.close()

    async def remember(self, organization_id: int, entries: Mapping[str, Any]) -> None:
        """What a model thought beside its tool calls, for the request that answers them."""
        if entries:
            await self.memory.remember(organization_id, entries)

    def note_model(self, target: Target, answered: str) -> None:
        """Operators hear, once, of a vendor that lets another model answer."""
        seen = (target.upstream_model, answered)
        if seen in self._seen_models:
            return
        if len(self._seen_models) >= MODELS_REMEMBERED:
            self._seen_models.clear()
        self._seen_models.add(seen)
        if is_substituted(target.upstream_model, answered):
            _alerting = asyncio.get_running_loop().run_in_executor(None, _alert_of, target, answered)

    def offered_to(self, principal: Principal) -> list[Offer]:
        """What this customer can call, by name."""
        offers = self.offers.offers
        return [offers[name] for name in sorted(offers) if self.gate.has_price(principal.reseller_id, name)]

    def _on_notice(self, kind: str, subject: str) -> None:
        handlers: dict[str, Callable[[], None]] = {
            "key": lambda: self.keys.drop(bytes.fromhex(subject)),
            "catalog": self._stale.set,
            "budgets": self._budgets_stale.set,
            "wallet": lambda: self.gate.wallet_changed(int(subject)),
            "recall": lambda: self.gate.give_back_idle(subject),
        }
        handlers.get(kind, lambda: None)()

    def _on_connected(self) -> None:
        self.keys.drop_all()
        self._stale.set()
        self._budgets_stale.set()

    def _tell_others(self, kind: str, subject: str) -> None:
        """In a thread: a slow Valkey must hold nobody up."""
        _telling = asyncio.get_running_loop().run_in_executor(None, announce, kind, subject)

    async def _keep_fresh(self, is_stale: asyncio.Event, refresh: Callable[[], Awaitable[None]]) -> None:
        """Soon after a notice, and every REFRESH_S without one."""
        while True:
            try:
                await asyncio.wait_for(is_stale.wait(), REFRESH_S)
                await asyncio.sleep(GATHER_NOTICES_S)
            except TimeoutError:
                pass
            is_stale.clear()
            try:
                await refresh()
            except DatabaseError as error:
                log.warning("not_refreshed", what=refresh.__name__, error=type(error).__name__)

    async def _refresh_offers_and_prices(self) -> None:
        await self._refresh_catalog()
        await self.gate.refresh_prices()

    async def _refresh_catalog(self) -> None:
        self.offers = await read_in_thread(load_offer_book)


def _alert_of(target: Target, answered: str) -> None:
    """On a thread of its own, whose connection is given back."""
    try:
        raise_alert(
            kind="model_substituted",
            subject=f"{target.channel}/{target.upstream_model}",
            message=f"{target.upstream_model} was asked for, and {answered[:200]} answered.",
        )
    except DatabaseError as error:
        log.warning("alert_not_raised", error=type(error).__name__)
    finally:
        connections.close_all()
