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
WORDS = {"relay": b"uvicorn", "worker": b"celery --quiet -A config worker", "valkey": b"valkey-server"}


@dataclass
class Havoc:
    """`blows` is what was done, `restarts` how often the supervisor says that it started something again."""

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
        return self.installation.log_text().count("; starting it again")

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
            victim, number = self._postmaster(), dice.choice(POSTGRES_SIGNALS)
        else:
            found = sorted(
                pid for pid, words in self.installation.processes().items() if WORDS[kind] in words
            )
            victim, number = (dice.choice(found) if found else 0), signal.SIGKILL
        if victim and _send(victim, number):
            self.blows[kind] += 1

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
