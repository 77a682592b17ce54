"""The supervisor as a process of its own, over children that cost nothing, and once over real engines."""

import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from config.engines import ConfigurationError, socket_paths
from config.engines.engine import Readiness
from config.engines.postgres import Postgres
from config.engines.process import Program, spawn, stop
from config.env import ENV, child_environment
from config.supervisor.child import Backoff, describe_exit
from config.supervisor.servers import check_given_servers
from config.supervisor.sockets import listen, listen_at_remembered_port, local_address, own_url
from config.supervisor.stream import LineReader, LogStream
from tests.config.processes import processes_of, wait_for

SCRIPT = Path(__file__).with_name("small_installation.py")


class Installation:
    """A running small_installation.py."""

    def __init__(self, folder: Path, *kinds: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(folder), *kinds],
            env=child_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def read_until(self, text: str) -> str:
        assert self.process.stdout
        seen = []
        for line in self.process.stdout:
            seen.append(line)
            if text in line:
                return "".join(seen)
        raise AssertionError("".join(seen))

    def pid(self, label: str) -> int:
        """The living process of a child, once it has said its number."""
        path = self.folder / f"{label}.pid"
        said: list[str] = []

        def whole() -> bool:  # a shell empties the file before it writes
            said[:] = path.read_text().split("\n") if path.exists() else []
            return len(said) == 2

        wait_for(whole)
        return int(said[0])

    def end(self, *signals: signal.Signals) -> tuple[int, str, float]:
        """Exit code, the rest of the output, seconds."""
        began = time.monotonic()
        for number in signals:
            self.process.send_signal(number)
            time.sleep(0.3)
        rest, _ = self.process.communicate(timeout=20)
        return self.process.returncode, rest, time.monotonic() - began


def left_of(folder: Path) -> list[int]:
    return processes_of(folder, but=SCRIPT.name)


Start = Callable[..., Installation]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Installation] = []

    def begin(*kinds: str) -> Installation:
        started.append(Installation(tmp_path, *kinds))
        return started[-1]

    yield begin
    for installation in started:
        installation.process.kill()
        installation.process.communicate()
    wait_for(lambda: not left_of(tmp_path))


@pytest.fixture
def polite(start: Start) -> Installation:
    installation = start("polite")
    installation.read_until("ready")
    for label in ("traffic", "vendor", "valkey", "postgres"):
        installation.pid(label)
    return installation


class TestKeepingAlive:
    def test_a_killed_child_comes_back_and_the_log_says_why(self, polite: Installation) -> None:
        before = polite.pid("traffic")
        os.kill(before, signal.SIGKILL)
        polite.read_until("farebox  | traffic was ended by SIGKILL; starting it again in 0.2 s")
        wait_for(lambda: polite.pid("traffic") != before)

    def test_a_program_that_cannot_be_started_is_tried_again(self, start: Start) -> None:
        installation = start("missing")
        installation.read_until("missing could not be started (No such file or directory)")
        installation.read_until("starting it again in 0.4 s")
        assert installation.end(signal.SIGTERM)[0] == 0

    def test_the_pause_doubles_up_to_ten_seconds(self) -> None:
        backoff = Backoff()
        assert [backoff.after(1) for _ in range(8)] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10]

    def test_the_pause_is_short_again_after_a_steady_life(self) -> None:
        backoff = Backoff()
        for _ in range(5):
            backoff.after(1)
        assert backoff.after(31) == 0.2

    def test_an_exit_code_and_a_signal_read_differently(self) -> None:
        assert describe_exit(3) == "ended with exit code 3"
        assert describe_exit(-11) == "was ended by SIGSEGV"
        assert describe_exit(-64) == "was ended by SIGRTMAX"
        assert describe_exit(-50) == "was ended by signal 50"


