"""What goes wrong during a chaos run: processes of the installation killed, at seeded moments.

The supervisor starts each again. Only processes of the one installation are touched, each by its number.
"""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.installation import Installation

POSTGRES_LEAST = 3
VALKEY_LEAST = 2
WORKER_LEAST = 3
RELAY_EVERY_S = 5.0
# Of a longer run each engine is struck once in so many seconds.
ENGINE_EVERY_S = 60.0
RESTART_SECONDS = 30.0
CALM_SHARE = 0.08  # at both ends, so that every blow hits traffic
# What PostgreSQL is told: nothing at all, to drop everything, to end its clients and close its books.
POSTGRES_SIGNALS = (signal.SIGKILL, signal.SIGQUIT, signal.SIGINT)
# Every second time it stays away so long that spools fill, and a relay dies that may have one.
AWAY_S = 3.0
WORDS = {"relay": b"uvicorn", "worker": b"celery --quiet -A config worker", "valkey": b"valkey-server"}


@dataclass
class Havoc:
    """`blows` is what was done; what came of it stands in the installation's log."""

    installation: Installation
    seed: int
    seconds: float
    blows: Counter[str] = field(default_factory=Counter)

    def wreak(self) -> None:
        """Blocks until the last blow, a little before `seconds` are over."""
        dice = random.Random(self.seed)
        began = time.monotonic()
        for moment, kind in self._plan(dice):
            time.sleep(max(0.0, began + moment - time.monotonic()))
            self._strike(kind, dice)

    @property
    def restarts(self) -> int:
        """How often the supervisor started something again."""
        return self.installation.log_text().count("; starting it again")

    @property
    def spools_replayed(self) -> int:
        """How often a process settled what it had spooled itself."""
        return self.installation.log_text().count("spool_replayed")

    def _plan(self, dice: random.Random) -> Iterator[tuple[float, str]]:
        more = int(self.seconds / ENGINE_EVERY_S)
        counts = {
            "postgres": max(POSTGRES_LEAST, more),
            "valkey": max(VALKEY_LEAST, more),
            "worker": max(WORKER_LEAST, more),
            "relay": max(4, int(self.seconds / RELAY_EVERY_S)),
        }
        first, last = self.seconds * CALM_SHARE, self.seconds * (1 - CALM_SHARE)
        # One in each equal part of the time: an engine must be up again before it can be struck again.
        plan = [
            (first + (last - first) * (number + dice.random() * 0.6) / count, kind)
            for kind, count in counts.items()
            for number in range(count)
        ]
        yield from sorted(plan)

    def _strike(self, kind: str, dice: random.Random) -> None:
        if kind == "postgres":
            self._strike_postgres(dice)
            return
        self.blows[kind] += _send(dice.choice(self._living(kind)), signal.SIGKILL)

    def _living(self, kind: str) -> list[int]:
        """At least one: who was struck a moment ago may still be on its way back."""
        until = time.monotonic() + RESTART_SECONDS
        while time.monotonic() < until:
            processes = self.installation.processes()
            if found := sorted(pid for pid, words in processes.items() if WORDS[kind] in words):
                return found
            time.sleep(0.05)
        raise TimeoutError(f"{kind} did not come back")

    def _strike_postgres(self, dice: random.Random) -> None:
        self.blows["postgres"] += _send(self._postmaster(), dice.choice(POSTGRES_SIGNALS))
        if self.blows["postgres"] % 2:
            until = time.monotonic() + AWAY_S
            self._keep_away(until - AWAY_S / 2)
            self._strike("relay", dice)
            self._keep_away(until)

    def _keep_away(self, until: float) -> None:
        """It is killed as often as it comes back; that counts as one absence."""
        while time.monotonic() < until:
            for pid, words in self.installation.processes().items():
                if b"/bin/postgres -D" in words:
                    _send(pid, signal.SIGKILL)
            time.sleep(0.05)

    def _postmaster(self) -> int:
        """Waits until it is there: it must be struck as often as planned."""
        file = self.installation.home / "postgres" / "postmaster.pid"
        until = time.monotonic() + RESTART_SECONDS
        while time.monotonic() < until:
            try:
                lines = file.read_text().splitlines()
                if lines[7].strip() == "ready" and _is_alive(int(lines[0])):
                    return int(lines[0])
            except (OSError, IndexError, ValueError):
                pass
            time.sleep(0.05)
        raise TimeoutError("PostgreSQL did not come back")


def _is_alive(pid: int) -> bool:
    return _send(pid, 0)


def _send(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
