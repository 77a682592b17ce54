"""Stripe for tests: stateful, strict, and offline.

    with StripeDouble(webhook_url="http://127.0.0.1:8000/stripe/webhook") as stripe:
        settings.STRIPE_API_KEY, settings.STRIPE_API_BASE = stripe.api_key, stripe.url
        settings.STRIPE_WEBHOOK_SECRET = stripe.secret
        …
        stripe.pay(session_id)                     # a person with a good card; False where it is declined
        stripe.control("dispute", session=session_id)
        stripe.state()["balance"]                  # cents that Stripe holds for us

What a person, a bank or time does is `control(verb, …)`; the verbs are in `control.py`:
pay, authenticate, pay_delayed, settle_delayed, expire (of a session); refund, end_refund, dispute, withdraw,
close_dispute, warn (of a charge); card, change_card, save_card; delete_customer; pay_out, fail_payout,
reconcile_payout; stray_payment, settle_fees, warp, redeliver, deliver (a forged event), settings, state,
trouble, webhooks. Requests are checked by the SDK's own types, keys make calls happen once, and every answer
parses through the SDK. `trouble` makes the API unreliable, `webhooks` the deliveries; both are drawn from
`seed`. It runs in threads of this process, or as `python -m tests.doubles.stripe` for others.
"""

import socket
import threading
from types import TracebackType
from typing import Any, Self

import httpx

from tests.doubles.stripe.params import Json
from tests.doubles.stripe.server import Stripe, make_server
from tests.doubles.stripe.state import State
from tests.doubles.stripe.webhooks import Postman

API_KEY = "sk_test_double"
SECRET = "whsec_double"


class ControlRefused(AssertionError):
    """The double cannot do what it was told; the message says why."""


class StripeDouble:
    """`port` 0 takes a free one. Without a `webhook_url` events are kept, and can be listed, but not sent."""

    def __init__(
        self,
        *,
        webhook_url: str = "",
        secret: str = SECRET,
        api_key: str = API_KEY,
        port: int = 0,
        listener: socket.socket | None = None,
        seed: int = 0,
    ) -> None:
        self.api_key = api_key
        self.secret = secret
        state = State(seed=seed, livemode=api_key.startswith("sk_live_"))
        self.postman = Postman(state, seed=seed)
        self.postman.endpoints = [(webhook_url, secret)] if webhook_url else []
        state.told = self.postman.post
        self.stripe = Stripe(state, self.postman, api_key, seed)
        self._server = make_server(self.stripe, port, listener)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="stripe-double", daemon=True
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """What STRIPE_API_BASE takes."""
        return self.stripe.state.url

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.postman.stop()

    def control(self, verb: str, **told: Any) -> Any:
        """Raises ControlRefused."""
        return control(self.url, verb, **told)

    def pay(self, session: str, card: str = "visa", *, number: str = "") -> bool:
        """A person on the payment page; `number` tells cards apart. False: declined."""
        return bool(self.control("pay", session=session, card=card, number=number))

    def state(self) -> Json:
        """Everything there is, by kind of object, with `balance` and what was `asked`."""
        found: Json = self.control("state")
        return found

    def get(self, wanted: str) -> Json:
        found: Json = self.control("state", object=wanted)
        return found

    def trouble(self, **shares: float) -> None:
        """See `server.Trouble`."""
        self.control("trouble", **shares)

    def webhooks(self, **told: Any) -> None:
        """`lost`, `paused`, `endpoints`, and the shares of `webhooks.Unruliness`."""
        self.control("webhooks", **told)

    def unsettle(self, **shares: float) -> None:
        """Of both, without the server; raises ControlRefused."""
        for name, share in shares.items():
            where = next(
                (one for one in (self.postman.unruly, self.stripe.trouble) if hasattr(one, name)), None
            )
            if where is None:
                raise ControlRefused(f"no such trouble: {name}")
            setattr(where, name, type(getattr(where, name))(share))

    def wait_for_webhooks(self, seconds: float = 10.0) -> bool:
        return self.postman.wait_until_idle(seconds)


def control(url: str, verb: str, **told: Any) -> Any:
    """The same for a double in another process. Raises ControlRefused."""
    answer = httpx.post(f"{url}/_control/{verb}", json=told, timeout=30)
    if answer.status_code != 200:
        raise ControlRefused(answer.text)
    return answer.json()["made"]
