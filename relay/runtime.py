"""What a relay process keeps: keys, offers, credit and connections, and how they stay fresh."""

import asyncio
from collections.abc import Callable

import structlog
from django.conf import settings
from django.db.utils import DatabaseError

from accounts.authentication import KeyCache
from accounts.contracts import Principal
from billing.gate import Gate
from common.broadcast import listen
from common.database import read_in_thread
from relay.offers import Offer, OfferBook, load_offer_book
from relay.stream import finish_streams
from relay.transport import UpstreamClient

REFRESH_S = 15.0
GATHER_NOTICES_S = 0.05

log = structlog.get_logger(__name__)


class Relay:
    """One per process; made and started on the event loop that serves."""

    def __init__(self) -> None:
        self.keys = KeyCache(pepper=settings.KEY_PEPPER)
        self.gate = Gate()
        self.upstream = UpstreamClient()
        self.offers = OfferBook({}, {})
        self._stale = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await self._refresh_catalog()
        await self.gate.start()
        self._tasks = [
            asyncio.create_task(listen(self._on_notice, self._on_connected)),
            asyncio.create_task(self._keep_fresh()),
        ]

    async def stop(self) -> None:
        """After the last request: settle what is left, give leases back, close connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await finish_streams()
        await self.gate.stop()
        await self.upstream.aclose()

    def offered_to(self, principal: Principal) -> list[Offer]:
        """What this customer can call, by name."""
        offers = self.offers.offers
        return [offers[name] for name in sorted(offers) if self.gate.has_price(principal.reseller_id, name)]

    def _on_notice(self, kind: str, subject: str) -> None:
        handlers: dict[str, Callable[[], None]] = {
            "key": lambda: self.keys.drop(bytes.fromhex(subject)),
            "catalog": self._stale.set,
        }
        handlers.get(kind, lambda: None)()

    def _on_connected(self) -> None:
        self.keys.drop_all()
        self._stale.set()

    async def _keep_fresh(self) -> None:
        """Reload the catalogue soon after a notice, and every REFRESH_S without one."""
        while True:
            try:
                await asyncio.wait_for(self._stale.wait(), REFRESH_S)
                await asyncio.sleep(GATHER_NOTICES_S)
            except TimeoutError:
                pass
            self._stale.clear()
            try:
                await self._refresh_catalog()
                await self.gate.refresh_prices()
            except DatabaseError as error:
                log.warning("catalog_not_refreshed", error=type(error).__name__)

    async def _refresh_catalog(self) -> None:
        self.offers = await read_in_thread(load_offer_book)
