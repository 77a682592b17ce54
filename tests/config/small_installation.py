"""A supervisor over shell children, for test_supervisor.py: `small_installation.py FOLDER KIND…`.

Every child writes its process id to FOLDER/<label>.pid and, when it ends politely, its label to FOLDER/order.
"""

import asyncio
import os
import signal
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from config.engines import ConfigurationError
from config.engines.engine import wait_until_ready
from config.engines.home import prepare_home
from config.engines.postgres import Postgres
from config.engines.process import Program
from config.engines.valkey import Valkey
from config.supervisor.stream import LogStream
from config.supervisor.supervisor import Phase, Supervisor, in_thread

POLITE = (
    'echo $$ > {pid}; trap "echo {label} >> {order}; exit 0" TERM; echo here; while :; do sleep 0.02; done'
)
STUBBORN = 'echo $$ > {pid}; trap "" TERM; while :; do sleep 0.1; done'
LOUD = "echo $$ > {pid}; while :; do echo 0123456789012345678901234567890123456789; done"

FOLDER = Path(sys.argv[1])
# A test run may itself have been started under nohup; what is tested here is not.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def child(label: str, script: str) -> Program:
    text = script.format(pid=FOLDER / f"{label}.pid", order=FOLDER / "order", label=label)
    return Program(label=label, argv=("/bin/sh", "-c", text), environment={"PATH": os.defpath})


async def start(supervisor: Supervisor, kinds: list[str]) -> None:
    if "engines" in kinds:
        await start_engines(supervisor)
    if "polite" in kinds:
        for phase in reversed(Phase):
            supervisor.add(child(phase.name.lower(), POLITE), phase)
    if "stubborn" in kinds:
        supervisor.add(child("stubborn", STUBBORN), Phase.VENDOR)
    if "loud" in kinds:
        supervisor.add(child("loud", LOUD), Phase.TRAFFIC)
    if "missing" in kinds:
        nowhere = replace(child("missing", ""), argv=("/nowhere",))
        supervisor.add(nowhere, Phase.TRAFFIC)
    if "refusing" in kinds:
        raise ConfigurationError("this installation cannot start")
    supervisor.stream.plain("ready")


async def start_engines(supervisor: Supervisor) -> None:
    home = FOLDER / "home"
    prepare_home(home)
    for engine, phase in ((Postgres(home), Phase.POSTGRES), (Valkey(home), Phase.VALKEY)):
        await in_thread(engine.prepare)
        supervisor.add(engine.program(), phase)
        await in_thread(partial(wait_until_ready, engine, lambda: False, hint=""))


async def run(stream: LogStream) -> None:
    supervisor = Supervisor(stream)
    await supervisor.run(partial(start, supervisor, sys.argv[2:]))


def main() -> int:
    stream = LogStream(sys.stdout)
    try:
        asyncio.run(run(stream))
    except ConfigurationError as error:
        stream.plain(error.message)
        return 2
    finally:
        stream.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
