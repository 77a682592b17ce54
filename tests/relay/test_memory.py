"""What is remembered of a model's thoughts: whose it is, how long, and what a dead Valkey costs."""

import asyncio
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from structlog.testing import capture_logs

from common.sealing import seal
from config.engines.engine import Readiness
from config.engines.valkey import Valkey
from relay import memory
from relay.memory import ThoughtMemory

BLOCKS = [{"type": "thinking", "thinking": "Fourteen degrees is mild.", "signature": "c2lnbmVk"}]


class OwnValkey:
    """One that a test may stop, freeze and start again."""

    def __init__(self, home: Path) -> None:
        self._valkey = Valkey(home)
        self._valkey.socket.parent.mkdir(mode=0o700, exist_ok=True)
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{self._valkey.socket}"

    def start(self) -> None:
        program = self._valkey.program()
        self._process = subprocess.Popen(program.argv, env=dict(program.environment))
        deadline = time.monotonic() + 10
        while self._valkey.readiness() is not Readiness.READY:
            if time.monotonic() > deadline:
                self.stop()
                raise TimeoutError("Valkey did not start")
            time.sleep(0.01)

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)


@pytest.fixture
def valkey() -> Iterator[OwnValkey]:
    with tempfile.TemporaryDirectory(prefix="fbx-") as folder:
        running = OwnValkey(Path(folder))
        running.start()
        try:
            yield running
        finally:
            running.stop()


@pytest.fixture
async def thoughts(valkey: OwnValkey) -> AsyncIterator[ThoughtMemory]:
    made = ThoughtMemory(valkey.url, wait_s=1.0)  # patient: other tests share this machine
    yield made
    await made.aclose()


async def test_what_was_remembered_is_recalled(thoughts: ThoughtMemory) -> None:
    await thoughts.remember(7, {"call_a": BLOCKS, "call_b": "AAA="})
    assert await thoughts.recall(7, ["call_b", "call_a", "call_c", "call_a"]) == {
        "call_a": BLOCKS,
        "call_b": "AAA=",
    }


async def test_nothing_is_asked_where_there_are_no_calls() -> None:
    nowhere = ThoughtMemory("unix:///nonexistent/valkey")
    with capture_logs() as lines:
        assert await nowhere.recall(7, []) == {}
        await nowhere.remember(7, {})
    assert lines == []


async def test_another_organization_recalls_nothing(thoughts: ThoughtMemory) -> None:
    await thoughts.remember(7, {"call_a": BLOCKS})
    assert await thoughts.recall(8, ["call_a"]) == {}


async def test_what_was_put_under_anothers_key_does_not_open(
    thoughts: ThoughtMemory, valkey: OwnValkey
) -> None:
    """Should an answer of Valkey ever reach the wrong question, it says nothing there."""
    await thoughts.remember(7, {"call_a": BLOCKS})
    with valkey.client() as client:
        (key,) = client.keys()
        client.set(memory._key(8, "call_a"), client.get(key))
    with capture_logs() as lines:
        assert await thoughts.recall(8, ["call_a"]) == {}
    assert [line["event"] for line in lines] == ["thoughts_do_not_open"]


async def test_valkey_sees_neither_thoughts_nor_ids(thoughts: ThoughtMemory, valkey: OwnValkey) -> None:
    await thoughts.remember(7, {"call_secret": BLOCKS})
    with valkey.client() as client:
        (key,) = client.keys()
        value = client.get(key)
        assert 3_590 < client.ttl(key) <= memory.KEPT_S
    assert b"secret" not in key
    assert b"degrees" not in value


@pytest.mark.parametrize("call_id", ["", "a" * 100_000, "a b\r\nFLUSHALL", "呼叫\u2028", "x:y:*"])
async def test_clients_may_write_any_id(thoughts: ThoughtMemory, valkey: OwnValkey, call_id: str) -> None:
    await thoughts.remember(7, {call_id: 1})
    assert await thoughts.recall(7, [call_id]) == {call_id: 1}
    with valkey.client() as client:
        assert all(len(key) < 80 for key in client.scan_iter())


