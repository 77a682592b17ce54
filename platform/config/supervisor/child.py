"""One supervised program: started, listened to, started again when it dies, ended when we end."""

import asyncio
import os
import signal
import subprocess
import time

from config.engines.process import Program, spawn
from config.supervisor.stream import LineReader, LogStream

FIRST_DELAY_SECONDS = 0.2
LONGEST_DELAY_SECONDS = 10.0
STEADY_SECONDS = 30.0
INSIST_SECONDS = 1.0


class Backoff:
    """The pause before the next start doubles as long as a program keeps dying young."""

    def __init__(self) -> None:
        self.delay = FIRST_DELAY_SECONDS

    def after(self, lived: float) -> float:
        """Seconds to wait after a life of `lived` seconds."""
        if lived >= STEADY_SECONDS:
            self.delay = FIRST_DELAY_SECONDS
        delay, self.delay = self.delay, min(self.delay * 2, LONGEST_DELAY_SECONDS)
        return delay


class Child:
    """Lives on the supervisor's event loop in the main thread: `spawn` says why."""

    def __init__(self, program: Program, stream: LogStream) -> None:
        self.program = program
        self.stream = stream
        self.process: subprocess.Popen[bytes] | None = None
        self.reader: LineReader | None = None
        self.ended = asyncio.Event()
        self.deaths = 0
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.task = asyncio.create_task(self._keep_alive(), name=self.program.label)

    async def _keep_alive(self) -> None:
        backoff = Backoff()
        while True:
            started = time.monotonic()
            how = await self._live()
            self.deaths += 1
            delay = backoff.after(time.monotonic() - started)
            self.stream.say(f"{self.program.label} {how}; starting it again in {delay:g} s")
            await asyncio.sleep(delay)

    async def _live(self) -> str:
        """One life of the program; returns how it ended."""
        self.ended.clear()
        try:
            self.process = self._spawn()
        except OSError as error:
            return f"could not be started ({error.strerror})"
        await self.ended.wait()
        return describe_exit(self.process.returncode)

    def _spawn(self) -> subprocess.Popen[bytes]:
        reading, writing = os.pipe()
        try:
            process = spawn(self.program, output=writing)
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self._listen(LineReader(reading, self.stream, self.program.label))
        return process

    def _listen(self, reader: LineReader) -> None:
        loop = asyncio.get_running_loop()
        self.reader = reader

        def pass_on() -> None:
            descriptor = reader.descriptor
            if not reader.read() and reader.closed:
                loop.remove_reader(descriptor)

        loop.add_reader(reader.descriptor, pass_on)

    def _hear_the_last(self) -> None:
        if self.reader and not self.reader.closed:
            asyncio.get_running_loop().remove_reader(self.reader.descriptor)
            while self.reader.read():
                pass
            self.reader.close()

    def notice(self) -> None:
        """Called whenever some child has ended: was it ours?"""
        if self.process and self.process.poll() is not None:
            self.ended.set()

    async def stop(self, *, until: float, hurry: asyncio.Event) -> None:
        """Politely until the monotonic time `until` or `hurry`, then firmly. Returns when it is gone."""
        if self.task:
            self.task.cancel()
        await self._ask(self.program.stop_signal, until - time.monotonic(), hurry)
        await self._ask(self.program.hard_signal, INSIST_SECONDS)
        await self._ask(signal.SIGKILL, INSIST_SECONDS)
        self._hear_the_last()

    async def _ask(self, number: int, seconds: float, hurry: asyncio.Event | None = None) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(number)
        waits = [asyncio.create_task(event.wait()) for event in (self.ended, hurry) if event]
        await asyncio.wait(waits, timeout=max(seconds, 0.05), return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()


def describe_exit(returncode: int) -> str:
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    try:
        return f"was ended by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was ended by signal {-returncode}"
