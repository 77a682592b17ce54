"""One labelled stream for everything that runs here, which never blocks whoever writes to it."""

import contextlib
import io
import os
import queue
import threading
from typing import TextIO

WAITING_LINES = 10_000
LINE_BYTES = 64 * 1024
LABEL_WIDTH = 8
COLOURS = (36, 33, 32, 35, 34, 31)


class LogStream:
    """Lines go to `out` from a thread of their own.

    A reader that stops reading (a paused terminal, a script that only waited for the first lines) must not
    stop the relay: what does not fit into the queue is dropped.
    """

    def __init__(self, out: TextIO) -> None:
        self.out = out
        self.coloured = out.isatty()
        self.labels: list[str] = []
        self.lines: queue.Queue[str | None] = queue.Queue(WAITING_LINES)
        self.thread = threading.Thread(target=self._write, name="log stream", daemon=True)
        self.thread.start()

    def line(self, label: str, text: str) -> None:
        self.plain(f"{self._prefix(label)} {text}")

    def say(self, text: str) -> None:
        """A line of the supervisor's own."""
        self.line("farebox", text)

    def plain(self, text: str) -> None:
        with contextlib.suppress(queue.Full):
            self.lines.put_nowait(text)

    def close(self, patience: float = 1.0) -> None:
        """Write what waits, for at most `patience` seconds."""
        with contextlib.suppress(queue.Full):
            self.lines.put(None, timeout=patience)
            self.thread.join(patience)

    def _prefix(self, label: str) -> str:
        if label not in self.labels:
            self.labels.append(label)
        padded = f"{label:<{LABEL_WIDTH}} |"
        colour = COLOURS[self.labels.index(label) % len(COLOURS)]
        return f"\033[{colour}m{padded}\033[0m" if self.coloured else padded

    def _write(self) -> None:
        while (text := self.lines.get()) is not None:
            with contextlib.suppress(OSError, ValueError):  # nobody reads any more; the service goes on
                self.out.write(text + "\n")
                if self.lines.empty():
                    self.out.flush()


class LabelledText(io.TextIOBase):
    """What the supervisor's own process logs, as lines of its stream."""

    def __init__(self, stream: LogStream) -> None:
        self.stream = stream

    def write(self, text: str, /) -> int:
        for line in text.splitlines():
            self.stream.say(line)
        return len(text)


class LineReader:
    """Cuts what a child writes into a pipe into lines. Closes the pipe at its end."""

    def __init__(self, descriptor: int, stream: LogStream, label: str) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor = descriptor
        self.stream = stream
        self.label = label
        self.rest = b""
        self.closed = False

    def read(self) -> bool:
        """Pass on what is there now; False when nothing was."""
        try:
            data = os.read(self.descriptor, LINE_BYTES)
        except BlockingIOError:
            return False
        self._pass_on(data)
        if not data:
            self.close()
        return bool(data)

    def _pass_on(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        if len(self.rest) > LINE_BYTES or not data:
            lines, self.rest = [*lines, self.rest], b""
        for line in filter(None, lines):
            self.stream.line(self.label, line.decode(errors="replace").rstrip("\r"))

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            os.close(self.descriptor)
