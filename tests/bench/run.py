"""`make bench`: what standing in between costs, beside nginx doing nothing but standing in between.

Starts everything itself: the vendor double, nginx before it, an installation with one relay process before
it, and a client in a process of its own. The ways to the double take turns, so that a busy machine is as busy
for one as for the other. Only whole answers are accepted, and at the end each must have been charged once.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

from tests.bench.kernel import memory_mb  # noqa: E402 - the path comes first
from tests.bench.nginx import nginx_before  # noqa: E402
from tests.bench.report import Way, print_table  # noqa: E402
from tests.bench.translation import print_translation  # noqa: E402
from tests.installation import Customer, Installation  # noqa: E402

ROUNDS = 2
# Of each kind of load: what the client is told. The window is `--seconds` long, in each round.
LOADS = {
    "plain": ("--concurrency=32", "--warm-up=0.4", "--seconds=2"),
    "streams": ("--concurrency=64", "--warm-up=0.4", "--seconds=2", "--chunks=200", "--delay-ms=10"),
    "lone": ("--concurrency=1", "--warm-up=0.2", "--seconds=1.2"),
}
LOAD_TIMEOUT_S = 40.0
UPSTREAM_MODEL = "gpt-4o-2024-08-06"
CHAT = "/v1/chat/completions"


class BenchFailed(Exception):
    """What was measured is not what was meant; the message says in what."""


@dataclass
class Bench:
    """Runs the loads and remembers how fast the machine was meanwhile."""

    spins: list[float] = field(default_factory=list)

    def run(self, ways: list[Way]) -> None:
        for load, options in LOADS.items():
            for _ in range(ROUNDS):
                for way in ways:
                    self.spins.append(spin())
                    way.seen[load].add(ask(way, options))

    @property
    def yardstick_ms(self) -> float:
        return statistics.median(self.spins) * 1e3


def spin() -> float:
    """CPU seconds of a million turns of a loop: what the machine makes of the same work, now."""
    began = time.process_time()
    total = 0
    for number in range(1_000_000):
        total += number
    return time.process_time() - began


def ask(way: Way, options: tuple[str, ...]) -> dict[str, Any]:
    """Load one way to the double. Raises BenchFailed unless every answer was whole."""
    command = [sys.executable, "-m", "tests.bench.load", f"--url={way.url}", f"--model={way.model}"]
    command += [f"--key={way.key}", *options, *(f"--watch={pid}" for pid in way.watched())]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=LOAD_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise BenchFailed(f"the client got no further on the way {way.name}") from None
    if done.returncode:
        raise BenchFailed(f"the client failed on the way {way.name}:\n{done.stderr[-2000:]}")
    seen: dict[str, Any] = json.loads(done.stdout)
    if seen["failures"]:
        raise BenchFailed(f"{len(seen['failures'])} answers of {way.name} failed: {seen['failures'][0]}")
    return seen


def farebox_way(installation: Installation, customer: Customer) -> Way:
    [relay] = installation.relay_pids()
    [database] = [pid for pid, words in installation.processes().items() if b"/bin/postgres -D " in words]
    url = installation.url + CHAT
    return Way("Farebox", url, model="gpt-4o", key=customer.api_key, between=relay, database=database)


def verify(installation: Installation, customer: Customer, ways: list[Way]) -> str:
    """What was asked was served, and what Farebox relayed was charged. Raises BenchFailed."""
    asked = {way.name: sum(seen.answers_in_all for seen in way.seen.values()) for way in ways}
    served = installation.vendor.stats()["served"]
    if served != sum(asked.values()):
        raise BenchFailed(f"the double served {served} answers, not the {sum(asked.values())} that came")
    [row] = installation.query(
        "SELECT count(*) FROM billing_usagerecord WHERE organization_id = %s AND charge_nano > 0",
        customer.organization,
    )
    if row["count"] != asked["Farebox"]:
        raise BenchFailed(f"{row['count']} usage records for {asked['Farebox']} answers")
    report = installation.run("verify_books")
    if report.returncode:
        raise BenchFailed(f"the books differ:\n{report.stdout[-2000:]}{report.stderr[-2000:]}")
    return f"{asked['Farebox']} answers relayed whole, as many usage records, and the books balance."


def main() -> int:
    with ExitStack() as stack:
        installation = stack.enter_context(Installation())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="farebox-bench-")))
        nginx = stack.enter_context(nginx_before(installation.vendor.port, folder))
        customer = installation.create_customer(credit="1000000")
        farebox = farebox_way(installation, customer)
        ways = [farebox, Way("direct", installation.vendor.origin + CHAT, model=UPSTREAM_MODEL)]
        if nginx is not None:
            ways.insert(1, Way("nginx", nginx.url + CHAT, model=UPSTREAM_MODEL, between=nginx.worker))
        bench = Bench()
        bench.run(ways)
        for way in ways:
            if way.between is not None:
                way.resident_mb = memory_mb(way.between, "VmRSS")
                way.peak_mb = memory_mb(way.between, "VmHWM")
        proof = verify(installation, customer, ways)
    print_table(ways, bench.yardstick_ms)
    print_translation()
    print(proof)
    if nginx is None:
        print("nginx is not installed, so there is nothing to compare with (Debian: apt-get install nginx).")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchFailed as failure:
        sys.exit(f"make bench: {failure}")
