"""What PostgreSQL and Valkey have in common for whoever starts them, and how to wait for one."""

import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from config.engines.errors import ConfigurationError
from config.engines.process import Program

NO_ANSWER_SECONDS = 20.0
BUSY_SECONDS = 600.0  # crash recovery says that it is at work; a large one takes minutes


class Readiness(Enum):
    SILENT = auto()
    BUSY = auto()
    READY = auto()


class Engine(Protocol):
    label: str

    def prepare(self) -> None:
        """Make the data folder; blocks. Raises ConfigurationError when a person has to look."""

    def program(self) -> Program: ...

    def readiness(self) -> Readiness:
        """One question to the engine's socket; at most a second."""


def wait_until_ready(engine: Engine, gave_up: Callable[[], bool], *, hint: str) -> None:
    """Return when the engine answers; ConfigurationError when `gave_up()` or when it stays silent.

    `hint` tells where the engine's own words are.
    """
    started = time.monotonic()
    while (state := engine.readiness()) is not Readiness.READY:
        waited = time.monotonic() - started
        patience = BUSY_SECONDS if state is Readiness.BUSY else NO_ANSWER_SECONDS
        if gave_up() or waited > patience:
            raise ConfigurationError(f"{engine.label} does not start: {hint}")
        time.sleep(0.02)
