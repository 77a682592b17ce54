"""Events on their way to whoever wants to hear them: signed, tried again, and as unruly as one likes."""

import heapq
import json
import random
import threading
import time
from dataclasses import dataclass
from itertools import count

import httpx
import stripe

from tests.doubles.stripe.params import Json
from tests.doubles.stripe.rendering import render
from tests.doubles.stripe.state import State

ATTEMPTS = 6
TIMEOUT_S = 10.0
# An answer does not wait longer for events that are to come before it: who hears may wait for the answer.
BEFORE_ANSWER_S = 2.0


@dataclass
class Unruliness:
    """Shares from 0 to 1, but for seconds and `copies`.

    `reordered` events come up to `late_s` later than they should, all come `delay_s` later. `duplicated` ones
    come `copies` times. Those `before_answer` arrive before the call that caused them is answered.
    """

    dropped: float = 0.0
    duplicated: float = 0.0
    copies: int = 2
    reordered: float = 0.0
    late_s: float = 0.5
    delay_s: float = 0.0
    before_answer: float = 0.0


class Postman:
    """Delivers to all endpoints from a thread of its own. `paused` keeps events, `lost` forgets them."""

    def __init__(self, state: State, *, seed: int = 0) -> None:
        self.endpoints: list[tuple[str, str]] = []  # a URL and its secret, or two with a space between
        self.unruly = Unruliness()
        self.is_paused = False
        self.is_lost = False
        self._state = state
        self._dice = random.Random(seed + 1)
        self._due: list[tuple[float, int, int, str, str, Json]] = []
        self._numbers = count()
        self._wake = threading.Condition()
        self._first: list[Json] = []
        self._down_until = 0.0
        self._stopped = False
        self._busy = 0
        self._thread = threading.Thread(target=self._work, name="stripe-double-webhooks", daemon=True)
        self._thread.start()

    def post(self, event: Json) -> None:
        """Called with the state locked: nothing is sent here but what is to come before the API's answer."""
        unruly, dice = self.unruly, self._dice
        if not self.endpoints:
            return
        event["pending_webhooks"] = len(self.endpoints)
        if self.is_lost or dice.random() < unruly.dropped:
            return
        if dice.random() < unruly.before_answer:
            self._first.append(event)
            return
        times = unruly.copies if dice.random() < unruly.duplicated else 1
        for _ in range(times):
            delay = dice.random() * unruly.late_s if dice.random() < unruly.reordered else 0.0
            self._queue(event, unruly.delay_s + delay)

    def deliver_first(self) -> None:
        """Called before an answer goes out, with nothing locked."""
        with self._wake:
            first, self._first = self._first, []
            self._busy += len(first)
        if first:
            sender = threading.Thread(target=self._deliver, args=(first,), daemon=True)
            sender.start()
            sender.join(BEFORE_ANSWER_S)

    def _deliver(self, events: list[Json]) -> None:
        for event in events:
            for url, secret in self.endpoints:
                if not self._send(event, url, secret):
                    self._queue(event, 0.2, 1, url)
            with self._wake:
                self._busy -= 1

    def go_down(self, seconds: float) -> None:
        """Nobody answers at the endpoints for a while."""
        self._down_until = time.monotonic() + seconds

    def redeliver(self, event: Json) -> None:
        self._queue(event, 0.0)

    def wait_until_idle(self, seconds: float = 10.0) -> bool:
        """True once nothing is due; not while paused."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with self._wake:
                if not self._due and not self._busy and not self._first:
                    return True
            time.sleep(0.01)
        return False

    def resume(self) -> None:
        with self._wake:
            self.is_paused = False
            self._wake.notify_all()

    def stop(self) -> None:
        with self._wake:
            self._stopped = True
            self._wake.notify_all()
        self._thread.join(TIMEOUT_S)

    def _queue(self, event: Json, delay: float, tries: int = 0, only: str = "") -> None:
        with self._wake:
            for url, secret in self.endpoints:
                if only in ("", url):
                    due = (time.monotonic() + delay, next(self._numbers), tries, url, secret, event)
                    heapq.heappush(self._due, due)
            self._wake.notify_all()

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._stopped and (
                    self.is_paused or not self._due or self._due[0][0] > time.monotonic()
                ):
                    wait = self._due[0][0] - time.monotonic() if self._due and not self.is_paused else None
                    self._wake.wait(wait if wait is None or wait > 0 else 0.001)
                if self._stopped:
                    return
                _, _, tries, url, secret, event = heapq.heappop(self._due)
                self._busy += 1
            try:
                if not self._send(event, url, secret) and tries + 1 < ATTEMPTS:
                    self._queue(event, 0.2 * 2**tries, tries + 1, url)
            finally:
                with self._wake:
                    self._busy -= 1

    def _send(self, event: Json, url: str, secret: str) -> bool:
        if time.monotonic() < self._down_until:
            return False
        if status_of(url, render(self._state, event, []), secret) // 100 != 2:
            return False
        event["_taken"] = sorted({*event.get("_taken", ()), url})
        event["pending_webhooks"] = sum(place not in event["_taken"] for place, _ in self.endpoints)
        return True


def signature(payload: str, secret: str) -> str:
    """One signature for each of the secrets, as while one takes the place of another."""
    first, *others = (
        stripe.WebhookSignature.generate_signature_header(payload, one, int(time.time()))
        for one in secret.split()
    )
    return ",".join([first, *(one.partition(",")[2] for one in others)])


def status_of(url: str, event: Json, secret: str) -> int:
    """What the endpoint answers to a signed event; 0 where nobody does."""
    payload = json.dumps(event)
    headers = {
        "content-type": "application/json; charset=utf-8",
        "stripe-signature": signature(payload, secret),
        "user-agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
    }
    try:
        return httpx.post(url, content=payload, headers=headers, timeout=TIMEOUT_S).status_code
    except httpx.HTTPError:
        return 0
