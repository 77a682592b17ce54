"""What a model thought beside its tool calls, kept for clients that do not send it back.

By organization and tool call id, in Valkey, for an hour. It is a convenience: whatever goes wrong, a
request goes on as if nothing were known, and none waits for it longer than WAIT_S.

What must stay true: nobody reads another's. Each entry is sealed to its organization and its call, so an
answer of Valkey that belongs to another question does not open, and neither does a stolen dump.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

import orjson
import redis
import redis.asyncio
import structlog
from django.conf import settings
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from common.sealing import SealBroken, seal, unseal

KEPT_S = 3_600
WAIT_S = 0.25  # a busy machine may need a tenth of it; thoughts that are lost cost the customer an answer
ENTRY_BYTES = 256 * 1024
REQUEST_BYTES = 1024 * 1024  # over all entries of one answer
MOST_CALLS = 128  # as many as a message may hold
CONNECTIONS = 8
_PREFIX = "farebox:thoughts"

Ask = Callable[[redis.asyncio.Redis], Awaitable[Any]]

log = structlog.get_logger(__name__)


class ThoughtMemory:
    """One per process; it connects when it is first asked, on the loop that asks. Close it there."""

    def __init__(self, url: str | None = None, *, wait_s: float = WAIT_S) -> None:
        self._url = url
        self._wait_s = wait_s
        self._client: redis.asyncio.Redis | None = None
        self._is_away = False
        self._connections = asyncio.Semaphore(CONNECTIONS)
        self._asking: set[asyncio.Task[Any]] = set()

    async def recall(self, organization_id: int, tool_call_ids: Collection[str]) -> dict[str, Any]:
        """What is known of these calls, by id; the last MOST_CALLS of them are asked for."""
        asked = list(dict.fromkeys(tool_call_ids))[-MOST_CALLS:]
        if not asked:
            return {}
        keys = [_key(organization_id, call_id) for call_id in asked]
        found = await self._bounded(lambda client: client.mget(keys)) or [None] * len(asked)
        opened = {
            call_id: _open(sealed, key)
            for call_id, key, sealed in zip(asked, keys, found, strict=True)
            if sealed is not None
        }
        return {call_id: value for call_id, value in opened.items() if value is not None}

    async def remember(self, organization_id: int, entries: Mapping[str, Any]) -> None:
        """Keep JSON values by tool call id. What is too large or too much is not kept."""
        sealed = _seal_all(organization_id, entries)
        if not sealed:
            return

        async def write(client: redis.asyncio.Redis) -> None:
            pipeline = client.pipeline(transaction=False)
            for key, value in sealed.items():
                _queued = pipeline.set(key, value, ex=KEPT_S)
            await pipeline.execute()

        await self._bounded(write)

    async def aclose(self) -> None:
        if self._asking:
            await asyncio.wait(self._asking, timeout=1)
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()
            await client.connection_pool.disconnect()

    async def _bounded(self, ask: Ask) -> Any:
        """None when there is no answer in time. One line in the log for an outage, however long."""
        task = asyncio.create_task(self._ask(ask))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)
        try:
            # Not a timeout around it: the client may take its time to notice that it was cancelled.
            done, _ = await asyncio.wait({task}, timeout=self._wait_s)
        finally:
            task.cancel()
        if done:
            return task.result()
        self._note_outage("too slow")
        return None

    async def _ask(self, ask: Ask) -> Any:
        try:
            async with self._connections:
                answer = await ask(self._connected())
        except (redis.RedisError, OSError, TimeoutError) as error:
            self._note_outage(type(error).__name__)
            return None
        self._is_away = False
        return answer

    def _note_outage(self, reason: str) -> None:
        if not self._is_away:
            log.warning("thoughts_not_kept", error=reason)
        self._is_away = True

    def _connected(self) -> redis.asyncio.Redis:
        if self._client is None:
            self._client = redis.asyncio.Redis.from_url(
                self._url or settings.REDIS_URL,
                socket_timeout=self._wait_s,
                socket_connect_timeout=self._wait_s,
                retry=Retry(NoBackoff(), 1),  # a connection that idled through a restart of Valkey
            )
        return self._client


def _seal_all(organization_id: int, entries: Mapping[str, Any]) -> dict[str, bytes]:
    sealed: dict[str, bytes] = {}
    left = REQUEST_BYTES
    for call_id, value in list(entries.items())[:MOST_CALLS]:
        written = orjson.dumps(value)
        if len(written) > min(ENTRY_BYTES, left):
            continue
        left -= len(written)
        key = _key(organization_id, call_id)
        sealed[key] = seal(written, place=key)
    return sealed


def _open(sealed: bytes, key: str) -> Any:
    """None for what does not open: sealed by a key that is gone, or for somebody else."""
    try:
        return orjson.loads(unseal(sealed, place=key))
    except (SealBroken, orjson.JSONDecodeError):
        log.warning("thoughts_do_not_open")
        return None


def _key(organization_id: int, call_id: str) -> str:
    """Clients write ids, of any length and kind: only their hash is used."""
    digest = hashlib.blake2b(call_id.encode(errors="surrogatepass"), digest_size=20).hexdigest()
    return f"{_PREFIX}:{organization_id}:{digest}"
