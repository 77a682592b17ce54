"""Real engines in temporary folders, as root and as an ordinary user."""

import os
import pwd
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
import redis

from config.engines import (
    ConfigurationError,
    broker_url,
    django_database,
    engines_available,
    redis_url,
    socket_paths,
)
from config.engines.account import Identity
from config.engines.addresses import SHORT_ROOT
from config.engines.engine import Readiness
from config.engines.home import ENGINES_LOCK, SUPERVISOR_LOCK, is_locked, locked, prepare_home
from config.engines.postgres import Postgres
from config.engines.running import embedded_engines, running
from config.engines.valkey import Valkey
from config.env import ENV, Env, child_environment
from tests.config.processes import processes_of, wait_for


@pytest.fixture
def env(tmp_path: Path) -> Env:
    return replace(ENV, home=tmp_path / "home", database_url=None, redis_url=None)


@pytest.fixture
def home(env: Env) -> Path:
    prepare_home(env.home)
    return env.home


@pytest.fixture(scope="module")
def initialised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete data folder to copy: making one takes a second."""
    folder = tmp_path_factory.mktemp("initialised") / "home"
    prepare_home(folder)
    Postgres(folder).prepare()
    return folder / "postgres"


@pytest.fixture
def data(home: Path, initialised: Path) -> Path:
    return Path(shutil.copytree(initialised, home / "postgres"))


def query(env: Env, sql: str) -> object:
    given = django_database(env)
    with psycopg.connect(
        host=given["HOST"], port=given["PORT"], dbname=given["NAME"], user=given["USER"]
    ) as connection:
        row = connection.execute(sql.encode()).fetchone()
    return row[0] if row else None


class TestAddresses:
    def test_sockets_live_in_the_home(self, tmp_path: Path) -> None:
        assert socket_paths(tmp_path).postgres_socket == tmp_path / "run" / "pg" / ".s.PGSQL.5432"

    def test_a_path_too_long_for_a_socket_is_replaced_by_a_short_one(self, tmp_path: Path) -> None:
        deep = tmp_path / ("d" * 100)
        short = socket_paths(deep)
        assert len(os.fsencode(short.postgres_socket)) <= 107
        assert short == socket_paths(deep)
        assert short != socket_paths(deep / "other")

    def test_a_path_that_libpq_would_cut_is_replaced_too(self, tmp_path: Path) -> None:
        assert socket_paths(tmp_path / "a,b").postgres_dir.parent.parent == SHORT_ROOT

    def test_asking_for_addresses_makes_nothing(self, env: Env) -> None:
        deep = replace(env, home=env.home / ("d" * 100))
        django_database(deep)
        redis_url(deep)
        assert not env.home.exists()
        assert not socket_paths(deep.home).postgres_dir.parent.exists()

    def test_a_given_database_keeps_its_options(self, env: Env) -> None:
        given = replace(env, database_url="postgresql://u:p%40@db.example:6432/name?sslmode=require")
        found = django_database(given)
        assert found["ENGINE"] == "django.db.backends.postgresql"
        assert (found["HOST"], found["PORT"], found["PASSWORD"]) == ("db.example", 6432, "p@")
        assert found["OPTIONS"] == {"sslmode": "require"}

    @pytest.mark.parametrize("url", ["sqlite:///x", "mysql://h/x", "nonsense", "postgresql://h:port/x"])
    def test_another_database_is_refused(self, env: Env, url: str) -> None:
        with pytest.raises(ConfigurationError, match="DATABASE_URL"):
            django_database(replace(env, database_url=url))

    def test_the_broker_is_the_same_server(self, env: Env) -> None:
        assert broker_url(replace(env, redis_url="rediss://h:1/2")) == "rediss://h:1/2"
        assert broker_url(replace(env, redis_url="unix:///a%20b?db=3")) == (
            "redis+socket:///a%20b?virtual_host=3"
        )

    def test_another_broker_is_refused(self, env: Env) -> None:
        with pytest.raises(ConfigurationError, match="REDIS_URL"):
            redis_url(replace(env, redis_url="amqp://h"))


class TestHome:
    def test_a_file_in_its_place_is_refused_in_one_line(self, env: Env) -> None:
        env.home.write_text("")
        with pytest.raises(ConfigurationError, match="cannot be written") as refusal:
            prepare_home(env.home)
        assert "\n" not in refusal.value.message

    def test_a_folder_that_cannot_be_made_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="/proc/farebox cannot be written"):
            prepare_home(Path("/proc/farebox"))

    def test_only_the_owner_can_look_into_it(self, home: Path) -> None:
        for folder in (home, home / "run", home / "log", home / "run" / "pg"):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700

    def test_somebody_elses_folder_of_sockets_is_refused(self, env: Env, tmp_path: Path) -> None:
        deep = env.home / ("d" * 100)
        sockets = socket_paths(deep).postgres_dir.parent
        sockets.symlink_to(tmp_path)
        try:
            with pytest.raises(ConfigurationError, match="belongs to somebody else"):
                prepare_home(deep)
        finally:
            sockets.unlink()

    def test_a_lock_is_held_by_one(self, home: Path) -> None:
        path = home / "run" / "some.lock"
        assert not is_locked(path)
        with locked(path, patience=0, refusal="no"):
            assert is_locked(path)
            with pytest.raises(ConfigurationError, match="taken"), locked(path, patience=0, refusal="taken"):
                pass
        assert not is_locked(path)


class TestRunning:
    def test_both_engines_start_durable_and_unreachable_from_outside(self, env: Env, home: Path) -> None:
        parents = {folder: folder.stat().st_mode for folder in home.parents}
        with running(embedded_engines(env), home / "log" / "engines.log"):
            assert query(env, "SHOW fsync") == "on"
            assert query(env, "SHOW synchronous_commit") == "on"
            assert query(env, "SHOW listen_addresses") == ""
            assert query(env, "SHOW max_connections") == "200"
            assert query(env, "SHOW timezone") == "UTC"
            assert query(env, "SHOW server_encoding") == "UTF8"
            with redis.Redis.from_url(redis_url(env)) as client:
                assert client.ping()
                assert client.config_get("port") == {"port": "0"}
        assert processes_of(home) == []
        assert {folder: folder.stat().st_mode for folder in home.parents} == parents
        assert stat.S_IMODE(home.stat().st_mode) == 0o700

    def test_a_home_deep_down_works(self, env: Env, initialised: Path) -> None:
        deep = replace(env, home=env.home / ("d" * 100))
        prepare_home(deep.home)
        shutil.copytree(initialised, deep.home / "postgres")
        try:
            with running(embedded_engines(deep), deep.home / "log" / "engines.log"):
                assert query(deep, "SELECT 1") == 1
        finally:
            shutil.rmtree(socket_paths(deep.home).postgres_dir.parent)

    def test_a_given_server_has_no_embedded_twin(self, env: Env) -> None:
        given = replace(env, database_url="postgresql://h/x")
        assert [engine.label for engine in embedded_engines(given)] == ["valkey"]
        assert embedded_engines(replace(given, redis_url="redis://h")) == []

    def test_committed_rows_survive_a_killed_server(self, env: Env, data: Path) -> None:
        log = env.home / "log" / "engines.log"
        with running([Postgres(env.home)], log):
            with psycopg.connect(
                host=str(socket_paths(env.home).postgres_dir), dbname="farebox", user="farebox"
            ) as connection:
                connection.execute("CREATE TABLE fares (amount bigint)")
                connection.execute("INSERT INTO fares VALUES (42)")
            pid = int((data / "postmaster.pid").read_text().splitlines()[0])
            os.kill(pid, signal.SIGKILL)
        with running([Postgres(env.home)], log):
            assert query(env, "SELECT amount FROM fares") == 42

    def test_a_strangers_process_number_does_not_hinder_the_start(self, env: Env, data: Path) -> None:
        (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n")
        (socket_paths(env.home).postgres_dir / ".s.PGSQL.5432.lock").write_text(f"{os.getpid()}\n")
        with running([Postgres(env.home)], env.home / "log" / "engines.log"):
            assert query(env, "SELECT 1") == 1

    def test_an_engine_that_cannot_start_is_one_line(self, env: Env, home: Path) -> None:
        engine = Valkey(home)
        engine.socket = home / "missing" / "valkey.sock"
        log = home / "log" / "engines.log"
        with pytest.raises(ConfigurationError, match=f"valkey does not start: see {log}"):
            running([engine], log).__enter__()
        assert b"FATAL" in log.read_bytes()


class TestDataFolder:
    def test_a_first_start_that_was_killed_is_done_again(self, home: Path) -> None:
        partial = home / "postgres.partial"
        partial.mkdir()
        (partial / "PG_VERSION").write_text("18\n")
        Postgres(home).prepare()
        assert not partial.exists()
        assert (home / "postgres" / "global" / "pg_control").exists()

    def test_a_half_initialised_folder_is_refused_and_left_alone(self, home: Path) -> None:
        (home / "postgres" / "base").mkdir(parents=True)
        with pytest.raises(ConfigurationError, match="not a complete PostgreSQL data folder"):
            Postgres(home).prepare()
        assert (home / "postgres" / "base").exists()

    def test_a_folder_without_its_control_file_is_refused(self, home: Path) -> None:
        (home / "postgres").mkdir()
        (home / "postgres" / "PG_VERSION").write_text("18\n")
        with pytest.raises(ConfigurationError, match="not a complete PostgreSQL data folder"):
            Postgres(home).prepare()

    def test_another_major_version_is_refused(self, data: Path) -> None:
        (data / "PG_VERSION").write_text("17\n")
        with pytest.raises(ConfigurationError, match="PostgreSQL 17 and this is PostgreSQL 18"):
            Postgres(data.parent).prepare()

    def test_a_refusal_is_one_line(self, home: Path) -> None:
        (home / "postgres").write_text("a file")
        with pytest.raises(ConfigurationError) as refusal:
            Postgres(home).prepare()
        assert "\n" not in refusal.value.message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
class TestWithoutNamespaces:
    @pytest.fixture
    def nobody(self) -> Identity:
        return Identity(account=pwd.getpwnam("nobody"))

    @pytest.fixture
    def reachable(self) -> Iterator[Path]:
        folder = Path(tempfile.mkdtemp(prefix="farebox-test-"))
        yield folder
        shutil.rmtree(folder)

    def test_an_unprivileged_account_owns_the_data_and_nothing_else(
        self, reachable: Path, nobody: Identity
    ) -> None:
        prepare_home(reachable)
        if not nobody.can_enter(Path(sys.prefix)):
            pytest.skip("the interpreter's folder is closed to others")
        engine = Postgres(reachable, nobody)
        with running([engine], reachable / "log" / "engines.log"):
            assert engine.readiness() is Readiness.READY
        assert (reachable / "postgres").stat().st_uid == nobody.user
        assert reachable.stat().st_uid == 0
        assert stat.S_IMODE(reachable.stat().st_mode) == 0o710

    def test_data_goes_back_to_root_where_namespaces_work_again(
        self, data: Path, nobody: Identity, env: Env
    ) -> None:
        for path in (*data.rglob("*"), data):
            os.chown(path, nobody.user or 0, nobody.group or 0)
        with running([Postgres(env.home)], env.home / "log" / "engines.log"):
            assert query(env, "SELECT 1") == 1
        assert (data / "PG_VERSION").stat().st_uid == 0

    def test_a_home_the_account_cannot_reach_is_one_line(self, tmp_path: Path, nobody: Identity) -> None:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o700)
        prepare_home(closed / "home")
        with pytest.raises(ConfigurationError, match="start Farebox as an ordinary user or set DATABASE_URL"):
            Postgres(closed / "home", nobody).prepare()
        assert stat.S_IMODE(closed.stat().st_mode) == 0o700


# A shell's background job ignores Ctrl-C, and so would a command of a test run in one.
COMMAND = """
import signal, sys
from config.engines import engines_available
signal.signal(signal.SIGINT, signal.default_int_handler)
with engines_available():
    print("inside", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def commands(env: Env, data: Path) -> Iterator["Commands"]:
    started = Commands(env)
    yield started
    started.end()


class Commands:
    """Processes that use the engines until they are told to finish."""

    def __init__(self, env: Env) -> None:
        self.env = env
        self.processes: list[subprocess.Popen[str]] = []

    def start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND],
            env=child_environment(FAREBOX_HOME=str(self.env.home), DATABASE_URL="", REDIS_URL=""),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()
        wait_for(lambda: not processes_of(self.env.home))


