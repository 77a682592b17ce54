"""Keeps children alive until a signal comes, then ends them in order and in time."""

import asyncio
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import IntEnum
from typing import TypeVar

from config.engines.process import Program
from config.supervisor.child import Child
from config.supervisor.stream import LogStream

T = TypeVar("T")

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Phase(IntEnum):
    """Children end phase by phase: each still has below it what it needs to finish its work."""

    TRAFFIC = 0
    VENDOR = 1
    VALKEY = 2
    POSTGRES = 3


# Seconds after the stop signal at which patience with a phase ends. All of it stays below ten.
PATIENCE = {Phase.TRAFFIC: 8.0, Phase.VENDOR: 8.3, Phase.VALKEY: 8.6, Phase.POSTGRES: 9.5}


class Supervisor:
    def __init__(self, stream: LogStream) -> None:
        self.stream = stream
        self.children: dict[Phase, list[Child]] = {phase: [] for phase in Phase}
        self.stopping = asyncio.Event()
        self.hurry = asyncio.Event()

    def add(self, program: Program, phase: Phase) -> Child:
        """Start `program` and keep it running until its phase of the stop."""
        child = Child(program, self.stream)
        self.children[phase].append(child)
        child.start()
        return child

    async def run(self, start_up: Callable[[], Awaitable[None]]) -> None:
        """Start, serve until a signal, stop. What `start_up` raises comes out after the stop."""
        self._watch_signals()
        starting = asyncio.ensure_future(start_up())
        waiting = asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
            await waiting
        finally:
            starting.cancel()
            waiting.cancel()
            await self._stop_all()

    def _watch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, self._notice_deaths)
        for number in STOP_SIGNALS:
            # Under nohup a hang-up means nothing. An interrupt always does, though scripts start what they
            # put into the background with it ignored.
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, self._on_stop_signal, number)

    def _on_stop_signal(self, number: int) -> None:
        if self.stopping.is_set():
            self.hurry.set()
            return
        self.stream.say(f"{signal.Signals(number).name}: stopping; once more to hurry")
        self.stopping.set()

    def _notice_deaths(self) -> None:
        for children in self.children.values():
            for child in children:
                child.notice()

    async def _stop_all(self) -> None:
        began = time.monotonic()
        for phase, children in self.children.items():
            until = began + PATIENCE[phase]
            await asyncio.gather(*(child.stop(until=until, hurry=self.hurry) for child in children))


async def in_thread(function: Callable[[], T]) -> T:
    """The result of a blocking `function`; a daemon thread, so that one that hangs cannot delay our end."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(done: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop has closed: nobody waits any more
            loop.call_soon_threadsafe(lambda: None if future.done() else done())

    def work() -> None:
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001 - it is raised where it is awaited
            failure = error
            settle(lambda: future.set_exception(failure))
        else:
            settle(lambda: future.set_result(result))

    threading.Thread(target=work, daemon=True).start()
    return await future