async def test_sizes_and_numbers_are_bounded(thoughts: ThoughtMemory, valkey: OwnValkey) -> None:
    large = "x" * (memory.ENTRY_BYTES - 10)
    await thoughts.remember(7, {"too_large": large + "x" * 20, "a": 1})
    await thoughts.remember(7, {f"large_{number}": large for number in range(6)})
    await thoughts.remember(7, {f"many_{number}": 1 for number in range(200)})
    with valkey.client() as client:
        assert client.dbsize() == 1 + 4 + memory.MOST_CALLS
    known = await thoughts.recall(7, [*(f"many_{number}" for number in range(200)), "too_large", "a"])
    assert list(known) == [*(f"many_{number}" for number in range(74, 128)), "a"]


async def test_a_key_that_left_the_ring_costs_the_thoughts_only(
    thoughts: ThoughtMemory, valkey: OwnValkey, settings: Any
) -> None:
    await thoughts.remember(7, {"call_a": BLOCKS})
    settings.FIELD_KEYS = ["other:" + "A" * 43 + "="]
    assert await thoughts.recall(7, ["call_a"]) == {}
    with valkey.client() as client:
        key = memory._key(7, "call_b")
        client.set(key, seal(b"no json", place=key))
    assert await thoughts.recall(7, ["call_b"]) == {}


async def test_an_outage_costs_the_thoughts_and_one_line(valkey: OwnValkey, thoughts: ThoughtMemory) -> None:
    await thoughts.remember(7, {"call_a": BLOCKS})
    valkey.stop()
    with capture_logs() as lines:
        for _ in range(3):
            assert await thoughts.recall(7, ["call_a"]) == {}
            await thoughts.remember(7, {"call_a": BLOCKS})
    assert [line["event"] for line in lines] == ["thoughts_not_kept"]
    assert "call_a" not in str(lines)


async def test_after_a_restart_it_goes_on(valkey: OwnValkey, thoughts: ThoughtMemory) -> None:
    await thoughts.remember(7, {"call_a": BLOCKS})
    valkey.stop()
    assert await thoughts.recall(7, ["call_a"]) == {}
    valkey.start()
    assert await thoughts.recall(7, ["call_a"]) == {}
    await thoughts.remember(7, {"call_a": BLOCKS})
    assert await thoughts.recall(7, ["call_a"]) == {"call_a": BLOCKS}


async def test_a_restart_nobody_noticed_costs_nothing(valkey: OwnValkey, thoughts: ThoughtMemory) -> None:
    """Connections of before the restart are in the pool; the first request gets through all the same."""
    await asyncio.gather(*(thoughts.recall(7, [str(number)]) for number in range(5)))
    valkey.stop()
    valkey.start()
    with capture_logs() as lines:
        await thoughts.remember(7, {"call_a": BLOCKS})
        assert await thoughts.recall(7, ["call_a"]) == {"call_a": BLOCKS}
    assert lines == []


async def test_a_frozen_valkey_holds_no_request(valkey: OwnValkey) -> None:
    thoughts = ThoughtMemory(valkey.url)
    patient = ThoughtMemory(valkey.url, wait_s=1.0)
    for number in range(20):
        await patient.remember(7, {f"call_{number}": number})
    valkey.send(signal.SIGSTOP)
    start = time.monotonic()
    asked = [thoughts.recall(7, [f"call_{number}"]) for number in range(20)]
    assert await asyncio.gather(*asked) == [{}] * 20
    assert time.monotonic() - start < 10 * memory.WAIT_S
    valkey.send(signal.SIGCONT)
    # Answers to what was given up must not reach the next questions.
    for number in range(20):
        assert await patient.recall(7, [f"call_{number}"]) == {f"call_{number}": number}
    answers = [await thoughts.recall(7, [f"call_{number}"]) for number in range(20)]
    assert all(answer in ({}, {f"call_{number}": number}) for number, answer in enumerate(answers))
    await patient.aclose()
    await thoughts.aclose()


async def test_many_at_once_share_few_connections(thoughts: ThoughtMemory, valkey: OwnValkey) -> None:
    await thoughts.remember(7, {str(number): number for number in range(100)})
    found = await asyncio.gather(*(thoughts.recall(7, [str(number)]) for number in range(100)))
    assert found == [{str(number): number} for number in range(100)]
    with valkey.client() as client:
        assert len(client.client_list()) <= memory.CONNECTIONS + 1
