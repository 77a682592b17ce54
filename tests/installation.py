"""A whole installation under test: `manage.py up` with its own folder and port, before the vendor double.

Nothing in it is replaced but the vendor. What a test wants to know it asks as an operator would, through
`manage.py`, or straight from the database where a command each time would take too long.
"""

import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg.rows import dict_row

from tests.config.processes import wait_for
from tests.doubles.process import VendorDouble

ROOT = Path(__file__).resolve().parents[1]
MANAGE = (sys.executable, str(ROOT / "manage.py"))
READY_SECONDS = 180.0
STOP_SECONDS = 20.0
COMMAND_SECONDS = 60.0
PR_SET_PDEATHSIG = 1
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "PYTHONDONTWRITEBYTECODE")
_libc = ctypes.CDLL(None)

# A credential that looks like a vendor's: no customer may ever see it, nor anything else of that account.
VENDOR_KEY = "sk-vendorZqX81account77SecretNeverShownAnywhere"

CATALOG = """
[[channel]]
name = "main"
vendor = "openai"
base_url = "{vendor}"
api_key = "{key}"

[[channel]]
name = "hasty"
vendor = "compatible"
base_url = "{vendor}"
api_key = "{key}"
timeout_first_token_s = 1

[[channel]]
name = "gone"
vendor = "compatible"
base_url = "http://127.0.0.1:{closed_port}/v1"
api_key = "{key}"

[[channel]]
name = "farebox-demo"
vendor = "compatible"
base_url = "http://127.0.0.1:9100/v1"
base_url_env = "DEMO_VENDOR_BASE_URL"
api_key = "demo"

[[model]]
id = "gpt-4o"
owned_by = "OpenAI"
routes = [{{ channel = "main", upstream_model = "gpt-4o-2024-08-06" }}]
context_window = 128000
max_output_tokens = 16384
price = {{ input = "2.50", cache_read = "1.25", output = "10.00" }}
cost = {{ input = "2.00", cache_read = "1.00", output = "8.00" }}

[[model]]
id = "tiny"
owned_by = "Small"
routes = [{{ channel = "main", upstream_model = "tiny-001" }}]
context_window = 1000000
max_output_tokens = 8192
price = {{ input = "0.0375", output = "0.15" }}

[[model]]
id = "banded"
owned_by = "Small"
routes = [{{ channel = "main", upstream_model = "banded-001" }}]
context_window = 1000000
max_output_tokens = 8192
price = {{ input = "1.25", cache_read = "0.31", output = "10.00", band = [
    {{ over_prompt_tokens = 200000, input = "2.50", cache_read = "0.625", output = "15.00" }},
] }}

[[model]]
id = "thinker"
owned_by = "OpenAI"
routes = [{{ channel = "main", upstream_model = "thinker-001" }}]
context_window = 200000
max_output_tokens = 100000
max_tokens_field = "max_completion_tokens"
price = {{ input = "1.10", cache_read = "0.55", output = "4.40" }}

[[model]]
id = "hasty"
owned_by = "Small"
routes = [{{ channel = "hasty", upstream_model = "hasty-001" }}]
context_window = 128000
max_output_tokens = 8192
price = {{ input = "2.50", output = "10.00" }}

[[model]]
id = "gone"
owned_by = "Small"
routes = [{{ channel = "gone", upstream_model = "gone-001" }}]
context_window = 128000
max_output_tokens = 8192
price = {{ input = "2.50", output = "10.00" }}

[[model]]
id = "unpriced"
owned_by = "Small"
routes = [{{ channel = "main", upstream_model = "unpriced-001" }}]
context_window = 128000
max_output_tokens = 8192

[[model]]
id = "gpt-4-32k"
owned_by = "OpenAI"
routes = [{{ channel = "main", upstream_model = "gpt-4-32k-0613" }}]
context_window = 32768
max_output_tokens = 8192
lifecycle = {{ state = "retired", shutdown = 2025-06-06, successor = "gpt-4o" }}
price = {{ input = "60.00", output = "120.00" }}

[[model]]
id = "farebox-demo"
owned_by = "Farebox"
routes = [{{ channel = "farebox-demo", upstream_model = "farebox-demo" }}]
context_window = 32768
max_output_tokens = 4096
price = {{ input = "0.10", output = "0.40" }}
"""
MAKE_CUSTOMERS = """
import json
from config.customers import create_customer
from common.money import parse_nano
for email, credit in {wanted!r}:
    made = create_customer(email=email, credit_nano=parse_nano(credit))
    print(json.dumps([made.organization.pk, email, made.api_key]))
"""
OFFERED = ["banded", "farebox-demo", "gone", "gpt-4o", "hasty", "thinker", "tiny"]


