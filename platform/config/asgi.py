"""The server's entry: `/v1/` goes to the relay, the lifespan starts and stops it, the rest is Django's."""

import gc
from typing import Any

from django.core.asgi import get_asgi_application

pages = get_asgi_application()

from django.conf import settings  # noqa: E402 - apps must be loaded first

from relay.api.application import Receive, RelayApplication, Scope, Send  # noqa: E402
from relay.runtime import Relay  # noqa: E402

GARBAGE_THRESHOLD = 20_000


class Server:
    """One per process."""

    def __init__(self) -> None:
        self._relay: Relay | None = None
        self._relay_application: RelayApplication | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (scope["path"] == "/v1" or scope["path"].startswith("/v1/")):
            assert self._relay_application is not None, "the lifespan starts the relay"  # noqa: S101
            await self._relay_application(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await pages(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self._start()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self._stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _start(self) -> None:
        _settle_garbage_collector()
        self._relay = Relay()
        await self._relay.start()
        self._relay_application = RelayApplication(self._relay, body_limit=settings.RELAY_BODY_LIMIT_BYTES)

    async def _stop(self) -> None:
        if self._relay is not None:
            await self._relay.stop()


def _settle_garbage_collector() -> None:
    """What is loaded by now stays for good, so it need not be searched again and again for garbage; and a
    request leaves little that reference counting does not free, so looking less often is enough."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD)


application: Any = Server()
