"""`engines_available()`: what every command but `up` wraps around its work."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from config.engines.addresses import socket_paths
from config.engines.engine import Readiness
from config.engines.errors import ConfigurationError
from config.engines.home import SUPERVISOR_LOCK, is_locked, prepare_home
from config.engines.keeper import OTHERS_REMAIN, READY
from config.engines.running import embedded_engines
from config.env import ENV, Env, child_environment

PATIENCE_SECONDS = 90.0  # a first start makes the data folder; a start after a crash recovers
LEAVING_SECONDS = 30.0


@contextmanager
def engines_available(env: Env = ENV) -> Iterator[None]:
    """Use the supervisor's engines, or share engines that live as long as one command needs them.

    Nothing is left to do for an engine whose URL is given. Raises ConfigurationError.
    """
    if env.database_url and env.redis_url:
        yield
        return
    prepare_home(env.home)
    place = _Place(env)
    try:
        place.take()
        yield
    finally:
        place.leave()


class _Place:
    """One command's place among the users of the engines."""

    def __init__(self, env: Env) -> None:
        self.env = env
        self.connection: socket.socket | None = None
        self.keeper: subprocess.Popen[bytes] | None = None

    def take(self) -> None:
        """Return when the engines answer, those of a supervisor or those of a keeper."""
        until = time.monotonic() + PATIENCE_SECONDS
        while not self._serving():
            if time.monotonic() > until:
                raise ConfigurationError(f"the engines in {self.env.home} do not answer")
            time.sleep(0.02)

    def _serving(self) -> bool:
        if is_locked(self.env.home / "run" / SUPERVISOR_LOCK):
            return self._supervisor_serves()
        return self._keeper_serves()

    def _supervisor_serves(self) -> bool:
        """Not while it still waits for a keeper: those engines are about to stop."""
        kept = socket_paths(self.env.home).keeper_socket.exists()
        return not kept and all(
            engine.readiness() is Readiness.READY for engine in embedded_engines(self.env)
        )

    def _keeper_serves(self) -> bool:
        self.connection = _knock(socket_paths(self.env.home).keeper_socket)
        if self.connection is None and (self.keeper is None or self.keeper.poll() is not None):
            self.keeper = _start_keeper(self.env)
        return self.connection is not None

    def leave(self) -> None:
        """Return when the engines have stopped, or at once when others use them."""
        others_remain = self.connection and _others_remain(self.connection)
        if self.keeper and not others_remain:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.keeper.wait(LEAVING_SECONDS)


def _knock(path: Path) -> socket.socket | None:
    """A connection on which the keeper said that all is ready; None when there is no keeper any more."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(PATIENCE_SECONDS)
        connection.connect(str(path))
        with connection.makefile("rb") as answers:
            answer = answers.readline()
    except OSError:
        answer = b""
    if answer == READY:
        return connection
    connection.close()
    if answer:
        raise ConfigurationError(answer.decode().strip())
    return None


def _others_remain(connection: socket.socket) -> bool:
    """Say goodbye; the answer takes as long as the engines' stop if we are the last."""
    with connection, contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(LEAVING_SECONDS)
        return connection.recv(1) == OTHERS_REMAIN
    return False


def _start_keeper(env: Env) -> subprocess.Popen[bytes]:
    """In a session of its own: it outlives this command when another one still needs the engines."""
    given = {"DATABASE_URL": env.database_url or "", "REDIS_URL": env.redis_url or ""}
    with (env.home / "log" / "engines.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "config.engines"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=child_environment(FAREBOX_HOME=str(env.home), **given),
            cwd="/",
            start_new_session=True,
        )
