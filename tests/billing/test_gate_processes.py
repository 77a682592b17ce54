"""Gates in several processes: one cent among them stays one cent, and the dead give back what they held."""

import json
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone

from billing.books import verify_books
from billing.models import Lease, UsageRecord
from billing.services import reap_expired_leases
from tests.factories.money import make_payer, make_price
from tests.factories.processes import start_python

pytestmark = pytest.mark.django_db(transaction=True)
CENT = 10_000_000
WORKER = """
import asyncio, json, sys
from pathlib import Path
settings.SPOOL_FOLDER = Path({spool!r})
from accounts.models import APIKey
from billing.contracts import CreditRefused
from tests.factories.gate import demand, outcome, running
from tests.factories.money import Payer

key = APIKey.across_all_organizations.select_related("organization").get(pk={key})
payer = Payer(key.organization, key)

async def one(gate, number):
    try:
        hold = await gate.open_hold(demand(payer, output=300 if number % 2 else None))
    except CreditRefused:
        return 0
    await asyncio.sleep(0.05)
    if {dies}:
        import os
        os.kill(os.getpid(), 9)
    return (await gate.settle(hold, outcome(output=hold.max_output_tokens))).charge_nano

async def main():
    async with running() as gate:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        return await asyncio.gather(*(one(gate, number) for number in range({count})))

print(json.dumps(asyncio.run(main())))
"""


def test_a_cent_among_three_processes_is_never_spent_twice(tmp_path: Path) -> None:
    """Sixty-four requests at once; the third process dies with what it holds."""
    make_price()
    payer = make_payer(CENT)
    connection.close()
    with ExitStack() as stack:
        workers = [
            stack.enter_context(
                start_python(WORKER.format(spool=str(tmp_path), key=payer.api_key.pk, dies=dies, count=count))
            )
            for dies, count in ((False, 22), (False, 21), (True, 21))
        ]
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        told = [worker.communicate(timeout=60)[0] for worker in workers]
    charges = [charge for text in told[:2] for charge in json.loads(text)]
    records = list(UsageRecord.across_all_organizations.values_list("charge_nano", "uncollected_nano"))
    assert sorted(charge for charge, _ in records) == sorted(charge for charge in charges if charge)
    assert all(uncollected == 0 for _, uncollected in records)
    assert payer.wallet.posted == CENT - sum(charges) >= 0
    Lease.objects.update(expires_at=timezone.now() - timedelta(minutes=1))
    reap_expired_leases()
    assert payer.wallet.pending == 0
    assert verify_books()["ok"]