def price_of(served: dict[str, Any]) -> int:
    """Nano-dollars for one record of the vendor double, worked out of the catalogue file alone."""
    model = served["model"].removesuffix("-001").removesuffix("-2024-08-06")
    [card] = [one["price"] for one in _CARDS["model"] if one["id"] == model]
    prompt, cached = served["prompt_tokens"], served["cached_tokens"]
    for band in card.get("band", ()):
        card = band if prompt > band["over_prompt_tokens"] else card
    usd_per_million: Fraction = (
        (prompt - cached) * Fraction(card["input"])
        + cached * Fraction(card.get("cache_read", card["input"]))
        + served["completion_tokens"] * Fraction(card["output"])
    )
    return round(usd_per_million * 1000)  # of two integers just as near, `round` takes the even one


def _render_catalog(vendor: str, closed_port: int) -> str:
    return CATALOG.format(vendor=vendor, key=VENDOR_KEY, closed_port=closed_port)


_CARDS = tomllib.loads(_render_catalog("", 1))


class CommandFailed(AssertionError):
    """A command ended with another exit code than zero."""


@dataclass(frozen=True)
class Balance:
    """A wallet in nano-dollars."""

    posted: int
    pending: int


@dataclass(frozen=True)
class Customer:
    """An organization made for a test. `credit_nano` is what it began with."""

    installation: "Installation"
    organization: int
    email: str
    api_key: str
    credit_nano: int

    def wallet(self) -> dict[str, Any]:
        """The wallet as the command prints it."""
        wallet: dict[str, Any] = self.installation.command("wallet", str(self.organization))
        return wallet

    def usage(self) -> list[dict[str, Any]]:
        """Its lines of the export."""
        return self.installation.usage_export("--organization", str(self.organization))

    def balance(self) -> Balance:
        """The wallet, straight from the database."""
        [row] = self.installation.query(
            "SELECT posted, pending FROM billing_wallet WHERE organization_id = %s", self.organization
        )
        return Balance(**row)

    def charged(self) -> int:
        """The sum of its usage records in nano-dollars, straight from the database."""
        [row] = self.installation.query(
            "SELECT coalesce(sum(charge_nano), 0)::bigint AS charged FROM billing_usagerecord"
            " WHERE organization_id = %s",
            self.organization,
        )
        return int(row["charged"])

    def record(self, request_id: str) -> dict[str, Any] | None:
        """The row of the usage record of `req_…` or `chatcmpl-…`; None when nothing was charged for it."""
        rows = self.installation.query(
            "SELECT * FROM billing_usagerecord WHERE organization_id = %s AND request_id = %s::uuid",
            self.organization,
            request_hex(request_id),
        )
        return rows[0] if rows else None

    def wait_for_record(self, request_id: str, seconds: float = 5) -> dict[str, Any]:
        """For charges whose moment the customer cannot see, because the customer had left."""
        found: list[dict[str, Any]] = []

        def is_there() -> bool:
            record = self.record(request_id)
            found.extend([record] if record else [])
            return bool(found)

        wait_for(is_there, seconds)
        return found[0]


