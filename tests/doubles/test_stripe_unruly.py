"""The Stripe double's webhooks go astray as they are told to, and its calls fail as they are told to."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import stripe

from tests.doubles.stripe.double import ControlRefused, StripeDouble, control

ROOT = Path(__file__).resolve().parents[2]


class Shop:
    """An endpoint that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                shop.heard.append((body, self.headers["stripe-signature"]))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def types(self) -> list[str]:
        return [json.loads(body)["type"] for body, _ in self.heard]


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop()
    yield shop
    shop.server.shutdown()
    shop.server.server_close()


@pytest.fixture
def double(shop: Shop) -> Iterator[StripeDouble]:
    with StripeDouble(webhook_url=shop.url, seed=5) as double:
        yield double


@pytest.fixture
def client(double: StripeDouble) -> stripe.StripeClient:
    return stripe.StripeClient(double.api_key, base_addresses={"api": double.url}, max_network_retries=0)


def start(client: stripe.StripeClient) -> stripe.PaymentIntent:
    """One call that makes one event."""
    return client.v1.payment_intents.create({"amount": 5_00, "currency": "usd"})


def test_as_many_copies_as_wanted(shop: Shop, double: StripeDouble, client: stripe.StripeClient) -> None:
    double.webhooks(duplicated=1.0, copies=4)
    start(client)
    assert double.wait_for_webhooks()
    assert len(shop.heard) == 4
    assert len({body for body, _ in shop.heard}) <= 2  # what waits for delivery is counted in it


def test_news_that_is_faster_than_the_answer(
    shop: Shop, double: StripeDouble, client: stripe.StripeClient
) -> None:
    double.webhooks(before_answer=1.0)
    start(client)
    assert shop.types() == ["payment_intent.created"]


def test_an_endpoint_that_is_away_for_a_while(
    shop: Shop, double: StripeDouble, client: stripe.StripeClient
) -> None:
    double.webhooks(down_s=0.3)
    start(client)
    [event] = client.v1.events.list({"delivery_success": False}).data
    assert double.wait_for_webhooks()
    assert [json.loads(body)["id"] for body, _ in shop.heard] == [event.id]
    assert client.v1.events.list({"delivery_success": False}).data == []


def test_while_a_secret_is_changed_both_open(
    shop: Shop, double: StripeDouble, client: stripe.StripeClient
) -> None:
    double.webhooks(endpoints=[[shop.url, "whsec_new whsec_old"]])
    start(client)
    assert double.wait_for_webhooks()
    [(body, signature)] = shop.heard
    for secret in ("whsec_new", "whsec_old"):
        assert stripe.Webhook.construct_event(body, signature, secret).type == "payment_intent.created"
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body, signature, "whsec_other")


def test_every_endpoint_hears_everything(double: StripeDouble, client: stripe.StripeClient) -> None:
    shops = [Shop(), Shop()]
    double.webhooks(endpoints=[[shop.url, f"whsec_{place}"] for place, shop in enumerate(shops)])
    start(client)
    assert double.wait_for_webhooks()
    for place, shop in enumerate(shops):
        [(body, signature)] = shop.heard
        stripe.Webhook.construct_event(body, signature, f"whsec_{place}")
        shop.server.shutdown()
        shop.server.server_close()


def test_paused_ones_come_later_and_one_can_be_sent_again(
    shop: Shop, double: StripeDouble, client: stripe.StripeClient
) -> None:
    double.webhooks(paused=True)
    start(client)
    assert shop.heard == []
    double.webhooks(paused=False)
    assert double.wait_for_webhooks()
    double.control("redeliver", event=json.loads(shop.heard[0][0])["id"])
    assert double.wait_for_webhooks()
    assert shop.types() == ["payment_intent.created"] * 2


def test_a_live_event_can_be_told_in_test_mode(
    shop: Shop, double: StripeDouble, client: stripe.StripeClient
) -> None:
    double.control("settings", livemode=True)
    start(client)
    assert double.wait_for_webhooks()
    assert json.loads(shop.heard[0][0])["livemode"] is True


def test_the_same_seed_is_the_same_trouble() -> None:
    def outcomes() -> list[bool]:
        with StripeDouble(seed=9) as double:
            double.trouble(cut_before=0.3, error_after=0.3)
            client = stripe.StripeClient(
                double.api_key, base_addresses={"api": double.url}, max_network_retries=0
            )
            return [_works(client) for _ in range(20)]

    first = outcomes()
    assert first == outcomes()
    assert 0 < sum(first) < 20


def _works(client: stripe.StripeClient) -> bool:
    try:
        start(client)
    except (stripe.APIError, stripe.APIConnectionError):
        return False
    return True


def test_trouble_that_there_is_not_is_refused(double: StripeDouble) -> None:
    with pytest.raises(ControlRefused, match="no such trouble"):
        double.trouble(nonsense=1.0)
    with pytest.raises(ControlRefused, match="no such trouble"):
        double.unsettle(nonsense=1.0)


def test_it_runs_as_a_process_of_its_own(shop: Shop) -> None:
    command = [sys.executable, "-m", "tests.doubles.stripe", "--seed", "1", "--webhook-url", shop.url]
    command += ["--webhook-secret", "whsec_mine", "--chaos", "duplicated=1", "copies=3"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            control(told["url"], "stray_payment", amount=5_00)
            assert control(told["url"], "state")["balance"] == 5_00 - 45
            deadline = time.monotonic() + 10
            while len(shop.heard) < 9 and time.monotonic() < deadline:
                time.sleep(0.02)
        finally:
            process.terminate()
        assert process.wait(timeout=20) == 0
    assert len(shop.heard) == 9  # three events, three times
    assert told["secret"] == "whsec_mine"
    stripe.Webhook.construct_event(*shop.heard[0], "whsec_mine")
