"""One chaos run from start to figures."""

import asyncio
import threading
import time
from dataclasses import replace

from tests.chaos.havoc import Havoc
from tests.chaos.reckoning import Figures, explain, gather, reckon, wait_until_settled
from tests.chaos.storm import Storm, make_customers
from tests.installation import Installation

RELAYS = 4
CLIENTS = 48


def run_chaos(*, seconds: float, seed: int) -> tuple[Figures, str]:
    """The figures, and what there is to say about faults in them."""
    with Installation("--relay-workers", str(RELAYS)) as installation:
        customers = make_customers(installation, seed=seed)
        storm, havoc = Storm(customers, seed), Havoc(installation, seed, seconds)
        _let_loose(storm, havoc)
        settled_after = wait_until_settled(installation)
        evidence = gather(installation, customers, storm.asked)
        figures = reckon(installation, evidence, settled_after=settled_after)
        words = explain(installation, evidence) if figures.faults() else ""
        return _with_havoc(figures, havoc), words


def _with_havoc(figures: Figures, havoc: Havoc) -> Figures:
    return replace(
        figures,
        blows=dict(sorted(havoc.blows.items())),
        restarts=havoc.restarts,
        spools_replayed=havoc.spools_replayed,
    )


def _let_loose(storm: Storm, havoc: Havoc) -> None:
    """Raises what the thread of the havoc raised."""
    failures: list[Exception] = []

    def wreak() -> None:
        try:
            havoc.wreak()
        except (OSError, AssertionError) as error:  # TimeoutError is one
            failures.append(error)

    thread = threading.Thread(target=wreak, name="havoc", daemon=True)
    thread.start()
    asyncio.run(storm.blow(clients=CLIENTS, until=time.monotonic() + havoc.seconds))
    thread.join()
    if failures:
        raise failures[0]