def request_hex(public_id: str) -> str:
    """What `req_…` in headers and exports and `chatcmpl-…` in answers have in common."""
    return re.split("[_-]", public_id)[-1]


class Installation:
    """`with Installation() as installation:` starts it, with its vendor, and leaves nothing behind.

    With `variables` it is shipped as it is: the default catalogue, and these in its environment.
    """

    def __init__(self, *options: str, variables: Mapping[str, str] | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fb-", dir="/tmp"))
        self.home = self.folder / "home"
        self.log = self.folder / "up.log"
        self.port, self._closed_port = _free_port(), _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.vendor = VendorDouble(self.folder / "vendor.jsonl")
        self.seconds_to_ready = 0.0
        self._options = options
        self._variables = variables
        self._process: subprocess.Popen[bytes] | None = None
        self._customers = 0

    def __enter__(self) -> Self:
        try:
            self.vendor.start()
            self._catalog.write_text(_render_catalog(self.vendor.base_url, self._closed_port))
            self.start()
        except BaseException:
            self.discard()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.discard()

    @property
    def _catalog(self) -> Path:
        return self.folder / "catalog.toml"

    @property
    def environment(self) -> dict[str, str]:
        """Of the installation and of its commands; nothing of the test's own settings gets in."""
        kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        own = {"FAREBOX_HOME": str(self.home), "PORT": str(self.port)}
        if self._variables is None:
            return {**kept, **own, "FAREBOX_CATALOG": str(self._catalog)}
        return {**kept, **own, **self._variables}

    # Its life.

    def start(self) -> None:
        """Start it and wait until it says that it is ready; the log is written on at its end.

        Call it from a thread that lives as long: should that end without a word, this is told to stop.
        `seconds_to_ready` is the time that took, times our share of all CPU time used meanwhile, so that a
        machine busy with something else does not make a start look slow.
        """
        began, busy = time.monotonic(), _busy_seconds()
        with self.log.open("ab") as log:
            said = log.tell()
            self._process = subprocess.Popen(
                [*MANAGE, "up", *self._options],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # as in a terminal of its own, so that `stop` can press Ctrl-C there
                preexec_fn=_end_with_starter,  # noqa: PLW1509 - one system call, no lock
            )
        wait_for(lambda: self._is_ready(said), READY_SECONDS)
        share = sum(map(_cpu_seconds, self.processes())) / (_busy_seconds() - busy)
        self.seconds_to_ready = (time.monotonic() - began) * share

    def _is_ready(self, said: int) -> bool:
        text = self.log_text()
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(f"the installation ended with {self._process.returncode}:\n{text[-3000:]}")
        return "Farebox is ready: " in self.log.read_bytes()[said:].decode()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop as an operator would; returns its exit code. Raises subprocess.TimeoutExpired.

        SIGINT is Ctrl-C: every process of the terminal gets it.
        """
        assert self._process is not None, "the installation is not running"
        if number == signal.SIGINT:
            os.killpg(self._process.pid, number)
        else:
            self._process.send_signal(number)
        return self._process.wait(STOP_SECONDS)

    def discard(self) -> None:
        """Stop what still runs, by force if need be, and remove the folder."""
        try:
            if self._process is not None and self._process.poll() is None:
                self.stop()
        except subprocess.TimeoutExpired:
            self.kill_supervisor()
        finally:
            self.vendor.stop()
            shutil.rmtree(self.folder, ignore_errors=True)

    def kill_supervisor(self) -> None:
        assert self._process is not None, "the installation is not running"
        self._process.kill()
        self._process.wait(STOP_SECONDS)

    def kill_relays(self) -> list[int]:
        """`kill -9` for every relay process; returns which they were."""
        pids = self.relay_pids()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return pids

    # What there is to see.

    @property
    def pid(self) -> int:
        assert self._process is not None, "the installation is not running"
        return self._process.pid

    def relay_pids(self) -> list[int]:
        return [pid for pid, words in self.processes().items() if b"uvicorn" in words]

    def processes(self) -> dict[int, bytes]:
        """Command lines of all living processes that belong to it, the supervisor and commands included."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes()
                variables = (entry / "environ").read_bytes().split(b"\0")
                place = os.fsencode((entry / "cwd").readlink())
            except OSError:  # it has ended meanwhile
                continue
            home = os.fsencode(self.home)
            if words and (b"FAREBOX_HOME=" + home in variables or home in words or place.startswith(home)):
                found[int(entry.name)] = words.replace(b"\0", b" ")
        return found

    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    @property
    def demo_key(self) -> str:
        """The demo customer's key, as the first start shows it."""
        return self._introduced(r"demo customer's key +(sk-\w+)")[0]

    @property
    def operator(self) -> tuple[str, str]:
        """The operator's e-mail address and password, as the first start shows them."""
        address, password = self._introduced(r"operator login +(\S+) +(\S+) ")
        return address, password

    def _introduced(self, pattern: str) -> tuple[str, ...]:
        found = re.search(pattern, self.log_text())
        assert found, "the first start introduced nobody"
        return found.groups()

    @property
    def mail_dir(self) -> Path:
        return self.home / "mail"

    # What can be asked of it.

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """A command of `manage.py`, whatever comes of it."""
        return subprocess.run(
            [*MANAGE, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )

    def output_of(self, *arguments: str) -> str:
        """What a command prints. Raises CommandFailed."""
        done = self.run(*arguments)
        if done.returncode:
            raise CommandFailed(f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def command(self, *arguments: str) -> Any:
        """The JSON that a command prints. Raises CommandFailed."""
        return json.loads(self.output_of(*arguments))

    def usage_export(self, *arguments: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output_of("usage_export", *arguments).splitlines()]

    def create_customer(self, credit: str = "10.00") -> Customer:
        """`credit` is in dollars."""
        self._customers += 1
        email = f"customer{self._customers}@example.com"
        made = self.command("create_customer", "--email", email, "--credit", credit)
        credit_nano = int(Fraction(credit) * 10**9)
        return Customer(self, made["organization"], email, made["api_key"], credit_nano)

    def create_customers(self, credits_usd: Sequence[str]) -> list[Customer]:
        """One for each credit, all in one process: a hundred times quicker than a command for each."""
        first, self._customers = self._customers + 1, self._customers + len(credits_usd)
        wanted = [(f"customer{first + place}@example.com", usd) for place, usd in enumerate(credits_usd)]
        printed = self.output_of("shell", "--no-imports", "-c", MAKE_CUSTOMERS.format(wanted=wanted))
        made = [json.loads(line) for line in printed.splitlines() if line.startswith("[")]
        return [
            Customer(self, organization, email, api_key, int(Fraction(usd) * 10**9))
            for (organization, email, api_key), usd in zip(made, credits_usd, strict=True)
        ]

    def query(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        """Rows straight from the database."""
        address = f"dbname=farebox user=farebox host={self.home / 'run' / 'pg'}"
        with psycopg.connect(address, row_factory=dict_row, autocommit=True) as connection:
            return connection.execute(statement.encode(), values).fetchall()


def _end_with_starter() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)


def _busy_seconds() -> float:
    """CPU seconds that this machine has worked, for whomever."""
    user, nice, system, _idle, _waiting, *interrupts = map(int, _words("/proc/stat")[1:9])
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def _cpu_seconds(pid: int) -> float:
    """CPU seconds of a process and of those it has waited for; 0 when it has ended."""
    try:
        after_name = _words(f"/proc/{pid}/stat", after=")")
    except OSError:
        return 0
    return sum(map(int, after_name[11:15])) / os.sysconf("SC_CLK_TCK")


def _words(path: str, *, after: str = "") -> list[str]:
    text = Path(path).read_text()
    return (text.rpartition(after)[2] if after else text).split()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
