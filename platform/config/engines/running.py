"""Engines for the duration of a block, without a supervisor: what the keeper of commands and tests use."""

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from config.engines.engine import Engine, wait_until_ready
from config.engines.errors import ConfigurationError
from config.engines.postgres import Postgres
from config.engines.process import Program, spawn, stop
from config.engines.valkey import Valkey
from config.env import Env

STOP_SECONDS = 20.0
LOG_BYTES = 1_000_000
# A killed server's children may hold its memory for a moment; the next attempt comes after these seconds.
ATTEMPTS_AFTER = (0.0, 0.5, 2.0)


def embedded_engines(env: Env) -> list[Engine]:
    """Those that no URL replaces, in the order of their start."""
    engines: list[Engine] = []
    if not env.database_url:
        engines.append(Postgres(env.home))
    if not env.redis_url:
        engines.append(Valkey(env.home))
    return engines


@contextmanager
def running(engines: Sequence[Engine], log: Path) -> Iterator[None]:
    """Start them in order, stop them in reverse; raises ConfigurationError when one does not start."""
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.unlink()
    with ExitStack() as stack, log.open("ab") as output:
        for engine in engines:
            engine.prepare()
            stack.callback(_end, *_start(engine, output.fileno(), hint=f"see {log}"))
        yield


def _start(engine: Engine, output: int, *, hint: str) -> tuple[subprocess.Popen[bytes], Program]:
    for delay in ATTEMPTS_AFTER:
        time.sleep(delay)
        program = engine.program()
        process = spawn(program, output=output)
        if _became_ready(engine, process, program, hint=hint):
            return process, program
    raise ConfigurationError(f"{engine.label} does not start: {hint}")


def _became_ready(engine: Engine, process: subprocess.Popen[bytes], program: Program, *, hint: str) -> bool:
    """False when the process ended by itself, which is worth another attempt."""
    try:
        wait_until_ready(engine, lambda: process.poll() is not None, hint=hint)
    except BaseException as error:
        ended = process.poll() is not None
        stop(process, program, patience=1)
        if ended and isinstance(error, ConfigurationError):
            return False
        raise
    return True


def _end(process: subprocess.Popen[bytes], program: Program) -> None:
    stop(process, program, patience=STOP_SECONDS)
