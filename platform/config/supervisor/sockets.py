"""The listening sockets, which belong to the supervisor: connections wait while a child is started again."""

import errno
import socket
from pathlib import Path

from config.engines.errors import ConfigurationError

BACKLOG = 2048
LOOPBACK = "127.0.0.1"
# Bound to every address: where this machine reaches itself.
ANY = {"0.0.0.0": LOOPBACK, "::": "::1"}  # noqa: S104 - a table of what others may have chosen


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on `host`; raises ConfigurationError when the port is not to be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise ConfigurationError(f"HOST {host} is not an address of this machine") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit it. A server that gets the socket as a mere descriptor does not set it, and an
        # answer in two writes then waits 40 ms for the other side's delayed acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigurationError(_reason(error, host, port)) from error
    return listener


def _reason(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use: stop what uses it or set PORT"
    if error.errno == errno.EACCES:
        return f"port {port} on {host} needs more rights than this account has: set PORT"
    return f"HOST {host} is not an address of this machine"


def listen_at_remembered_port(memory: Path) -> socket.socket:
    """A loopback socket on the port that `memory` names, on another one when that is taken."""
    try:
        listener = listen(LOOPBACK, int(memory.read_text()))
    except (ConfigurationError, OSError, ValueError, OverflowError):
        listener = listen(LOOPBACK, 0)
    memory.write_text(str(listener.getsockname()[1]))
    return listener


def own_url(host: str, port: int) -> str:
    """The address as people type it."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def local_address(host: str) -> str:
    """Where to reach from here what listens on `host`."""
    return ANY.get(host, host)
