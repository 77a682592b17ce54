"""`manage.py up`: the order in which everything starts, and what a person sees of it."""

import asyncio
import logging
import socket
import sys
from contextlib import nullcontext
from functools import partial

from config.bootstrap import FirstStart
from config.engines.addresses import socket_paths
from config.engines.engine import Engine, wait_until_ready
from config.engines.errors import ConfigurationError
from config.engines.home import ENGINES_LOCK, SUPERVISOR_LOCK, locked, prepare_home
from config.engines.running import embedded_engines
from config.env import ENV, set_variable
from config.supervisor import programs
from config.supervisor.database import bring_up_to_date
from config.supervisor.payments import check_payments
from config.supervisor.servers import check_given_servers
from config.supervisor.sockets import listen, listen_at_remembered_port, local_address, own_url
from config.supervisor.stream import LabelledText, LogStream
from config.supervisor.supervisor import Phase, Supervisor, in_thread

RUN = ENV.home / "run"
URL = own_url(ENV.host, ENV.port)
COMMANDS_SECONDS = 20.0
# An engine that ended by itself this often while we wait for it will not come.
DEATHS = 4
PHASES = {"postgres": Phase.POSTGRES, "valkey": Phase.VALKEY}


def up(relay_workers: int, *, stripe_double: bool = False) -> None:
    """Run the installation until a signal; raises ConfigurationError when it cannot start.

    `stripe_double`: payments go to a stand-in for Stripe, where everything can be tried and no money moves.
    """
    if stripe_double and ENV.stripe_api_key:
        raise ConfigurationError("--stripe-double and STRIPE_API_KEY exclude each other: unset one")
    prepare_home(ENV.home)
    stream = LogStream(sys.stdout)
    _log_into(stream)
    try:
        with (
            locked(RUN / SUPERVISOR_LOCK, patience=0.5, refusal=f"already running in {ENV.home}"),
            listen(ENV.host, ENV.port) as public,
            listen_at_remembered_port(RUN / "demo_vendor_port") as demo,
            locked(RUN / ENGINES_LOCK, patience=COMMANDS_SECONDS, refusal=f"a command still uses {ENV.home}"),
            listen_at_remembered_port(RUN / "stripe_double_port")
            if stripe_double
            else nullcontext() as stripe,
        ):
            socket_paths(ENV.home).keeper_socket.unlink(missing_ok=True)  # a killed keeper's
            set_variable("DEMO_VENDOR_BASE_URL", f"{own_url(*demo.getsockname())}/v1")
            if stripe is not None:
                _pay_at(own_url(*stripe.getsockname()))
            asyncio.run(Installation(stream, public, demo, relay_workers, stripe=stripe).run())
    finally:
        stream.close()


def _pay_at(stripe_url: str) -> None:
    """The stand-in's own key and secret: they open nothing else."""
    set_variable("STRIPE_API_BASE", stripe_url)
    set_variable("STRIPE_API_KEY", "sk_test_double")
    set_variable("STRIPE_WEBHOOK_SECRET", "whsec_double")


def _log_into(stream: LogStream) -> None:
    """What Django and the apps log here, at the same place as everything else."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(LabelledText(stream))


class Installation:
    def __init__(
        self,
        stream: LogStream,
        public: socket.socket,
        demo: socket.socket,
        relay_workers: int,
        *,
        stripe: socket.socket | None,
    ) -> None:
        self.stream = stream
        self.public = public
        self.demo = demo
        self.relay_workers = relay_workers
        self.stripe = stripe
        self.supervisor = Supervisor(stream)

    async def run(self) -> None:
        await self.supervisor.run(self._start)

    async def _start(self) -> None:
        await in_thread(partial(check_given_servers, ENV))
        await in_thread(partial(check_payments, self.stream.say))
        for engine in embedded_engines(ENV):
            await self._start_engine(engine)
        first_start = await in_thread(partial(bring_up_to_date, self.stream.say))
        try:
            self._start_children()
            await self._until_ready()
        finally:
            if first_start:  # nobody can see it again, so also when we are stopped before all is ready
                self._introduce(first_start)
        self.stream.plain(f"Farebox is ready: {URL}")

    async def _start_engine(self, engine: Engine) -> None:
        await in_thread(engine.prepare)
        child = self.supervisor.add(engine.program(), PHASES[engine.label])
        answer = partial(wait_until_ready, engine, lambda: child.deaths >= DEATHS, hint="see its lines above")
        await in_thread(answer)

    def _start_children(self) -> None:
        add = self.supervisor.add
        add(programs.demo_vendor(self.demo.fileno()), Phase.VENDOR)
        if self.stripe is not None:
            add(programs.stripe_double(self.stripe.fileno(), f"{URL}/stripe/webhook"), Phase.VENDOR)
        for number in range(1, self.relay_workers + 1):
            add(programs.relay(number, self.public.fileno()), Phase.TRAFFIC)
        add(programs.worker(), Phase.TRAFFIC)
        add(programs.beat(RUN), Phase.TRAFFIC)

    async def _until_ready(self) -> None:
        while not await self._answers_ready():  # noqa: ASYNC110 - another process becomes ready, not we
            await asyncio.sleep(0.2)

    async def _answers_ready(self) -> bool:
        """One question to /readyz; the connection waits in the socket's queue until a relay takes it."""
        try:
            reader, writer = await asyncio.open_connection(local_address(ENV.host), ENV.port)
        except OSError:
            return False
        try:
            host = f"{local_address(ENV.host)}:{ENV.port}"
            writer.write(f"GET /readyz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            return b" 200 " in await reader.readline()
        except OSError:
            return False
        finally:
            writer.close()

    def _introduce(self, first: FirstStart) -> None:
        for line in INTRODUCTION.format(url=URL, first=first).splitlines():
            self.stream.plain(line)


INTRODUCTION = """
Shown this once:
  operator login    {first.operator_email}  {first.operator_password}  at {url}/admin/
  demo customer's key    {first.demo_api_key}
Try it:
  curl -N {url}/v1/chat/completions -H 'Authorization: Bearer {first.demo_api_key}' \
-H 'Content-Type: application/json' \
-d '{{"model": "farebox-demo", "stream": true, "messages": [{{"role": "user", "content": "Hello!"}}]}}'
"""
