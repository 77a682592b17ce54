"""Stopping and starting a whole installation: nothing is left running or lost, mistakes are one line."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.config.processes import wait_for
from tests.flows.asking import ask, fields, sdk
from tests.flows.wire import Seen, Wire, see_all
from tests.installation import Customer, Installation, price_of

RESTART_SECONDS = 8.0
STOP_SECONDS = 10.0
UNDER_WAY = 16


@dataclass(frozen=True)
class Stopped:
    """How a stop went, and which processes it left."""

    exit_code: int
    seconds: float
    left: dict[int, bytes]


@dataclass(frozen=True)
class Stop:
    """A stop with something under way, and the start after it."""

    customer: Customer
    stopped: Stopped
    seconds_to_ready: float


@dataclass(frozen=True)
class Terminated(Stop):
    seen: list[Seen]
    served: list[dict[str, Any]]


@dataclass(frozen=True)
class Interrupted(Stop):
    answer: Wire
    text: str


@pytest.fixture(scope="module")
def terminated(breakable: Installation) -> Terminated:
    """SIGTERM while answers of a second or so are under way."""
    customer = breakable.create_customer()
    breakable.vendor.reset()
    stopped, seen = asyncio.run(_terminate(customer))
    breakable.start()
    return Terminated(
        customer=customer,
        stopped=stopped,
        seconds_to_ready=breakable.seconds_to_ready,
        seen=seen,
        served=breakable.vendor.records(),
    )


async def _terminate(customer: Customer) -> tuple[Stopped, list[Seen]]:
    load = asyncio.create_task(see_all(customer, _second_long(), at_once=UNDER_WAY))
    await asyncio.sleep(0.5)
    stopped = await asyncio.to_thread(_stop, customer.installation, signal.SIGTERM)
    return stopped, await load


def _second_long() -> Iterator[tuple[int, dict[str, Any]]]:
    for number in range(300, 300 + UNDER_WAY):
        tell = {"prompt_tokens": number, "chunks": 20, "delay_ms": 60}
        yield number, fields(tell=tell, stream=bool(number % 2))


@pytest.fixture(scope="module")
def interrupted(breakable: Installation) -> Interrupted:
    """Ctrl-C, which reaches every process of the terminal, in the middle of an answer without an end."""
    customer = breakable.create_customer()
    stopped, answer, text = asyncio.run(_interrupt(customer))
    breakable.start()
    return Interrupted(
        customer=customer,
        stopped=stopped,
        seconds_to_ready=breakable.seconds_to_ready,
        answer=answer,
        text=text,
    )


async def _interrupt(customer: Customer) -> tuple[Stopped, Wire, str]:
    endless = fields(tell={"chunks": 1_000, "delay_ms": 100}, stream=True)
    async with Wire(customer, endless) as answer:
        texts = answer.texts()
        first = await anext(texts)
        stopping = asyncio.create_task(asyncio.to_thread(_stop, customer.installation, signal.SIGINT))
        text = "".join([first, *[more async for more in texts]])
    return await stopping, answer, text


def _stop(installation: Installation, number: signal.Signals) -> Stopped:
    began = time.monotonic()
    exit_code = installation.stop(number)
    return Stopped(exit_code, time.monotonic() - began, installation.processes())


class TestEveryStop:
    @pytest.fixture(params=["terminated", "interrupted"])
    def stop(self, request: pytest.FixtureRequest) -> Stop:
        stop: Stop = request.getfixturevalue(request.param)
        return stop

    def test_it_ends_well_and_soon(self, stop: Stop) -> None:
        assert stop.stopped.exit_code == 0
        assert stop.stopped.seconds < STOP_SECONDS

    def test_no_process_is_left(self, stop: Stop) -> None:
        assert stop.stopped.left == {}

    def test_the_data_is_still_there(self, stop: Stop) -> None:
        charged = stop.customer.charged()
        assert charged > 0
        assert stop.customer.balance().posted == stop.customer.credit_nano - charged

    def test_every_lease_was_given_back(self, stop: Stop) -> None:
        assert stop.customer.balance().pending == 0

    def test_secrets_were_shown_once(self, stop: Stop) -> None:
        installation = stop.customer.installation
        assert installation.log_text().count("Shown this once") == 1
        assert stop.customer.api_key not in installation.log_text()

    def test_keys_still_work(self, stop: Stop) -> None:
        with sdk(stop.customer) as client:
            assert ask(client).choices


def test_a_second_start_is_quick(terminated: Terminated, interrupted: Interrupted) -> None:
    assert min(terminated.seconds_to_ready, interrupted.seconds_to_ready) < RESTART_SECONDS


class TestRequestsUnderWay:
    def test_they_are_finished(self, terminated: Terminated) -> None:
        assert len(terminated.seen) == UNDER_WAY
        assert all(seen.is_complete for seen in terminated.seen)

    def test_they_are_charged(self, terminated: Terminated) -> None:
        charged = {
            line["prompt_tokens"]: line["charge_nano"]
            for line in terminated.customer.usage()
            if line["prompt_tokens"] >= 300
        }
        assert charged == {served["prompt_tokens"]: price_of(served) for served in terminated.served}
        assert len(charged) == UNDER_WAY


class TestAnAnswerThatTakesTooLong:
    def test_it_is_cut_with_an_error_that_invites_another_try(self, interrupted: Interrupted) -> None:
        assert not interrupted.answer.is_done
        assert b"service_unavailable" in interrupted.answer.received

    def test_what_came_out_is_charged(self, interrupted: Interrupted) -> None:
        record = interrupted.customer.record(interrupted.answer.request_id)
        assert record is not None
        assert record["usage_source"] == "estimated"
        assert record["output_tokens"] >= len(interrupted.text.encode()) // 4 > 0


class TestWhatIsKilled:
    def test_nothing_outlives_the_supervisor_and_the_books_balance(self, breakable: Installation) -> None:
        customer = breakable.create_customer("3.00")
        with sdk(customer) as client:
            ask(client)
        breakable.kill_supervisor()
        wait_for(lambda: not breakable.processes(), 10)
        breakable.start()
        assert customer.balance().posted < customer.credit_nano
        assert breakable.command("verify_books")["ok"]

    def test_worker_and_beat_come_back(self, breakable: Installation) -> None:
        killed = celery_pids(breakable)
        assert len(killed) == 2
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: len(celery_pids(breakable) - killed) == 2)


def celery_pids(installation: Installation) -> set[int]:
    return {pid for pid, words in installation.processes().items() if b"-m celery" in words}


class TestRefusals:
    @pytest.fixture
    def other(self) -> Iterator[Installation]:
        """One that has not been started, and has no catalogue."""
        installation = Installation()
        yield installation
        installation.discard()

    def test_a_second_start_in_the_same_folder_is_one_line(self, breakable: Installation) -> None:
        refused = breakable.run("up")
        assert refused.returncode == 2
        [line] = (refused.stdout + refused.stderr).splitlines()
        assert line.endswith(f"already running in {breakable.home}")

    def test_a_port_in_use_is_one_line(self, other: Installation) -> None:
        with socket.create_server(("127.0.0.1", other.port)):
            refused = other.run("up")
        assert refused.returncode == 2
        [line] = (refused.stdout + refused.stderr).splitlines()
        assert f"port {other.port} on 127.0.0.1 is in use" in line

    def test_a_catalogue_that_is_not_there_is_named_and_nothing_is_left_running(
        self, other: Installation
    ) -> None:
        refused = other.run("up")
        assert refused.returncode == 2
        assert str(other.folder / "catalog.toml") in (refused.stdout + refused.stderr).splitlines()[-1]
        assert other.processes() == {}
