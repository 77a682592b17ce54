"""The installation's folder: made when missing, kept private, and locked by whoever runs the engines."""

import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from config.engines.addresses import socket_paths
from config.engines.errors import ConfigurationError

SUPERVISOR_LOCK = "supervisor.lock"
ENGINES_LOCK = "engines.lock"


def prepare_home(home: Path) -> None:
    """Make `home` and its private folders; raises ConfigurationError when they cannot be written."""
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in ("run", "log"):
            (home / name).mkdir(exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=home / "run"):
            pass
    except OSError as error:
        raise ConfigurationError(f"FAREBOX_HOME {home} cannot be written: {error.strerror}") from error
    _make_private(socket_paths(home).valkey_socket.parent)
    socket_paths(home).postgres_dir.mkdir(exist_ok=True, mode=0o700)


def _make_private(folder: Path) -> None:
    """The engines trust whoever reaches their sockets, so the folder must be ours and nobody else's."""
    folder.mkdir(exist_ok=True, mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise ConfigurationError(f"{folder} belongs to somebody else; remove it or move FAREBOX_HOME")
    if stat.S_IMODE(found.st_mode) & 0o067:
        folder.chmod(0o700)


@contextmanager
def locked(path: Path, *, patience: float, refusal: str) -> Iterator[None]:
    """Hold the lock for the block; ConfigurationError(refusal) when it is not free within `patience` seconds.

    The kernel gives the lock back however the holder ends, and children never inherit it.
    """
    with path.open("a") as file:
        until = time.monotonic() + patience
        while not _take(file.fileno(), fcntl.LOCK_EX):
            if time.monotonic() >= until:
                raise ConfigurationError(refusal)
            time.sleep(0.02)
        yield


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock now."""
    if not path.exists():
        return False
    with path.open("a") as file:
        return not _take(file.fileno(), fcntl.LOCK_SH)


def _take(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
