"""The double as a server: keys, idempotency as Stripe has it, the pages people see, and trouble on demand."""

import hashlib
import json
import random
import socket
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

from typing_extensions import override

from tests.doubles.stripe import checkout, pages, payments
from tests.doubles.stripe.control import CONTROLS
from tests.doubles.stripe.endpoints import answer, find
from tests.doubles.stripe.params import Json, StripeError, check, decode
from tests.doubles.stripe.state import API_VERSION, State
from tests.doubles.stripe.webhooks import Postman

KEPT_S = 24 * 3600
LONGEST_KEY = 255
NO_HEADERS: Mapping[str, str] = {}
CARD_OF = {
    "good": "visa",
    "declined": "chargeDeclined",
    "later": "chargeCustomerFail",
    "disputed": "createDispute",
}


@dataclass
class Trouble:
    """Shares from 0 to 1 of POST requests. `error_after`: the work is done, the answer is a 500.
    `works_s`: seconds that the work itself takes, while its key is in use."""

    error_after: float = 0.0
    cut_before: float = 0.0
    cut_after: float = 0.0
    slow: float = 0.0
    slow_s: float = 0.2
    works_s: float = 0.0


@dataclass
class _Kept:
    """What a request with an idempotency key was, and was answered."""

    fingerprint: str
    at: int
    answer: tuple[int, Json] | None = None


@dataclass
class Stripe:
    """All that the threads of the server share; `lock` guards `state`."""

    state: State
    postman: Postman
    api_key: str
    seed: int = 0
    trouble: Trouble = field(default_factory=Trouble)
    lock: threading.RLock = field(default_factory=threading.RLock)
    is_down: bool = False
    keys: dict[str, _Kept] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed + 2)

    def call(self, method: str, path: str, params: Json, key: str | None) -> tuple[int, Json]:
        """Status and body of an API call."""
        if method != "POST" or key is None:
            return self._run(method, path, params, None)
        fingerprint = hashlib.sha256(json.dumps([path, params], sort_keys=True).encode()).hexdigest()
        with self.lock:
            now = self.state.now()
            kept = self.keys.get(key)
            if kept is not None and now - kept.at < KEPT_S:
                return _replay(kept, fingerprint, key)
            self.keys[key] = kept = _Kept(fingerprint, now)
        try:
            check(params, find(method, path)[0].params)
        except StripeError as error:
            del self.keys[key]  # nothing was begun, so nothing is remembered
            return error.status, error.body
        time.sleep(self.trouble.works_s)
        kept.answer = self._run(method, path, params, key)
        return kept.answer

    def _run(self, method: str, path: str, params: Json, key: str | None) -> tuple[int, Json]:
        with self.lock:
            self.state.asked.append({"method": method, "path": path, "params": params})
            self.state.request = {"id": self.state.new_id("req"), "idempotency_key": key}
            try:
                made = 200, answer(self.state, method, path, params)
            except StripeError as error:
                made = error.status, error.body
            except Exception as error:  # noqa: BLE001 - whatever is wrong here, the answer is Stripe's 500
                self.state.asked[-1]["failed"] = traceback.format_exc()
                made = 500, {"error": {"type": "api_error", "message": f"The double failed: {error!r}"}}
            finally:
                self.state.request = {"id": None, "idempotency_key": None}
            if method == "POST" and self.dice.random() < self.trouble.error_after:
                return 500, {"error": {"type": "api_error", "message": "An unknown error occurred"}}
            return made


def _replay(kept: _Kept, fingerprint: str, key: str) -> tuple[int, Json]:
    if kept.fingerprint != fingerprint:
        message = (
            "Keys for idempotent requests can only be used with the same parameters they were first used"
            f" with. Try using a key other than '{key}' if you meant to execute a different request."
        )
        return 400, {"error": {"type": "idempotency_error", "message": message}}
    if kept.answer is None:
        message = "There is currently another in-progress request using this Idempotent Key."
        return 409, {
            "error": {"type": "idempotency_error", "code": "idempotency_key_in_use", "message": message}
        }
    return kept.answer


