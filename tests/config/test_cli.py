"""manage.py itself, in processes of its own: which commands need engines, and mistakes in one line."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from config.cli import needs_engines
from config.engines.home import SUPERVISOR_LOCK, locked, prepare_home
from config.env import ROOT, child_environment
from config.supervisor.sockets import listen


def free_port() -> str:
    with listen("127.0.0.1", 0) as listener:
        return str(listener.getsockname()[1])


def manage(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = child_environment(
        DJANGO_SETTINGS_MODULE="config.settings", **{"DATABASE_URL": "", "REDIS_URL": "", **variables}
    )
    return subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The one line; the command said nothing else and ended with 2."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("farebox: ")
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("wallet 1", True),
        ("migrate", True),
        ("verify_books", True),
        ("up", False),
        ("up --relay-workers 2", False),
        ("makemigrations --check", False),
        ("compilemessages", False),
        ("wallet --help", False),
        ("--version", False),
        ("", False),
    ],
)
def test_only_commands_that_ask_the_database_get_engines(line: str, *, expected: bool) -> None:
    assert needs_engines(["manage.py", *line.split()]) is expected


class TestRefusals:
    def test_a_home_that_cannot_be_written(self, home: Path) -> None:
        home.write_text("")
        for command in ("up", "migrate"):
            assert "cannot be written" in refusal(manage(command, FAREBOX_HOME=str(home), PORT=free_port()))

    def test_a_port_in_use(self, home: Path) -> None:
        with listen("127.0.0.1", 0) as taken:
            port = str(taken.getsockname()[1])
            assert f"port {port} on 127.0.0.1 is in use" in refusal(
                manage("up", FAREBOX_HOME=str(home), PORT=port)
            )

    def test_a_port_that_is_no_number(self, home: Path) -> None:
        assert "PORT must be" in refusal(manage("up", FAREBOX_HOME=str(home), PORT="web"))

    def test_an_installation_that_runs_already(self, home: Path) -> None:
        prepare_home(home)
        with locked(home / "run" / SUPERVISOR_LOCK, patience=0, refusal=""):
            said = refusal(manage("up", FAREBOX_HOME=str(home), PORT=free_port()))
        assert f"already running in {home}" in said

    def test_a_half_initialised_data_folder(self, home: Path) -> None:
        (home / "postgres" / "base").mkdir(parents=True)
        for command in ("up", "migrate"):
            said = refusal(manage(command, FAREBOX_HOME=str(home), PORT=free_port()))
            assert "not a complete PostgreSQL data folder" in said

    def test_a_database_that_does_not_answer(self, home: Path) -> None:
        began = time.monotonic()
        url = f"postgresql://u:p@127.0.0.1:{free_port()}/x"
        said = refusal(manage("up", FAREBOX_HOME=str(home), PORT=free_port(), DATABASE_URL=url))
        assert "DATABASE_URL: no connection" in said
        assert time.monotonic() - began < 12

    def test_a_database_of_another_kind(self, home: Path) -> None:
        said = refusal(manage("up", FAREBOX_HOME=str(home), PORT=free_port(), DATABASE_URL="mysql://h/x"))
        assert "DATABASE_URL must begin with postgresql://" in said

    @pytest.mark.parametrize("number", ["0", "-1", "many"])
    def test_a_number_of_relays_that_makes_no_sense(self, home: Path, number: str) -> None:
        done = manage("up", f"--relay-workers={number}", FAREBOX_HOME=str(home), PORT=free_port())
        assert done.returncode == 2
        assert "--relay-workers" in done.stderr


def test_help_starts_no_engine(home: Path) -> None:
    done = manage("up", "--help", FAREBOX_HOME=str(home))
    assert done.returncode == 0
    assert "--relay-workers" in done.stdout
    assert not (home / "postgres").exists()


def test_every_command_finds_its_engines(home: Path) -> None:
    done = manage("showmigrations", "contenttypes", FAREBOX_HOME=str(home))
    assert done.returncode == 0, done.stderr
    assert "[ ] 0001_initial" in done.stdout
    assert not (home / "postgres" / "postmaster.pid").exists()
