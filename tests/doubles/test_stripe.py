"""The Stripe double, seen by the SDK: a person pays, banks say no, keys come twice, events go astray."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
import stripe

from tests.doubles.stripe.double import ControlRefused, StripeDouble

AMOUNT = 20_00


@pytest.fixture
def double() -> Iterator[StripeDouble]:
    with StripeDouble(seed=3) as double:
        yield double


@pytest.fixture
def client(double: StripeDouble) -> stripe.StripeClient:
    return stripe.StripeClient(double.api_key, base_addresses={"api": double.url}, max_network_retries=0)


def order(client: stripe.StripeClient, key: str = "", **changes: Any) -> stripe.checkout.Session:
    customer = changes.pop("customer", None) or client.v1.customers.create({"name": "Acme"}).id
    params: Any = {
        "mode": "payment",
        "customer": customer,
        "client_reference_id": "ours",
        "line_items": [
            {
                "quantity": 1,
                "price_data": {
                    "currency": "usd",
                    "unit_amount": AMOUNT,
                    "tax_behavior": "exclusive",
                    "product_data": {"name": "API credit"},
                },
            }
        ],
        "metadata": {"topup_id": "t"},
        "payment_intent_data": {"metadata": {"topup_id": "t"}},
        "success_url": "https://shop.example/done?session={CHECKOUT_SESSION_ID}",
        "cancel_url": "https://shop.example/back",
        **changes,
    }
    return client.v1.checkout.sessions.create(params, {"idempotency_key": key} if key else {})


def events(double: StripeDouble) -> list[str]:
    return [event["type"] for event in double.state().get("event", [])]


class TestPaying:
    def test_a_payment_is_a_charge_with_its_fee(
        self, double: StripeDouble, client: stripe.StripeClient
    ) -> None:
        session = order(client)
        assert (session.status, session.payment_status, session.amount_total) == ("open", "unpaid", AMOUNT)
        assert double.pay(session.id)
        session = client.v1.checkout.sessions.retrieve(session.id)
        assert (session.status, session.payment_status, session.url) == ("complete", "paid", None)
        expand: Any = {"expand": ["latest_charge.balance_transaction"]}
        intent: Any = client.v1.payment_intents.retrieve(str(session.payment_intent), expand)
        assert (intent.status, intent.amount_received) == ("succeeded", AMOUNT)
        assert intent.metadata["topup_id"] == "t"
        line = intent.latest_charge.balance_transaction
        assert (line.amount, line.fee, line.net) == (AMOUNT, 88, AMOUNT - 88)
        assert double.state()["balance"] == AMOUNT - 88
        assert events(double)[-4:] == [
            "payment_intent.created",
            "charge.succeeded",
            "payment_intent.succeeded",
            "checkout.session.completed",
        ]

    def test_a_card_that_is_declined_leaves_the_page_open(
        self, double: StripeDouble, client: stripe.StripeClient
    ) -> None:
        session = order(client)
        assert not double.pay(session.id, "chargeDeclined")
        assert client.v1.checkout.sessions.retrieve(session.id).status == "open"
        assert double.pay(session.id)
        assert len(double.state()["payment_intent"]) == 1

    def test_nobody_pays_twice(self, double: StripeDouble, client: stripe.StripeClient) -> None:
        session = order(client)
        double.pay(session.id)
        with pytest.raises(ControlRefused, match="complete"):
            double.pay(session.id)
        assert "paid already" in httpx.get(str(session.url)).text

    def test_money_that_comes_days_later(self, double: StripeDouble, client: stripe.StripeClient) -> None:
        session = order(client)
        double.control("pay_delayed", session=session.id)
        found = client.v1.checkout.sessions.retrieve(session.id)
        assert (found.status, found.payment_status) == ("complete", "unpaid")
        assert double.state()["balance"] == 0
        double.control("settle_delayed", session=session.id)
        assert client.v1.checkout.sessions.retrieve(session.id).payment_status == "paid"
        assert events(double)[-1] == "checkout.session.async_payment_succeeded"

    def test_a_page_ends(self, double: StripeDouble, client: stripe.StripeClient) -> None:
        session = order(client, expires_at=int(time.time()) + 1_800)
        double.control("warp", seconds=1_801)
        assert client.v1.checkout.sessions.retrieve(session.id).status == "expired"
        assert events(double)[-1] == "checkout.session.expired"
        with pytest.raises(stripe.InvalidRequestError):
            client.v1.checkout.sessions.expire(session.id)

    @pytest.mark.parametrize(("ok", "status"), [(True, "complete"), (False, "open")])
    def test_a_bank_that_asks(
        self, double: StripeDouble, client: stripe.StripeClient, ok: bool, status: str
    ) -> None:
        session = order(client)
        assert double.control("authenticate", session=session.id, ok=ok) == ok
        assert client.v1.checkout.sessions.retrieve(session.id).status == status

    def test_tax_comes_on_top(self, client: stripe.StripeClient) -> None:
        rate = client.v1.tax_rates.create({"display_name": "VAT", "percentage": 19.0, "inclusive": False})
        line: Any = {
            "quantity": 1,
            "tax_rates": [rate.id],
            "price_data": {"currency": "usd", "unit_amount": 1_050, "product_data": {"name": "c"}},
        }
        session = order(client, line_items=[line])
        assert (session.amount_subtotal, session.amount_total) == (1_050, 1_250)
        assert session.total_details is not None
        assert session.total_details.amount_tax == 200

    def test_the_page_can_be_clicked(self, double: StripeDouble, client: stripe.StripeClient) -> None:
        session = order(client)
        page = str(session.url)
        assert "TEST MODE" in httpx.get(page).text
        assert "declined" in httpx.post(page, data={"how": "declined"}).text
        assert "Your bank asks" in httpx.post(page, data={"how": "3ds"}).text
        done = httpx.post(page, data={"how": "confirmed"})
        assert done.headers["location"] == f"https://shop.example/done?session={session.id}"


class TestSavedCards:
    @pytest.fixture
    def card(self, double: StripeDouble, client: stripe.StripeClient) -> stripe.PaymentMethod:
        data: Any = {"setup_future_usage": "off_session"}
        session = order(client, payment_intent_data=data)
        double.pay(session.id)
        [card] = client.v1.customers.payment_methods.list(str(session.customer)).data
        return card

    def charge(self, client: stripe.StripeClient, card: stripe.PaymentMethod) -> stripe.PaymentIntent:
        return client.v1.payment_intents.create(
            {
                "amount": AMOUNT,
                "currency": "usd",
                "customer": str(card.customer),
                "payment_method": card.id,
                "off_session": True,
                "confirm": True,
            }
        )

    def test_it_pays_without_its_owner(self, client: stripe.StripeClient, card: stripe.PaymentMethod) -> None:
        assert card.card is not None
        assert (card.card.last4, card.type) == ("4242", "card")
        assert self.charge(client, card).status == "succeeded"

    @pytest.mark.parametrize(
        "refusal",
        [("chargeDeclined", "card_declined"), ("authenticationRequired", "authentication_required")],
    )
    def test_it_may_be_refused(
        self,
        double: StripeDouble,
        client: stripe.StripeClient,
        card: stripe.PaymentMethod,
        refusal: tuple[str, str],
    ) -> None:
        kind, code = refusal
        double.control("card", payment_method=card.id, card=kind)
        with pytest.raises(stripe.CardError) as caught:
            self.charge(client, card)
        assert caught.value.code == code
        assert caught.value.error is not None
        assert caught.value.error.payment_intent is not None
        assert caught.value.error.payment_intent.status == "requires_payment_method"

    def test_it_can_be_taken_away(self, client: stripe.StripeClient, card: stripe.PaymentMethod) -> None:
        client.v1.payment_methods.detach(card.id)
        assert not client.v1.customers.payment_methods.list(str(card.customer)).data
        with pytest.raises(stripe.InvalidRequestError):
            self.charge(client, card)


class TestGivingBack:
    @pytest.fixture
    def intent(self, double: StripeDouble, client: stripe.StripeClient) -> str:
        session = order(client)
        double.pay(session.id)
        return str(client.v1.checkout.sessions.retrieve(session.id).payment_intent)

    def test_never_more_than_is_left(
        self, double: StripeDouble, client: stripe.StripeClient, intent: str
    ) -> None:
        before = double.state()["balance"]
        client.v1.refunds.create({"payment_intent": intent, "amount": 5_00})
        with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded"):
            client.v1.refunds.create({"payment_intent": intent, "amount": 15_01})
        assert client.v1.refunds.create({"payment_intent": intent}).amount == 15_00
        assert double.state()["balance"] == before - AMOUNT

    def test_one_can_fail_afterwards(
        self, double: StripeDouble, client: stripe.StripeClient, intent: str
    ) -> None:
        before = double.state()["balance"]
        refund = client.v1.refunds.create({"payment_intent": intent})
        double.control("end_refund", refund=refund.id, ok=False)
        assert client.v1.refunds.retrieve(refund.id).status == "failed"
        assert double.state()["balance"] == before

    @pytest.mark.parametrize("end", [(True, AMOUNT - 88 - 15_00), (False, -88 - 15_00)])
    def test_a_dispute_takes_the_money(
        self, double: StripeDouble, client: stripe.StripeClient, intent: str, end: tuple[bool, int]
    ) -> None:
        won, left = end
        dispute = double.control("dispute", payment_intent=intent)
        assert double.state()["balance"] == -88 - 15_00
        double.control("close_dispute", dispute=dispute["id"], won=won)
        assert client.v1.disputes.retrieve(dispute["id"]).status == ("won" if won else "lost")
        assert double.state()["balance"] == left

    def test_an_inquiry_takes_none(self, double: StripeDouble, intent: str) -> None:
        before = double.state()["balance"]
        double.control("dispute", payment_intent=intent, inquiry=True)
        assert double.state()["balance"] == before

    def test_the_book_is_the_balance(
        self, double: StripeDouble, client: stripe.StripeClient, intent: str
    ) -> None:
        double.control("pay_out", amount=3_00)
        client.v1.refunds.create({"payment_intent": intent, "amount": 1_00})
        listed = client.v1.balance_transactions.list({"limit": 1})
        lines = list(listed.auto_paging_iter())
        assert len(lines) == 3
        assert sum(line.net for line in lines) == double.state()["balance"]


class TestStrictness:
    @pytest.mark.parametrize(
        ("changes", "code", "param"),
        [
            ({"nonsense": "x"}, "parameter_unknown", "nonsense"),
            (
                {"payment_method_types": ["card"]},
                "payment_method_types_no_longer_supported",
                "payment_method_types",
            ),
            ({"mode": "sell"}, None, "mode"),
            ({"expires_at": 5}, None, "expires_at"),
            ({"customer": "cus_nobody"}, "resource_missing", "customer"),
            ({"line_items": [{"quantity": "many"}]}, None, "line_items[0][quantity]"),
        ],
    )
    def test_what_stripe_refuses_it_refuses(
        self, client: stripe.StripeClient, changes: Any, code: str | None, param: str
    ) -> None:
        with pytest.raises(stripe.InvalidRequestError) as caught:
            order(client, **changes)
        assert (caught.value.code, caught.value.param) == (code, param)

    def test_an_amount_can_be_too_small(self, client: stripe.StripeClient) -> None:
        line = {"price_data": {"currency": "usd", "unit_amount": 49, "product_data": {"name": "c"}}}
        with pytest.raises(stripe.InvalidRequestError) as caught:
            order(client, line_items=[line])
        assert caught.value.code == "amount_too_small"

    def test_a_wrong_key_opens_nothing(self, double: StripeDouble) -> None:
        other = stripe.StripeClient("sk_test_other", base_addresses={"api": double.url})
        with pytest.raises(stripe.AuthenticationError):
            other.v1.balance.retrieve()

    def test_what_is_not_there_is_missing(self, client: stripe.StripeClient) -> None:
        with pytest.raises(stripe.InvalidRequestError) as caught:
            client.v1.payment_intents.retrieve("pi_nothing")
        assert (caught.value.http_status, caught.value.code) == (404, "resource_missing")


class TestKeys:
    def test_the_same_key_is_the_same_call(self, double: StripeDouble, client: stripe.StripeClient) -> None:
        customer = client.v1.customers.create({}).id
        first, second = (order(client, "k", customer=customer) for _ in range(2))
        assert first.id == second.id
        assert len(double.state()["checkout.session"]) == 1

    def test_another_call_under_a_used_key_is_refused(self, client: stripe.StripeClient) -> None:
        customer = client.v1.customers.create({}).id
        order(client, "k", customer=customer)
        with pytest.raises(stripe.IdempotencyError):
            order(client, "k", customer=customer, client_reference_id="other")

    def test_an_error_after_the_work_is_kept_too(
        self, double: StripeDouble, client: stripe.StripeClient
    ) -> None:
        customer = client.v1.customers.create({}).id
        double.trouble(error_after=1.0)
        for _ in range(2):
            with pytest.raises(stripe.APIError):
                order(client, "k", customer=customer)
            double.trouble(error_after=0.0)
        assert len(double.state()["checkout.session"]) == 1
        double.control("warp", seconds=86_401)
        assert order(client, "k", customer=customer).status == "open"

    def test_what_was_never_begun_is_forgotten(self, client: stripe.StripeClient) -> None:
        customer = client.v1.customers.create({}).id
        with pytest.raises(stripe.InvalidRequestError):
            order(client, "k", customer=customer, mode="sell")
        assert order(client, "k", customer=customer).status == "open"

    def test_a_connection_cut_after_the_work(self, double: StripeDouble, client: stripe.StripeClient) -> None:
        customer = client.v1.customers.create({}).id
        double.trouble(cut_after=1.0)
        with pytest.raises(stripe.APIConnectionError):
            order(client, "k", customer=customer)
        double.trouble(cut_after=0.0)
        session = order(client, "k", customer=customer)
        assert [one["id"] for one in double.state()["checkout.session"]] == [session.id]


class Listener:
    """An endpoint that keeps what it hears; it fails the first `failures` times."""

    def __init__(self) -> None:
        self.heard: list[tuple[bytes, str]] = []
        self.failures = 0
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                listener.failures -= 1
                if listener.failures < 0:
                    listener.heard.append((body, self.headers["stripe-signature"]))
                self.send_response(200 if listener.failures < 0 else 500)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class TestWebhooks:
    @pytest.fixture
    def listener(self) -> Iterator[Listener]:
        listener = Listener()
        yield listener
        listener.server.shutdown()
        listener.server.server_close()

    @pytest.fixture
    def double(self, listener: Listener) -> Iterator[StripeDouble]:
        with StripeDouble(webhook_url=listener.url, seed=3) as double:
            yield double

    def types(self, listener: Listener, double: StripeDouble) -> list[str]:
        assert double.wait_for_webhooks()
        return [
            stripe.Webhook.construct_event(body, signature, double.secret).type
            for body, signature in listener.heard
        ]

    def test_events_are_signed(
        self, listener: Listener, double: StripeDouble, client: stripe.StripeClient
    ) -> None:
        double.pay(order(client).id)
        assert self.types(listener, double)[-1] == "checkout.session.completed"
        body, signature = listener.heard[0]
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.Webhook.construct_event(body, signature, "whsec_other")

    def test_what_was_not_taken_comes_again(
        self, listener: Listener, double: StripeDouble, client: stripe.StripeClient
    ) -> None:
        listener.failures = 2
        double.pay(order(client).id)
        assert len(self.types(listener, double)) == 4

    def test_lost_ones_can_be_listed(
        self, listener: Listener, double: StripeDouble, client: stripe.StripeClient
    ) -> None:
        double.webhooks(lost=True)
        double.pay(order(client).id)
        assert self.types(listener, double) == []
        missed = client.v1.events.list({"delivery_success": False, "type": "checkout.session.completed"})
        [event] = missed.data
        assert event.data.object["payment_status"] == "paid"

    def test_they_come_twice_and_in_any_order(
        self, listener: Listener, double: StripeDouble, client: stripe.StripeClient
    ) -> None:
        double.webhooks(duplicated=1.0, reordered=1.0, late_s=0.2)
        double.pay(order(client).id)
        types = self.types(listener, double)
        assert len(types) == 8
        assert len(set(types)) == 4

    def test_a_forged_one_is_signed_by_somebody_else(self, listener: Listener, double: StripeDouble) -> None:
        double.control("deliver", event={"id": "evt_forged", "type": "x"}, secret="whsec_mine")
        [(body, signature)] = listener.heard
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.Webhook.construct_event(body, signature, double.secret)