class TestStopping:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_a_signal_ends_all_children_in_order(self, polite: Installation, number: signal.Signals) -> None:
        code, rest, seconds = polite.end(number)
        assert code == 0
        assert f"{number.name}: stopping" in rest
        assert (polite.folder / "order").read_text().split() == ["traffic", "vendor", "valkey", "postgres"]
        assert left_of(polite.folder) == []
        assert seconds < 5

    def test_a_child_that_does_not_listen_is_ended_within_ten_seconds(self, start: Start) -> None:
        installation = start("polite", "stubborn")
        installation.pid("stubborn")
        installation.pid("traffic")
        code, _, seconds = installation.end(signal.SIGTERM)
        assert code == 0
        assert seconds < 10
        assert (installation.folder / "order").read_text().split()[-1] == "postgres"
        assert left_of(installation.folder) == []

    def test_a_second_signal_hurries(self, start: Start) -> None:
        installation = start("stubborn")
        installation.pid("stubborn")
        code, _, seconds = installation.end(signal.SIGINT, signal.SIGINT)
        assert code == 0
        assert seconds < 3
        assert left_of(installation.folder) == []

    def test_nothing_outlives_a_killed_supervisor(self, polite: Installation) -> None:
        polite.end(signal.SIGKILL)
        wait_for(lambda: not left_of(polite.folder), 5)

    def test_a_start_that_fails_stops_what_has_started(self, start: Start) -> None:
        installation = start("polite", "refusing")
        rest, _ = installation.process.communicate(timeout=20)
        assert installation.process.returncode == 2
        assert rest.endswith("this installation cannot start\n")
        assert left_of(installation.folder) == []


