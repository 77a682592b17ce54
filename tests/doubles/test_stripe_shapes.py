"""What the Stripe double sends is what the SDK expects of Stripe, field by field, and refuses as strictly."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import stripe

from tests.doubles.stripe.double import StripeDouble
from tests.doubles.stripe.shapes import required_of


@pytest.fixture
def double() -> Iterator[StripeDouble]:
    with StripeDouble(seed=4) as double:
        yield double


@pytest.fixture
def client(double: StripeDouble) -> stripe.StripeClient:
    return stripe.StripeClient(double.api_key, base_addresses={"api": double.url}, max_network_retries=0)


def charge(client: stripe.StripeClient, **changes: Any) -> stripe.PaymentIntent:
    params: Any = {
        "amount": 20_00,
        "currency": "usd",
        "confirm": True,
        "payment_method": "pm_card_visa",
        **changes,
    }
    return client.v1.payment_intents.create(params)


def order(client: stripe.StripeClient, **changes: Any) -> stripe.checkout.Session:
    line = {
        "quantity": 2,
        "price_data": {"currency": "usd", "unit_amount": 5_00, "product_data": {"name": "c"}},
    }
    params: Any = {
        "mode": "payment",
        "success_url": "https://shop.example",
        "line_items": [line],
        **changes,
    }
    return client.v1.checkout.sessions.create(params)


def events(double: StripeDouble) -> list[str]:
    return [event["type"] for event in double.state().get("event", [])]


def refusal(call: Any, *given: Any) -> tuple[str | None, str | None]:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        call(*given)
    return caught.value.code, caught.value.param


class TestShapes:
    def test_everything_has_the_fields_that_stripe_never_leaves_out(
        self, double: StripeDouble, client: stripe.StripeClient
    ) -> None:
        customer = client.v1.customers.create({"name": "Acme"}).id
        double.pay(order(client, customer=customer).id)
        paid = charge(client, customer=customer, payment_method="pm_card_createIssuerFraudRecord")
        charge(client, payment_method="pm_card_createDispute")
        client.v1.refunds.create({"payment_intent": paid.id, "amount": 1_00})
        client.v1.setup_intents.create(
            {"customer": customer, "payment_method": "pm_card_visa", "confirm": True}
        )
        client.v1.tax_rates.create({"display_name": "VAT", "percentage": 19.0, "inclusive": False})
        client.v1.billing_portal.sessions.create({"customer": customer})
        double.control("pay_out", amount=1_00)
        kinds = {kind: things for kind, things in double.state().items() if isinstance(things, list)}
        kinds.pop("asked")
        assert len(kinds) == 14
        for kind, things in kinds.items():
            for thing in things:
                assert required_of(kind) - thing.keys() == set(), kind

    @pytest.mark.parametrize("path", ["balance", "account"])
    def test_so_have_the_shop_and_its_balance(self, double: StripeDouble, path: str) -> None:
        answer = httpx.get(f"{double.url}/v1/{path}", headers={"authorization": f"Bearer {double.api_key}"})
        assert required_of(path) - answer.json().keys() <= {"business_type"}

    def test_lines_come_where_they_are_asked_for(self, client: stripe.StripeClient) -> None:
        made = order(client)
        assert not hasattr(made, "line_items")
        found = client.v1.checkout.sessions.retrieve(made.id, {"expand": ["line_items"]})
        assert found.line_items is not None
        assert [(line.quantity, line.amount_subtotal) for line in found.line_items.data] == [(2, 10_00)]

    def test_an_event_says_which_request_made_it(self, client: stripe.StripeClient) -> None:
        client.v1.payment_intents.create({"amount": 5_00, "currency": "usd"}, {"idempotency_key": "mine"})
        [event] = client.v1.events.list({"type": "payment_intent.created"}).data
        assert event.request is not None
        assert event.request.idempotency_key == "mine"


class TestCurrencies:
    def test_what_has_no_cents_is_booked_as_it_is(
        self, double: StripeDouble, client: stripe.StripeClient
    ) -> None:
        charge(client, amount=5_000, currency="jpy")
        charge(client)
        assert double.state()["balances"] == {"jpy": 5_000 - 175, "usd": 20_00 - 88}
        held = {one.currency: one.amount for one in client.v1.balance.retrieve().available}
        assert held == double.state()["balances"]

    def test_its_page_shows_no_cents(self, client: stripe.StripeClient) -> None:
        price = {"currency": "jpy", "unit_amount": 5_000, "product_data": {"name": "c"}}
        page = httpx.get(str(order(client, line_items=[{"quantity": 1, "price_data": price}]).url)).text
        assert "5,000 JPY" in page
        assert "50.00" not in page

    @pytest.mark.parametrize(
        ("amount", "currency", "code"),
        [
            (49, "usd", "amount_too_small"),
            (29, "gbp", "amount_too_small"),
            (100_000_000, "usd", "amount_too_large"),
            (500, "xyz", None),
        ],
    )
    def test_what_nobody_can_be_charged(
        self, client: stripe.StripeClient, amount: int, currency: str, code: str | None
    ) -> None:
        wanted = {"amount": amount, "currency": currency}
        assert refusal(client.v1.payment_intents.create, wanted)[0] == code


class TestStrictness:
    def test_of_orders(self, client: stripe.StripeClient) -> None:
        with pytest.raises(stripe.InvalidRequestError, match="line_items"):
            order(client, line_items=[])
        with pytest.raises(stripe.InvalidRequestError, match="up to 500"):
            order(client, metadata={"k": "x" * 501})

    @pytest.mark.parametrize(
        ("params", "expected"),
        [
            ({"limit": 101}, (None, "limit")),
            ({"limit": 0}, (None, "limit")),
            ({"starting_after": "evt_nothing"}, ("resource_missing", "starting_after")),
            ({"expand": ["data.nonsense"]}, (None, "expand")),
        ],
    )
    def test_of_lists(
        self, client: stripe.StripeClient, params: Any, expected: tuple[str | None, str]
    ) -> None:
        charge(client)
        assert refusal(client.v1.events.list, params) == expected

    def test_pages_follow_one_another(self, client: stripe.StripeClient) -> None:
        made = [charge(client).id for _ in range(5)]
        found = list(client.v1.payment_intents.list({"limit": 2}).auto_paging_iter())
        assert [one.id for one in found] == made[::-1]
        before = client.v1.payment_intents.list({"limit": 2, "ending_before": made[1]})
        assert [one.id for one in before.data] == [made[3], made[2]]

    def test_another_version_is_not_spoken(self, double: StripeDouble) -> None:
        other = stripe.StripeClient(
            double.api_key, base_addresses={"api": double.url}, stripe_version="2024-06-20"
        )
        with pytest.raises(stripe.InvalidRequestError, match="2024-06-20"):
            other.v1.balance.retrieve()

    def test_events_are_kept_for_a_month(self, double: StripeDouble, client: stripe.StripeClient) -> None:
        charge(client)
        double.control("warp", seconds=31 * 86_400)
        assert client.v1.events.list().data == []


class TestLives:
    @pytest.mark.parametrize(
        ("method", "code", "decline"),
        [
            ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline"),
            ("pm_card_visa_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
            ("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card"),
        ],
    )
    def test_banks_say_why(self, client: stripe.StripeClient, method: str, code: str, decline: str) -> None:
        with pytest.raises(stripe.CardError) as caught:
            charge(client, payment_method=method)
        assert caught.value.error is not None
        assert (caught.value.http_status, caught.value.code) == (402, code)
        assert caught.value.error.decline_code == decline

    def test_a_fee_may_come_later(self, double: StripeDouble, client: stripe.StripeClient) -> None:
        double.control("settings", late_fees=True)
        made = client.v1.charges.retrieve(str(charge(client).latest_charge))
        assert (made.balance_transaction, double.state()["balance"]) == (None, 0)
        assert double.control("settle_fees") == 1
        assert client.v1.charges.retrieve(made.id).balance_transaction is not None
        assert events(double)[-1] == "charge.updated"

    def test_a_refund_that_waits_can_be_called_back(
        self, double: StripeDouble, client: stripe.StripeClient
    ) -> None:
        double.control("settings", refunds_wait=True)
        intent = charge(client).id
        refund = client.v1.refunds.create({"payment_intent": intent})
        assert refund.status == "pending"
        assert client.v1.refunds.cancel(refund.id).status == "canceled"
        assert double.state()["balance"] == 20_00 - 88
        with pytest.raises(stripe.InvalidRequestError, match="canceled"):
            client.v1.refunds.cancel(refund.id)
        assert client.v1.refunds.create({"payment_intent": intent}).amount == 20_00

    def test_a_disputed_charge_is_not_refunded_but_one_asked_about_may_be(
        self, double: StripeDouble, client: stripe.StripeClient
    ) -> None:
        double.control("settings", refunds_inquiries=True)
        taken = charge(client, payment_method="pm_card_createDispute").id
        assert refusal(client.v1.refunds.create, {"payment_intent": taken})[0] is not None
        asked = charge(client, payment_method="pm_card_createDisputeInquiry").id
        assert client.v1.refunds.create({"payment_intent": asked}).status == "succeeded"

    def test_who_closes_a_dispute_loses_it(self, double: StripeDouble, client: stripe.StripeClient) -> None:
        charge(client, payment_method="pm_card_createDispute")
        [dispute] = client.v1.disputes.list().data
        assert client.v1.disputes.close(dispute.id).status == "lost"
        assert events(double)[-1] == "charge.dispute.closed"

    def test_a_card_is_taken_away_on_the_portal(
        self, double: StripeDouble, client: stripe.StripeClient
    ) -> None:
        customer = client.v1.customers.create({}).id
        card = double.control("save_card", customer=customer)["id"]
        place = client.v1.billing_portal.sessions.create({"customer": customer}).url
        assert "TEST MODE" in httpx.get(place).text
        assert "No card is saved" in httpx.post(place, data={"remove": card}).text
        assert client.v1.customers.payment_methods.list(customer).data == []
        assert events(double)[-1] == "payment_method.detached"

    def test_metadata_changes_name_by_name(self, client: stripe.StripeClient) -> None:
        made = client.v1.customers.create({"metadata": {"a": "1", "b": "2"}}).id
        changed = client.v1.customers.update(made, {"metadata": {"a": "", "c": "3"}})
        assert changed.metadata is not None
        assert changed.metadata.to_dict() == {"b": "2", "c": "3"}


class TestKeys:
    def test_a_key_in_use_is_refused_and_the_work_done_once(
        self, double: StripeDouble, client: stripe.StripeClient
    ) -> None:
        double.trouble(works_s=0.5)

        def call(_: int) -> str:
            try:
                return client.v1.customers.create({"name": "Acme"}, {"idempotency_key": "k"}).id
            except stripe.APIError as error:
                return str(error.http_status)

        with ThreadPoolExecutor(4) as pool:
            answers = sorted(pool.map(call, range(4)))
        assert answers.count("409") == 3
        assert len(double.state()["customer"]) == 1

    def test_a_fault_is_an_answer_that_is_kept(
        self, double: StripeDouble, client: stripe.StripeClient
    ) -> None:
        customer = client.v1.customers.create({}).id
        with double.stripe.lock:
            del double.stripe.state.objects[customer]["metadata"]
        for _ in range(2):
            with pytest.raises(stripe.APIError, match="double failed"):
                client.v1.customers.update(customer, {"metadata": {"a": "1"}}, {"idempotency_key": "k"})
        assert sum("failed" in one for one in double.state()["asked"]) == 1

    def test_a_replay_says_that_it_is_one(self, double: StripeDouble) -> None:
        headers = {"authorization": f"Bearer {double.api_key}", "idempotency-key": "k"}
        first, second = (httpx.post(f"{double.url}/v1/customers", headers=headers) for _ in range(2))
        assert first.json() == second.json()
        assert "idempotent-replayed" not in first.headers
        assert second.headers["idempotent-replayed"] == "true"
