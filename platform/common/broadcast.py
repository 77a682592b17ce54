"""Short notices between processes over Valkey: what changed, so that caches drop it within a second.

A notice may be lost: every cache that listens also has a short life, so a lost one costs seconds. Notices
carry kinds and ids, never contents.
"""

import asyncio
from collections.abc import Callable

import redis
import redis.asyncio
import structlog
from django.conf import settings
from django.db import transaction

CHANNEL = "farebox:notices"
RECONNECT_S = 0.5

log = structlog.get_logger(__name__)


def announce_on_commit(kind: str, subject: str = "") -> None:
    """Tell every process that `subject` changed, once this transaction is durable."""
    transaction.on_commit(lambda: announce(kind, subject))


def announce(kind: str, subject: str = "") -> None:
    try:
        with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2) as client:
            client.publish(CHANNEL, f"{kind}:{subject}")
    except redis.RedisError as error:
        log.warning("notice_not_sent", kind=kind, error=type(error).__name__)


async def listen(on_notice: Callable[[str, str], None], on_connected: Callable[[], None]) -> None:
    """Hand every notice to `on_notice(kind, subject)` until cancelled.

    `on_connected` runs after each (re)connection: whatever was announced meanwhile was missed.
    """
    is_away = False

    def connected() -> None:
        nonlocal is_away
        if is_away:
            log.info("notices_back")
        is_away = False
        on_connected()

    while True:
        try:
            await _listen_once(on_notice, connected)
        except (redis.RedisError, OSError) as error:
            if not is_away:  # one line for an outage, however long
                log.warning("notices_away", error=type(error).__name__)
            is_away = True
            await asyncio.sleep(RECONNECT_S)


async def _listen_once(on_notice: Callable[[str, str], None], on_connected: Callable[[], None]) -> None:
    client = redis.asyncio.Redis.from_url(settings.REDIS_URL, health_check_interval=5)
    async with client, client.pubsub() as subscription:
        await subscription.subscribe(CHANNEL)
        on_connected()
        async for message in subscription.listen():
            if message["type"] == "message":
                kind, _, subject = message["data"].decode().partition(":")
                on_notice(kind, subject)