class TestEngines:
    def test_a_killed_postgres_is_started_again_and_nothing_outlives_a_killed_supervisor(
        self, start: Start, tmp_path: Path
    ) -> None:
        installation = start("engines")
        installation.read_until("ready")
        engine = Postgres(tmp_path / "home")
        os.kill(int((engine.data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        installation.read_until("postgres was ended by SIGKILL")
        wait_for(lambda: engine.readiness() is Readiness.READY)
        installation.end(signal.SIGKILL)
        again = start("engines")
        again.read_until("ready")
        assert again.end(signal.SIGTERM)[0] == 0
        assert left_of(tmp_path) == []
        assert not socket_paths(tmp_path / "home").postgres_socket.exists()


class TestStream:
    def test_every_line_carries_its_label(self) -> None:
        out = io.StringIO()
        stream = LogStream(out)
        stream.line("relay.1", "hello")
        stream.say("bye")
        stream.close()
        assert out.getvalue() == "relay.1  | hello\nfarebox  | bye\n"

    def test_output_is_cut_into_lines_and_none_is_lost_at_the_end(self) -> None:
        out = io.StringIO()
        stream = LogStream(out)
        reading, writing = os.pipe()
        reader = LineReader(reading, stream, "x")
        for part in (b"on", b"e\ntwo\r\n\nthr\xff", b"ee"):
            os.write(writing, part)
            assert reader.read()
        assert not reader.read()
        os.close(writing)
        assert not reader.read()
        assert reader.closed
        stream.close()
        assert out.getvalue() == "x        | one\nx        | two\nx        | thr\ufffdee\n"

    def test_a_line_without_end_is_cut(self) -> None:
        out = io.StringIO()
        stream = LogStream(out)
        reading, writing = os.pipe()
        reader = LineReader(reading, stream, "x")
        for _ in range(3):
            os.write(writing, b"a" * 60_000)
            reader.read()
        os.close(writing)
        while not reader.closed:
            reader.read()
        stream.close()
        assert len(out.getvalue().splitlines()) == 2

    def test_a_reader_that_has_stopped_reading_stops_nobody(self, start: Start) -> None:
        installation = start("loud")
        first = installation.pid("loud")
        time.sleep(1.5)  # far more than a pipe holds
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: installation.pid("loud") != first)
        installation.process.send_signal(signal.SIGTERM)
        installation.process.wait(10)


class TestSockets:
    def test_a_port_in_use_is_one_line(self) -> None:
        with listen("127.0.0.1", 0) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(ConfigurationError, match=f"port {port} on 127.0.0.1 is in use"):
                listen("127.0.0.1", port)

    @pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
    def test_a_foreign_address_is_one_line(self, host: str) -> None:
        with pytest.raises(ConfigurationError, match="is not an address of this machine"):
            listen(host, 0)

    def test_a_port_is_remembered(self, tmp_path: Path) -> None:
        memory = tmp_path / "port"
        with listen_at_remembered_port(memory) as first:
            port = first.getsockname()[1]
        with listen_at_remembered_port(memory) as second:
            assert second.getsockname()[1] == port

    @pytest.mark.parametrize("content", ["", "words", "99999999", "-1"])
    def test_a_memory_that_makes_no_sense_is_forgotten(self, tmp_path: Path, content: str) -> None:
        memory = tmp_path / "port"
        memory.write_text(content)
        with listen_at_remembered_port(memory) as found:
            assert memory.read_text() == str(found.getsockname()[1])

    def test_another_port_is_chosen_when_the_remembered_one_is_taken(self, tmp_path: Path) -> None:
        memory = tmp_path / "port"
        with listen_at_remembered_port(memory) as first, listen_at_remembered_port(memory) as second:
            assert first.getsockname()[1] != second.getsockname()[1]
            assert memory.read_text() == str(second.getsockname()[1])

    def test_addresses_are_spelled_for_people(self) -> None:
        assert own_url("127.0.0.1", 8000) == "http://127.0.0.1:8000"
        assert own_url("::1", 8000) == "http://[::1]:8000"
        assert local_address("::") == "::1"
        assert local_address("10.0.0.1") == "10.0.0.1"


APPLICATION = """
import os
async def application(scope, receive, send):
    if scope["type"] != "http":
        return
    body = f"{os.getpid()} {scope['client'][0]}".encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
"""


def ask(port: int) -> list[str]:
    with socket.create_connection(("127.0.0.1", port), timeout=15) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return connection.makefile("rb").read().split(b"\r\n\r\n")[1].decode().split()


class TestInheritedSocket:
    def test_connections_wait_for_the_next_uvicorn(self, tmp_path: Path) -> None:
        (tmp_path / "tiny.py").write_text(APPLICATION)
        with listen("127.0.0.1", 0) as listener, (tmp_path / "log").open("wb") as log:
            number = str(listener.fileno())
            program = Program(
                label="relay.1",
                argv=(
                    *(sys.executable, "-m", "uvicorn", "tiny:application", "--fd", number),
                    *("--loop", "uvloop", "--http", "httptools"),
                ),
                environment=child_environment(),
                cwd=tmp_path,
                pass_fds=(listener.fileno(),),
            )
            port = listener.getsockname()[1]
            lives = []
            for _ in range(2):
                with spawn(program, output=log.fileno()) as process:
                    lives.append(ask(port))
                    process.kill()
            with socket.create_connection(("127.0.0.1", port)) as waiting:
                waiting.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                with spawn(program, output=log.fileno()) as process:
                    waiting.settimeout(15)
                    assert waiting.recv(100).startswith(b"HTTP/1.1 200")
                    stop(process, program, patience=5)
        assert lives[0] != lives[1]
        assert {address for _, address in lives} == {"127.0.0.1"}


def refused(variable: str, url: str) -> str:
    """The one line that says no to a server."""
    given = replace(
        ENV,
        database_url=url if variable == "DATABASE_URL" else None,
        redis_url=url if variable == "REDIS_URL" else None,
    )
    with pytest.raises(ConfigurationError, match=f"{variable}: no connection") as refusal:
        check_given_servers(given)
    return refusal.value.message


SERVERS = pytest.mark.parametrize(
    ("variable", "scheme"), [("DATABASE_URL", "postgresql"), ("REDIS_URL", "redis")]
)


class TestGivenServers:
    @SERVERS
    def test_an_unreachable_server_is_one_line_without_its_password(self, variable: str, scheme: str) -> None:
        with listen("127.0.0.1", 0) as closed:
            port = closed.getsockname()[1]
        message = refused(variable, f"{scheme}://someone:secret@127.0.0.1:{port}/0")
        assert "\n" not in message
        assert "secret" not in message

    @SERVERS
    def test_a_server_that_never_answers_is_given_up(
        self, variable: str, scheme: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("config.supervisor.servers.CONNECT_SECONDS", 2)
        began = time.monotonic()
        with listen("127.0.0.1", 0) as silent:
            refused(variable, f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/0")
        assert time.monotonic() - began < 5
