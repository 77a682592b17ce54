"""One way to start a program, for the supervisor and for commands: its own session, never outliving us."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Program:
    """What to start and how to end it.

    `stop_signal` asks politely, `hard_signal` insists; `death_signal` is what the kernel sends when the
    process that started it dies without a word. `before` runs before every start and must not block.
    """

    label: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: Path = Path("/")
    stop_signal: signal.Signals = signal.SIGTERM
    hard_signal: signal.Signals = signal.SIGKILL
    death_signal: signal.Signals = signal.SIGKILL
    pass_fds: tuple[int, ...] = ()
    user: int | None = None
    group: int | None = None
    before: Callable[[], None] = _nothing


def spawn(program: Program, *, output: int) -> subprocess.Popen[bytes]:
    """Start `program`, both its streams into `output`; call from a thread that lives as long as it.

    A session of its own keeps the terminal's Ctrl-C away: whoever started the program ends it, in order.
    """
    program.before()
    return subprocess.Popen(  # noqa: S603 - argv is built by us, no shell
        program.argv,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=dict(program.environment),
        cwd=program.cwd,
        pass_fds=program.pass_fds,
        start_new_session=True,
        user=program.user,
        group=program.group,
        extra_groups=None if program.user is None else [],
        preexec_fn=die_with_parent(program.death_signal),  # noqa: PLW1509 - one system call, no lock
    )


def die_with_parent(death_signal: signal.Signals) -> Callable[[], None] | None:
    """The kernel ties the signal to the thread that forks, hence the rule in `spawn`."""
    if _libc is None:
        return None
    prctl, parent = _libc.prctl, os.getpid()

    def arrange() -> None:
        prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != parent:  # it died before the kernel knew
            os._exit(1)

    return arrange


def stop(process: subprocess.Popen[bytes], program: Program, *, patience: float) -> None:
    """End `process` politely, after `patience` seconds firmly; returns when it is gone."""
    for number, seconds in ((program.stop_signal, patience), (program.hard_signal, 5.0)):
        process.send_signal(number)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
        return
    process.kill()
    process.wait()
