"""The key cache: one query for many, a revocation at once, an outage never looks like a bad key."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from django.db import connection, connections

from accounts import authentication
from accounts.authentication import TTL_S, UNKNOWN_TTL_S, KeyCache, KeyRefused, KeysUnavailable
from accounts.contracts import Principal
from accounts.keys import digest_key, generate_key
from accounts.selectors import principal_for_digest
from accounts.services import NewKey, create_api_key, revoke_api_key
from common.database import read_in_thread
from tests.factories.money import make_payer

pytestmark = pytest.mark.django_db(transaction=True)
PEPPER = "pepper of the tests"
LOOK_UP = "accounts.authentication.principal_for_digest"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Setting:
    """A cache in this process, and the one key there is."""

    cache: KeyCache
    clock: Clock
    key: NewKey
    principal: Principal
    lookups: list[bytes]

    async def ask(self) -> Principal:
        return await self.cache.principal(self.key.secret)

    async def revoke(self) -> None:
        await read_in_thread(lambda: revoke_api_key(api_key=self.key.api_key))

    def hear_of_revocation(self) -> None:
        self.cache.drop(digest_key(self.key.secret, PEPPER))


@pytest.fixture
def setting(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Setting]:
    settings.KEY_PEPPER = PEPPER
    organization = make_payer().organization
    key = create_api_key(organization=organization, name="test")
    principal = Principal(key.api_key.pk, organization.pk, organization.reseller_id)
    lookups: list[bytes] = []

    def counted(digest: bytes) -> Principal | None:
        lookups.append(digest)
        return principal_for_digest(digest)

    monkeypatch.setattr(LOOK_UP, counted)
    clock = Clock()
    yield Setting(KeyCache(pepper=PEPPER, clock=clock), clock, key, principal, lookups)
    connection.close()


@pytest.fixture
def database_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever connects from now on finds nobody."""
    monkeypatch.setitem(connections.settings["default"], "HOST", "/nowhere")


@asynccontextmanager
async def keys_locked() -> AsyncIterator[None]:
    """Lookups hang inside of the database as long as the block lasts."""
    given = connections.settings["default"]
    address = {"dbname": given["NAME"], "user": given["USER"], "host": given["HOST"], "port": given["PORT"]}
    async with await psycopg.AsyncConnection.connect(**address) as locker:
        await locker.execute("LOCK TABLE accounts_apikey IN ACCESS EXCLUSIVE MODE")
        yield


async def test_a_key_is_looked_up_once_and_then_remembered(setting: Setting) -> None:
    assert await setting.ask() == setting.principal
    assert await setting.ask() == setting.principal
    assert len(setting.lookups) == 1
    setting.clock.now += TTL_S
    assert await setting.ask() == setting.principal
    assert len(setting.lookups) == 2


async def test_a_hundred_requests_with_a_cold_key_cost_one_query(setting: Setting) -> None:
    found = await asyncio.gather(*(setting.ask() for _ in range(100)))
    assert set(found) == {setting.principal}
    assert len(setting.lookups) == 1


async def test_neither_the_key_nor_its_text_is_kept(setting: Setting) -> None:
    await setting.ask()
    assert setting.key.secret not in repr(vars(setting.cache))


@pytest.mark.parametrize("text", ["", "sk-nothing", "sk-" + "A" * 49, "é" * 52])
async def test_what_is_no_key_is_refused_without_a_query(setting: Setting, text: str) -> None:
    with pytest.raises(KeyRefused):
        await setting.cache.principal(text)
    assert not setting.lookups


async def test_an_unknown_key_is_refused_and_remembered_for_a_moment(setting: Setting) -> None:
    unknown = generate_key()
    for _ in range(3):
        with pytest.raises(KeyRefused):
            await setting.cache.principal(unknown)
    assert len(setting.lookups) == 1
    setting.clock.now += UNKNOWN_TTL_S
    with pytest.raises(KeyRefused):
        await setting.cache.principal(unknown)
    assert len(setting.lookups) == 2


async def test_a_revoked_key_is_refused_as_soon_as_the_notice_is_there(setting: Setting) -> None:
    await setting.ask()
    await setting.revoke()
    setting.hear_of_revocation()
    with pytest.raises(KeyRefused):
        await setting.ask()


async def test_without_a_notice_a_revoked_key_lives_no_longer_than_its_entry(setting: Setting) -> None:
    await setting.ask()
    await setting.revoke()
    setting.clock.now += TTL_S
    with pytest.raises(KeyRefused):
        await setting.ask()


async def test_after_a_lost_connection_every_key_is_looked_up_again(setting: Setting) -> None:
    await setting.ask()
    await setting.revoke()
    setting.cache.drop_all()
    with pytest.raises(KeyRefused):
        await setting.ask()


async def test_a_revocation_during_the_lookup_is_not_lost(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before the revocation and answered after it counts for nothing."""
    has_read, may_go = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def read_and_dawdle(digest: bytes) -> Principal | None:
        principal = principal_for_digest(digest)
        loop.call_soon_threadsafe(has_read.set)
        asyncio.run_coroutine_threadsafe(may_go.wait(), loop).result(10)
        return principal

    monkeypatch.setattr(LOOK_UP, read_and_dawdle)
    asking = asyncio.create_task(setting.ask())
    await has_read.wait()
    await setting.revoke()
    setting.hear_of_revocation()
    may_go.set()
    with pytest.raises(KeyRefused):
        await asking
    with pytest.raises(KeyRefused):
        await setting.ask()


async def test_a_good_key_stays_good_while_the_database_is_away(
    setting: Setting, database_away: None
) -> None:
    setting.cache._remember(digest_key(setting.key.secret, PEPPER), setting.principal)
    for _ in range(5):
        setting.clock.now += TTL_S
        assert await setting.ask() == setting.principal


async def test_a_key_nobody_knows_is_no_bad_key_while_the_database_is_away(
    setting: Setting, database_away: None
) -> None:
    with pytest.raises(KeysUnavailable):
        await setting.ask()


async def test_a_refused_key_is_not_let_in_because_the_database_is_away(
    setting: Setting, database_away: None
) -> None:
    setting.cache._remember(digest_key(setting.key.secret, PEPPER), None)
    setting.clock.now += UNKNOWN_TTL_S
    with pytest.raises(KeysUnavailable):
        await setting.ask()


async def test_a_good_key_does_not_wait_for_a_slow_database(setting: Setting) -> None:
    await setting.ask()
    setting.clock.now += TTL_S
    async with keys_locked():
        found = await asyncio.wait_for(asyncio.gather(*(setting.ask() for _ in range(3))), 5)
        assert set(found) == {setting.principal}
        assert await setting.ask() == setting.principal
    assert len(setting.lookups) == 2


async def test_a_revocation_is_not_forgotten_because_the_database_is_slow(setting: Setting) -> None:
    """The entry that a request set out with is gone when its patience ends: it must not come back."""
    await setting.ask()
    await setting.revoke()
    setting.clock.now += TTL_S
    async with keys_locked():
        asking = [asyncio.create_task(setting.ask()) for _ in range(3)]
        await asyncio.sleep(0.1)
        setting.hear_of_revocation()
        _, waiting = await asyncio.wait(asking, timeout=authentication.PATIENCE_S + 0.2)
        assert len(waiting) == 3
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(answer) for answer in answers] == [KeyRefused] * 3


async def test_a_full_cache_starts_again(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "MAX_ENTRIES", 3)
    for _ in range(10):
        with pytest.raises(KeyRefused):
            await setting.cache.principal(generate_key())
        assert len(setting.cache._entries) <= 3
