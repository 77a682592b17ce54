"""The vendor double as a child process of a test."""

import http.client
import json
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from tests.doubles.vendor_profiles import PROFILES

_START_SECONDS = 20.0
_STOP_SECONDS = 5.0


class VendorDouble:
    """A running vendor double; `with VendorDouble() as vendor:` starts and stops it.

    `log` is where its records go, a temporary file of its own when not given. It ends when this
    process does, however that may happen. A double of another protocol names its own `script`.
    """

    script: ClassVar[Path] = Path(__file__).with_name("vendor.py")

    def __init__(self, log: Path | None = None, *, port: int = 0) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="vendor-double-") if log is None else None
        self.log = Path(self._folder.name) / "log.jsonl" if self._folder else Path(str(log))
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """What a channel of an OpenAI-style vendor takes."""
        return f"{self.origin}/v1"

    def base_url_of(self, vendor: str) -> str:
        """What a channel of another vendor takes, whom the double then plays; see vendor_profiles."""
        return self.origin + PROFILES[vendor].base_path

    @property
    def pid(self) -> int:
        assert self._process is not None, "the vendor double is not running"
        return self._process.pid

    def start(self) -> None:
        """Start it and wait for its port; a port once taken is taken again after a stop."""
        arguments = [sys.executable, str(self.script), "--port", str(self.port)]
        arguments += ["--log", str(self.log), "--until-stdin-closes"]
        self._process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        try:
            self.port = int(json.loads(self._read_first_line())["port"])
        except BaseException:
            self.stop()
            raise

    def _read_first_line(self) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], _START_SECONDS)
        line = self._process.stdout.readline() if ready else b""
        if not line:
            raise RuntimeError("the vendor double did not start")
        return line

    def stop(self) -> None:
        """End it, by force if need be. The log stays unless it was temporary."""
        if self._process is not None:
            self._process.terminate()
            self._reap(self._process)
            self._process = None
        if self._folder is not None:
            self._folder.cleanup()

    def kill(self) -> None:
        """End it at once, as a power cut would; `start` brings it back on the same port."""
        if self._process is not None:
            self._process.kill()
            self._reap(self._process)
            self._process = None

    @staticmethod
    def _reap(process: subprocess.Popen[bytes]) -> None:
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_SECONDS)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def records(self) -> list[dict[str, Any]]:
        """The log so far: a record for each answer that has ended, in the order they ended.

        The double does one thing at a time and writes a record right after the last byte of its
        answer, so once it answers another question, every answer read before has its record.
        """
        if self._process is not None:
            self.stats()
        lines = self.log.read_bytes().splitlines() if self.log.exists() else []
        return [json.loads(line) for line in lines]

    def wait_for_records(self, count: int, seconds: float = 5.0) -> list[dict[str, Any]]:
        """The log once it holds `count` records: for answers whose end the client cannot see.

        Raises TimeoutError.
        """
        deadline = time.monotonic() + seconds
        while len(records := self.records()) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(records)} of {count} records after {seconds} s: {records}")
            time.sleep(0.01)
        return records

    def stats(self) -> dict[str, Any]:
        """Counts since the last reset, and the double's CPU seconds since then."""
        return self._call("GET", "/__stats__")

    def reset(self) -> None:
        """Counts to zero, log emptied."""
        self._call("POST", "/__reset__")

    def _call(self, method: str, path: str) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path)
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return answer


def directive(**fields: Any) -> list[dict[str, Any]]:
    """The messages of a request that tells the double what to do; see vendor.py for the fields."""
    return [{"role": "user", "content": json.dumps(fields)}]