def is_inside(process: subprocess.Popen[str]) -> bool:
    assert process.stdout
    return process.stdout.readline() == "inside\n"


def finish(process: subprocess.Popen[str]) -> None:
    process.communicate("\n", timeout=20)
    assert process.returncode == 0


class TestSharing:
    def test_engines_live_exactly_as_long_as_a_command_needs_them(self, env: Env, data: Path) -> None:
        for _ in range(2):
            with engines_available(env):
                assert query(env, "SELECT 1") == 1
            assert processes_of(env.home) == []

    def test_the_last_command_stops_what_the_first_one_started(self, env: Env, commands: Commands) -> None:
        first, second = commands.start(), commands.start()
        assert is_inside(first)
        assert is_inside(second)
        finish(first)
        assert query(env, "SELECT 1") == 1
        finish(second)
        assert processes_of(env.home) == []

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
    def test_a_killed_command_leaves_no_engine_behind(
        self, env: Env, commands: Commands, number: signal.Signals
    ) -> None:
        command = commands.start()
        assert is_inside(command)
        command.send_signal(number)
        wait_for(lambda: not processes_of(env.home))

    def test_a_command_that_comes_while_the_engines_stop_gets_new_ones(
        self, env: Env, commands: Commands
    ) -> None:
        for _ in range(3):
            command = commands.start()
            assert is_inside(command)
            command.kill()
        last = commands.start()
        assert is_inside(last)
        assert query(env, "SELECT 1") == 1
        finish(last)

    def test_a_refusal_reaches_the_command(self, env: Env, home: Path) -> None:
        (home / "postgres" / "base").mkdir(parents=True)
        with pytest.raises(ConfigurationError, match="not a complete"), engines_available(env):
            pass

    def test_a_supervisors_engines_are_used_and_left_running(self, env: Env, data: Path) -> None:
        run = env.home / "run"
        with (
            locked(run / SUPERVISOR_LOCK, patience=0, refusal=""),
            locked(run / ENGINES_LOCK, patience=0, refusal=""),
            running(embedded_engines(env), env.home / "log" / "engines.log"),
        ):
            with engines_available(env):
                assert query(env, "SELECT 1") == 1
            assert query(env, "SELECT 1") == 1
            assert not socket_paths(env.home).keeper_socket.exists()

    def test_a_supervisor_that_waits_for_a_command_lets_no_other_one_in(
        self, env: Env, commands: Commands
    ) -> None:
        run = env.home / "run"
        first = commands.start()
        assert is_inside(first)
        with locked(run / SUPERVISOR_LOCK, patience=0, refusal=""):
            second = commands.start()
            assert second.stdout
            assert not select.select([second.stdout], [], [], 1.5)[0]
            finish(first)
            with (
                locked(run / ENGINES_LOCK, patience=10, refusal="the keeper stays"),
                running(embedded_engines(env), env.home / "log" / "engines.log"),
            ):
                assert is_inside(second)
                finish(second)
                assert query(env, "SELECT 1") == 1

    def test_given_servers_need_nothing(self, env: Env) -> None:
        with engines_available(replace(env, database_url="postgresql://h/x", redis_url="redis://h")):
            assert not env.home.exists()
