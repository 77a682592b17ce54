"""From the raw key of a request to its principal, out of this process's memory on the warm path.

An entry lives TTL_S seconds, a revocation notice drops it at once. While the database is away, entries that
were good stay good: an outage must never look like a bad key.
"""

import asyncio
import time
from collections.abc import Callable

from django.db import InterfaceError, OperationalError

from accounts.contracts import Principal
from accounts.keys import digest_key, is_well_formed
from accounts.selectors import principal_for_digest
from common.database import read_in_thread
from common.errors import AppError

TTL_S = 15.0
UNKNOWN_TTL_S = 2.0
PATIENCE_S = 0.5
RECHECK_S = 1.0
MAX_ENTRIES = 50_000


class KeyRefused(AppError):
    """Not a key of ours, or one that was revoked."""

    code = "key_refused"
    http_status = 401


class KeysUnavailable(AppError):
    """The key could not be looked up. Says nothing about the key."""

    code = "keys_unavailable"
    http_status = 503


class KeyCache:
    """One per process. Keeps HMACs, never keys."""

    def __init__(self, *, pepper: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._pepper = pepper
        self._clock = clock
        self._entries: dict[bytes, tuple[Principal | None, float]] = {}
        self._lookups: dict[bytes, asyncio.Task[Principal | None]] = {}

    async def principal(self, key: str) -> Principal:
        """Raises KeyRefused, or KeysUnavailable where a key is not cached and the database is away."""
        digest = digest_key(key, self._pepper)
        entry = self._entries.get(digest)
        if entry is not None and entry[1] > self._clock():
            principal = entry[0]
        elif is_well_formed(key):
            principal = await self._look_up_once(digest)
        else:
            principal = None
        if principal is None:
            raise KeyRefused("not an API key of this service, or it was revoked")
        return principal

    def drop(self, digest: bytes) -> None:
        self._entries.pop(digest, None)
        self._lookups.pop(digest, None)

    def drop_all(self) -> None:
        self._entries.clear()
        self._lookups.clear()

    async def _look_up_once(self, digest: bytes) -> Principal | None:
        """Many requests with the same cold key cost one query."""
        task = self._lookups.get(digest)
        if task is None:
            task = self._lookups[digest] = asyncio.create_task(self._look_up(digest))
        if self._good_before(digest) is not None:
            await asyncio.wait({task}, timeout=PATIENCE_S)
            principal = self._good_before(digest)  # unless it was revoked while we waited
            if principal is not None and not task.done():
                return self._keep(digest, principal)
        return await asyncio.shield(task)

    async def _look_up(self, digest: bytes) -> Principal | None:
        this = asyncio.current_task()
        try:
            principal = await read_in_thread(lambda: principal_for_digest(digest))
        except (OperationalError, InterfaceError) as error:
            return self._stale(digest, error)
        finally:
            is_current = self._lookups.get(digest) is this
            if is_current:
                del self._lookups[digest]
        if not is_current:  # a revocation that came meanwhile dropped the lookup: what it read may be old
            return await self._look_up_once(digest)
        self._remember(digest, principal)
        return principal

    def _stale(self, digest: bytes, error: Exception) -> Principal:
        principal = self._good_before(digest)
        if principal is None:
            raise KeysUnavailable("API keys cannot be checked right now") from error
        return self._keep(digest, principal)

    def _good_before(self, digest: bytes) -> Principal | None:
        """The principal of an entry however old it is."""
        entry = self._entries.get(digest)
        return None if entry is None else entry[0]

    def _keep(self, digest: bytes, principal: Principal) -> Principal:
        """A good entry stays good a moment longer, while nobody can say otherwise."""
        self._entries[digest] = (principal, self._clock() + RECHECK_S)
        return principal

    def _remember(self, digest: bytes, principal: Principal | None) -> None:
        if len(self._entries) >= MAX_ENTRIES:
            self._entries.clear()
        life = TTL_S if principal is not None else UNKNOWN_TTL_S
        self._entries[digest] = (principal, self._clock() + life)
