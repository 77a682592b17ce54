"""The process that runs engines for commands when no supervisor does, as long as a command needs them.

A command connects, reads one status line, and keeps the connection open while it works: a command that is
killed leaves too, for the kernel closes its connection. Whoever leaves waits for the answer: the last one
gets the end of its connection when the engines have stopped, the others a byte at once.
"""

import contextlib
import selectors
import socket

from config.engines.addresses import socket_paths
from config.engines.errors import ConfigurationError
from config.engines.home import ENGINES_LOCK, SUPERVISOR_LOCK, is_locked, locked
from config.engines.running import embedded_engines, running
from config.env import Env

READY = b"ready\n"
OTHERS_REMAIN = b"+"
FIRST_USER_SECONDS = 10.0


class Audience:
    """The commands that use the engines now."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.users: set[socket.socket] = set()
        self.selector = selectors.DefaultSelector()
        listener.setblocking(False)
        self.selector.register(listener, selectors.EVENT_READ)

    def serve(self) -> socket.socket | None:
        """Return the last user when it leaves, still to be answered; None when nobody ever came."""
        while events := self.selector.select(None if self.users else FIRST_USER_SECONDS):
            for key, _mask in events:
                if key.fileobj is self.listener:
                    self._welcome()
                elif isinstance(key.fileobj, socket.socket) and self._is_last(key.fileobj):
                    return key.fileobj
        return None

    def _welcome(self) -> None:
        while True:
            try:
                user, _ = self.listener.accept()
            except BlockingIOError:
                return
            with contextlib.suppress(OSError):
                user.sendall(READY)
            self.users.add(user)
            self.selector.register(user, selectors.EVENT_READ)

    def _is_last(self, leaving: socket.socket) -> bool:
        self._welcome()  # whoever waits at the door counts
        self.users.discard(leaving)
        self.selector.unregister(leaving)
        if self.users:
            with leaving, contextlib.suppress(OSError):
                leaving.sendall(OTHERS_REMAIN)
        return not self.users


def keep(env: Env) -> None:
    """Run the engines that `env` leaves to us until nobody needs them; do nothing where others run them."""
    folder = env.home / "run"
    if is_locked(folder / SUPERVISOR_LOCK):
        return
    with (
        contextlib.suppress(ConfigurationError),  # another keeper, or a supervisor came first
        locked(folder / ENGINES_LOCK, patience=0, refusal="taken"),
    ):
        _keep(env)


def _keep(env: Env) -> None:
    paths = socket_paths(env.home)
    paths.keeper_socket.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(paths.keeper_socket))
        listener.listen(128)
        try:
            last = _serve(env, listener)
        except ConfigurationError as error:
            _refuse(listener, error.message)
        else:
            if last:
                last.close()
        finally:
            paths.keeper_socket.unlink(missing_ok=True)


def _serve(env: Env, listener: socket.socket) -> socket.socket | None:
    with running(embedded_engines(env), env.home / "log" / "engines.log"):
        last = Audience(listener).serve()
        listener.close()  # whoever comes from now on starts engines anew
        return last


def _refuse(listener: socket.socket, reason: str) -> None:
    """Tell everybody who waits at the door."""
    listener.settimeout(0.2)
    with contextlib.suppress(OSError):
        while True:
            user, _ = listener.accept()
            with user:
                user.sendall(reason.encode() + b"\n")
