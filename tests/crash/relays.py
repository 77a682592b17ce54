"""A relay process of the test's own before the engines and the vendor of a whole installation.

Its way to the database is a link of its own, so that the database can be away for it alone.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

from tests.config.processes import wait_for
from tests.crash.die_at import Point
from tests.installation import ROOT, Customer, Installation

PROGRAM = Path(__file__).with_name("die_at.py")
SERVER = ("uvicorn", "config.asgi:application", "--loop=uvloop", "--http=httptools", "--lifespan=on")
READY_SECONDS = 30.0
END_SECONDS = 20.0
PATHS = os.pathsep.join([str(ROOT), str(ROOT / "platform")])
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
AUDITOR = """
import sys, json, django
django.setup()
from django.db import connection
from billing.books import verify_books
for _ in sys.stdin:
    report = verify_books()
    connection.close()
    broken = [check for check in report["checks"] if not check["ok"]]
    print(json.dumps(broken, default=str), flush=True)
"""


class CrashRelay:
    """`start` it as often as it died. It listens where no other relay does."""

    def __init__(self, installation: Installation, folder: Path) -> None:
        self.installation = installation
        self.port = _free_port()
        self._log = folder / "log"
        self._door = folder / "pg"
        self._name = f"crash-{uuid4().hex[:12]}"
        self._pid = 0
        self.reach_database()
        with self._log.open("ab") as log:
            self._starter = subprocess.Popen(
                [sys.executable, str(PROGRAM)],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    @property
    def _environment(self) -> dict[str, str]:
        database = {"DATABASE_URL": f"postgres:///{self._door}/farebox", "PGUSER": "farebox"}
        return {**_environment(self.installation), **database, "PGAPPNAME": self._name}

    @property
    def spools(self) -> list[Path]:
        return sorted((self.installation.home / "spool").glob("*.spool"))

    @property
    def log(self) -> str:
        return self._log.read_text()[-3000:]

    def asked_by(self, customer: Customer) -> Customer:
        """The same customer, asking here."""
        here = cast("Installation", SimpleNamespace(port=self.port))
        return Customer(here, customer.organization, customer.email, customer.api_key, customer.credit_nano)

    def start(self, point: Point | None = None) -> None:
        """What an earlier case left behind is ended first."""
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self._hear(END_SECONDS)
        options = [f"--port={self.port}", "--timeout-graceful-shutdown=5", "--no-access-log"]
        told = {"point": point and point.fields, "program": [*SERVER, *options]}
        assert self._starter.stdin is not None
        print(json.dumps(told), file=self._starter.stdin, flush=True)
        self._pid = self._hear(READY_SECONDS)

    def wait_until_ready(self) -> None:
        wait_for(self._answers, READY_SECONDS)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def _hear(self, seconds: float) -> int:
        assert self._starter.stdout is not None
        ready, _, _ = select.select([self._starter.stdout], [], [], seconds)
        assert ready, self.log
        return int(self._starter.stdout.readline())

    def wait_for_its_death(self) -> None:
        assert self._hear(END_SECONDS) == -signal.SIGKILL, self.log
        self._pid = 0

    def ask_to_stop(self) -> None:
        """SIGTERM: leases go back, what is spooled is settled if that is possible."""
        os.kill(self._pid, signal.SIGTERM)

    def stop(self) -> None:
        """Returns when it has stopped; the next `start` works again."""
        self.ask_to_stop()
        self._hear(END_SECONDS)
        self._pid = 0

    def discard(self) -> None:
        self._starter.kill()  # which kills what it has started
        self._starter.communicate()

    def lose_database(self) -> None:
        """Away for this process: its connections end, and there is no way to new ones."""
        self._door.unlink()
        self.installation.query(TERMINATE, self._name)

    def reach_database(self) -> None:
        if not self._door.is_symlink():
            self._door.symlink_to(self.installation.home / "run" / "pg")


class Auditor:
    """`verify_books` of an installation as often as wanted, in one process that has everything loaded."""

    def __init__(self, installation: Installation) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", AUDITOR],
            env=_environment(installation),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def broken_rules(self) -> list[dict[str, Any]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(file=self._process.stdin, flush=True)
        broken: list[dict[str, Any]] = json.loads(self._process.stdout.readline())
        return broken

    def stop(self) -> None:
        self._process.communicate(timeout=END_SECONDS)


def _environment(installation: Installation) -> dict[str, str]:
    known = {"PYTHONPATH": PATHS, "DJANGO_SETTINGS_MODULE": "config.settings", "PYTHONUNBUFFERED": "1"}
    return {**installation.environment, **known}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
