"""`python -m tests.bench.books --records 10000000`: how long the books check takes, while traffic goes on.

Makes an installation of its own in a temporary folder (1 GB for each million records), fills it with months
of books, and checks them: alone, and while one connection settles and another aggregates. Besides the time on
the clock it prints the processor time that PostgreSQL took, which a busy machine stretches less.
"""

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

from tests.bench.kernel import buried_seconds, children, cpu_seconds, parent  # noqa: E402 - the path comes first

RECORDS_PER_COMMIT = 10
PAUSE_S = 0.02


@dataclass
class Traffic:
    """What one relay process and one worker did meanwhile."""

    commits_ms: list[float] = field(default_factory=list)
    ends: threading.Event = field(default_factory=threading.Event)

    def settle(self) -> None:
        from django.db import connection

        from accounts.models import APIKey
        from billing.services import grant_credit
        from tests.factories.money import Payer, make_record, settle

        key = APIKey.across_all_organizations.order_by("pk").first()
        assert key is not None
        payer = Payer(key.organization, key)
        grant_credit(organization=key.organization, amount_nano=10**12, reason="bench", fact_key=uuid4().hex)
        make_record(payer, 100)
        while not self.ends.wait(PAUSE_S):
            records = [make_record(payer, 100) for _ in range(RECORDS_PER_COMMIT)]
            began = time.perf_counter()
            settle(uuid4(), *records)
            self.commits_ms.append((time.perf_counter() - began) * 1e3)
        connection.close()

    def aggregate(self) -> None:
        from django.db import connection

        from billing.aggregation import aggregate_batches

        while not self.ends.wait(2):
            aggregate_batches()
        connection.close()

    @contextmanager
    def running(self) -> Iterator[None]:
        threads = [threading.Thread(target=self.settle), threading.Thread(target=self.aggregate)]
        for thread in threads:
            thread.start()
        time.sleep(3)
        try:
            yield
        finally:
            self.ends.set()
            for thread in threads:
                thread.join()


def check(say: str) -> None:
    from billing.books import verify_books

    cpu, began = _database_cpu_s(), time.perf_counter()
    report = verify_books()
    took, cpu = time.perf_counter() - began, _database_cpu_s() - cpu
    print(f"{say}: {took:.1f} s, {cpu:.1f} s of processor time, {'clean' if report['ok'] else 'DIFFERENCES'}")
    slowest = sorted(report["checks"], key=lambda one: -one["seconds"])[:8]
    print("   slowest rules: " + ", ".join(f"{one['name']} {one['seconds']:.1f} s" for one in slowest))
    if not report["ok"]:
        sys.exit(f"the books differ: {[one for one in report['checks'] if not one['ok']]}")


def _database_cpu_s() -> float:
    """Of the server's processes: those that live, and those it has buried."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [(backend,)] = cursor.fetchall()
    server = parent(backend)
    return buried_seconds(server) + sum(cpu_seconds(pid) for pid in children(server))


def measure(records: int) -> None:
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    from django.db import connection

    from tests.factories.books import fill_books

    began = time.perf_counter()
    fill_books(records=records)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("SELECT pg_size_pretty(pg_database_size(current_database()))")
        [(size,)] = cursor.fetchall()
    print(f"{records:,} usage records ({size}) made in {time.perf_counter() - began:.0f} s")
    check("the books check alone")
    traffic = Traffic()
    with traffic.running():
        check("while traffic goes on")
    commits = sorted(traffic.commits_ms)
    print(
        f"   meanwhile {len(commits)} commits of {RECORDS_PER_COMMIT} records,"
        f" median {statistics.median(commits):.1f} ms, 99 % within {commits[len(commits) * 99 // 100]:.1f} ms"
    )
    check("with what came in since")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="farebox-books-") as folder:
        os.environ |= {"FAREBOX_HOME": folder, "DJANGO_SETTINGS_MODULE": "config.settings"}
        from config.engines import engines_available

        with engines_available():
            measure(given.records)


if __name__ == "__main__":
    main()