def _number(session: Json) -> str:
    """Every customer has a card of its own, as people have."""
    return f"{session['customer']}4242"


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    stripe: ClassVar[Stripe]

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: tests read the state."""

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def _serve(self, method: str) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length).decode()
        place = urlsplit(self.path)
        if place.path.startswith("/_control/"):
            self._control(place.path.removeprefix("/_control/"), body)
        elif place.path.startswith("/pay/"):
            self._page(method, place.path, body)
        elif place.path.startswith("/portal/"):
            self._portal(place.path, body)
        elif self.stripe.is_down:
            self.close_connection = True
        else:
            self._api(method, place.path, place.query if method == "GET" else body)

    def _api(self, method: str, path: str, fields: str) -> None:
        stripe = self.stripe
        trouble, dice = stripe.trouble, stripe.dice
        if method == "POST" and dice.random() < trouble.cut_before:
            self.close_connection = True
            return
        if dice.random() < trouble.slow:
            time.sleep(trouble.slow_s)
        if self.headers.get("authorization") not in (f"Bearer {stripe.api_key}", self._basic()):
            message = "Invalid API Key provided: sk_test_****"
            self._answer(401, {"error": {"type": "invalid_request_error", "message": message}})
            return
        key = self.headers.get("idempotency-key") or ""
        was_answered = key in stripe.keys and stripe.keys[key].answer is not None
        status, made = self._called(method, path, fields)
        stripe.postman.deliver_first()
        if method == "POST" and dice.random() < trouble.cut_after:
            self.close_connection = True
            return
        is_replay = was_answered and made is (stripe.keys[key].answer or (0, None))[1]
        self._answer(status, made, {"idempotent-replayed": "true"} if is_replay else {})

    def _called(self, method: str, path: str, fields: str) -> tuple[int, Json]:
        key = self.headers.get("idempotency-key")
        if key is not None and len(key) > LONGEST_KEY:
            message = f"Idempotency keys have at most {LONGEST_KEY} characters."
            return 400, {"error": {"type": "idempotency_error", "message": message}}
        version = self.headers.get("stripe-version") or API_VERSION
        if version != API_VERSION:
            message = f"Invalid Stripe API version: {version}. The double speaks {API_VERSION}."
            return 400, {"error": {"type": "invalid_request_error", "message": message}}
        params = decode(parse_qsl(fields, keep_blank_values=True))
        return self.stripe.call(method, path, params, key)

    def _basic(self) -> str:
        return f"Basic {self.stripe.api_key}"

    def _answer(self, status: int, made: Json, more: Mapping[str, str] = NO_HEADERS) -> None:
        body = json.dumps(made).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.send_header("request-id", self.stripe.state.new_id("req"))
        for name, value in more.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _control(self, verb: str, body: str) -> None:
        try:
            with self.stripe.lock:
                made = CONTROLS[verb](self.stripe, json.loads(body or "{}"))
        except (KeyError, TypeError, ValueError, StripeError, checkout.PageClosed) as error:
            self.stripe.postman.deliver_first()
            self._answer(400, {"error": f"{type(error).__name__}: {error}"})
            return
        self.stripe.postman.deliver_first()
        self._answer(200, {"made": made})

    # The pay page

    def _page(self, method: str, path: str, body: str) -> None:
        state = self.stripe.state
        with self.stripe.lock:
            session = state.objects.get(path.split("/")[2])
            if session is None:
                self._html(404, "<p>No such page.</p>")
                return
            checkout.end_if_late(state, session)
            if session["status"] != "open":
                self._html(200, pages.closed_page(session))
            elif method == "GET":
                self._html(200, pages.pay_page(session))
            else:
                self._press(session, dict(parse_qsl(body)).get("how", "good"))
        self.stripe.postman.deliver_first()

    def _press(self, session: Json, how: str) -> None:
        state = self.stripe.state
        if how == "3ds":
            checkout.start_authentication(state, session)
            self._html(200, pages.bank_page(session))
            return
        if how == "delayed":
            checkout.pay_delayed(state, session)
            is_paid = True
        elif how in ("confirmed", "not_confirmed") and "_started" in session:
            is_paid = checkout.end_authentication(state, session, ok=how == "confirmed")
        else:
            is_paid = checkout.pay(state, session, CARD_OF.get(how, "visa"), number=_number(session))
        if not is_paid:
            self._html(200, pages.pay_page(session, "Your card was declined. Try another card."))
            return
        self._go_to(session["success_url"].replace("{CHECKOUT_SESSION_ID}", session["id"]))

    def _go_to(self, url: str) -> None:
        self.send_response(303)
        self.send_header("location", url)
        self.send_header("content-length", "0")
        self.end_headers()

    def _portal(self, path: str, body: str) -> None:
        """Where a customer takes cards away."""
        state = self.stripe.state
        with self.stripe.lock:
            visit = state.objects.get(path.split("/")[2])
            if visit is None:
                self._html(404, "<p>No such page.</p>")
                return
            cards = [one for one in state.all("payment_method") if one["customer"] == visit["customer"]]
            gone = dict(parse_qsl(body)).get("remove")
            for card in cards:
                if card["id"] == gone:
                    payments.detach(state, card)
            left = [card for card in cards if card["id"] != gone]
            self._html(200, pages.portal_page(visit, left))

    def _html(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("content-type", "text/html; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def make_server(stripe: Stripe, port: int, listener: socket.socket | None = None) -> Server:
    """Bound to the loopback, or on a socket that listens already; `stripe.state.url` is where it answers."""
    handler = type("StripeHandler", (Handler,), {"stripe": stripe})
    server = Server(("127.0.0.1", port), handler, bind_and_activate=listener is None)
    if listener is not None:
        server.socket.close()
        server.socket = listener
        server.server_address = listener.getsockname()
    stripe.state.url = f"http://127.0.0.1:{server.server_address[1]}"
    return server


def settings_of(stripe: Stripe) -> Json:
    return {"trouble": asdict(stripe.trouble), "webhooks": asdict(stripe.postman.unruly)}
