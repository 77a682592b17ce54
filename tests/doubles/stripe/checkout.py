"""Checkout sessions: what they cost, and what happens when somebody pays, fails, leaves or comes too late."""

from typing import Any

from tests.doubles.stripe.money import MOST, check_amount
from tests.doubles.stripe.params import Json, invalid
from tests.doubles.stripe.payments import (
    CARDS,
    attach,
    charge,
    decline,
    make_card,
    make_intent,
)
from tests.doubles.stripe.state import State

SHORTEST_S, LONGEST_S = 30 * 60, 24 * 3600
STRIPE_TAX_PERCENT = 20
# What everybody enters on a payment page.
ADDRESS: Json = {"country": "US"}


class PageClosed(Exception):
    """Nobody can pay there: the session is complete or has expired."""


def make_session(state: State, params: Json, url: str) -> Json:
    """Raises StripeError."""
    if params.get("customer"):
        state.get(params["customer"], "customer", "customer")
    expires_at = params.get("expires_at", state.now() + LONGEST_S)
    # A minute of grace: the request took its time.
    if not SHORTEST_S - 60 <= expires_at - state.now() <= LONGEST_S + 60:
        raise invalid(
            "The `expires_at` timestamp must be between 30 minutes and 24 hours", param="expires_at"
        )
    if not params.get("success_url"):
        raise invalid("Missing required param: success_url.", param="success_url", code="parameter_missing")
    subtotal, tax = _totals(state, params)
    currency = params["line_items"][0]["price_data"]["currency"]
    check_amount(subtotal + tax, currency, "line_items")
    session = state.add(
        "cs",
        amount_subtotal=subtotal,
        amount_total=subtotal + tax,
        automatic_tax={**params.get("automatic_tax", {"enabled": False}), "status": None, "liability": None},
        cancel_url=params.get("cancel_url"),
        client_reference_id=params.get("client_reference_id"),
        currency=currency,
        customer=params.get("customer"),
        customer_details=None,
        expires_at=expires_at,
        invoice=None,
        locale=params.get("locale"),
        metadata=params.get("metadata", {}),
        mode=params["mode"],
        payment_intent=None,
        payment_method_options=params.get("payment_method_options", {}),
        payment_status="unpaid",
        setup_intent=None,
        status="open",
        success_url=params["success_url"],
        total_details={"amount_discount": 0, "amount_shipping": 0, "amount_tax": tax},
        ui_mode="hosted_page",
        _intent=params.get("payment_intent_data", {}),
        _customer_update=params.get("customer_update", {}),
        _line_items=_shown_lines(state, params),
    )
    del state.objects[session["id"]]
    session["id"] = session["id"].replace("cs_", "cs_live_" if state.livemode else "cs_test_")
    state.objects[session["id"]] = session
    session["url"] = f"{url}/pay/{session['id']}"
    return session


def _totals(state: State, params: Json) -> tuple[int, int]:
    """In cents: what is sold, and the tax on top of it."""
    subtotal, tax = 0, 0
    for place, line in enumerate(_lines(params)):
        amount = _amount_of(line, f"line_items[{place}]")
        subtotal += amount
        for rate_id in line.get("tax_rates") or ():
            rate = state.get(rate_id, "tax_rate", "line_items[0][tax_rates]")
            tax += _rounded(amount, float(rate["percentage"]))
    if params.get("automatic_tax", {}).get("enabled"):
        tax += _rounded(subtotal, STRIPE_TAX_PERCENT)
    return subtotal, tax


def _lines(params: Json) -> list[Json]:
    lines: list[Json] = params.get("line_items") or []
    if not lines:
        raise invalid("Missing required param: line_items.", param="line_items", code="parameter_missing")
    if len({line.get("price_data", {}).get("currency") for line in lines}) > 1:
        raise invalid("All line items must have the same currency.", param="line_items")
    return lines


def _shown_lines(state: State, params: Json) -> Json:
    """Sent to those who expand `line_items`."""
    shown = [
        {
            "id": state.new_id("li"),
            "object": "item",
            "amount_subtotal": line["price_data"]["unit_amount"] * line.get("quantity", 1),
            "currency": line["price_data"]["currency"],
            "description": line["price_data"].get("product_data", {}).get("name"),
            "quantity": line.get("quantity", 1),
        }
        for line in _lines(params)
    ]
    return {"object": "list", "data": shown, "has_more": False, "url": "/v1/checkout/sessions/line_items"}


def _amount_of(line: Json, param: str) -> int:
    price: Json = line.get("price_data", {})
    if "unit_amount" not in price:
        raise invalid(f"Missing required param: {param}[price_data].", param=param, code="parameter_missing")
    unit, quantity = int(price["unit_amount"]), int(line.get("quantity", 1))
    if not 0 <= unit <= MOST:
        raise invalid("Invalid non-negative integer", param=f"{param}[price_data][unit_amount]")
    if quantity < 1:
        raise invalid("Quantity must be at least 1", param=f"{param}[quantity]")
    return unit * quantity


def _rounded(amount: int, percent: float) -> int:
    """Half up, in whole cents."""
    return (amount * round(percent * 10_000) + 500_000) // 1_000_000


def end_if_late(state: State, session: Json) -> None:
    if session["status"] == "open" and state.now() >= session["expires_at"]:
        expire(state, session)


def expire(state: State, session: Json) -> Json:
    """Raises StripeError where it has ended."""
    if session["status"] != "open":
        raise invalid('Only Checkout Sessions with a status in ["open"] can be expired.')
    session.update(status="expired", url=None)
    state.emit("checkout.session.expired", session)
    return session


def pay(state: State, session: Json, kind: str, *, number: str = "") -> bool:
    """By a card of `payments.CARDS`; False where the bank says no. Raises PageClosed."""
    intent, method = _begin(state, session, kind, number)
    card_says_no = CARDS[kind].get("declines")
    if card_says_no:
        decline(state, intent, method, card_says_no)
        return False
    charge(state, intent, method)
    _complete(state, session, intent, paid=True)
    return True


def start_authentication(state: State, session: Json) -> None:
    """The bank asks its customer; `end_authentication` is the answer."""
    intent, method = _begin(state, session, "authenticationRequired", "")
    intent.update(status="requires_action", payment_method=method["id"])
    intent["next_action"] = {"type": "use_stripe_sdk", "use_stripe_sdk": {}}
    state.emit("payment_intent.requires_action", intent)


def end_authentication(state: State, session: Json, *, ok: bool) -> bool:
    _need_open(state, session)
    intent = state.objects[session["_started"]]
    method = state.objects[intent["payment_method"]]
    if not ok:
        decline(state, intent, method, "authentication_failed")
        return False
    charge(state, intent, method)
    _complete(state, session, intent, paid=True)
    return True


def pay_delayed(state: State, session: Json) -> None:
    """A method whose money comes later: the page is done, the payment is not."""
    intent, _ = _begin(state, session, "visa", "")
    method = state.add(
        "pm",
        type="us_bank_account",
        customer=session["customer"],
        metadata={},
        billing_details={"address": {"country": "US"}, "email": None, "name": None, "phone": None},
        us_bank_account={"last4": "6789", "bank_name": "TEST BANK", "fingerprint": "bank6789"},
    )
    intent.update(status="processing", payment_method=method["id"])
    state.emit("payment_intent.processing", intent)
    _complete(state, session, intent, paid=False)


def settle_delayed(state: State, session: Json, *, ok: bool) -> None:
    intent = state.objects[session["payment_intent"]]
    method = state.objects[intent["payment_method"]]
    if ok:
        charge(state, intent, method)
        session["payment_status"] = "paid"
        state.emit("checkout.session.async_payment_succeeded", session)
    else:
        decline(state, intent, method, "debit_not_authorized")
        state.emit("checkout.session.async_payment_failed", session)


def _need_open(state: State, session: Json) -> None:
    end_if_late(state, session)
    if session["status"] != "open":
        raise PageClosed(session["status"])


def _begin(state: State, session: Json, kind: str, number: str) -> tuple[Json, Json]:
    """One payment intent for all tries on a page, as Stripe has it."""
    _need_open(state, session)
    method = make_card(state, kind, number=number)
    started = state.objects.get(session.get("_started", ""))
    if started is None:
        wanted: dict[str, Any] = session["_intent"]
        started = make_intent(
            state,
            amount=session["amount_total"],
            currency=session["currency"],
            customer=session["customer"],
            metadata=dict(wanted.get("metadata", {})),
            description=wanted.get("description"),
            setup_future_usage=wanted.get("setup_future_usage"),
        )
        session["_started"] = session["payment_intent"] = started["id"]
    return started, method


def _complete(state: State, session: Json, intent: Json, *, paid: bool) -> None:
    if session["customer"] is None:
        session["customer"] = state.add("cus", name=None, email=None, metadata={})["id"]
        intent["customer"] = session["customer"]
    if intent["setup_future_usage"] and paid:
        attach(state, state.objects[intent["payment_method"]], session["customer"])
    session.update(
        status="complete",
        payment_status="paid" if paid else "unpaid",
        payment_intent=intent["id"],
        url=None,
        customer_details={"email": "customer@example.com", "name": "Customer", "address": ADDRESS,
                          "tax_exempt": "none", "tax_ids": [], "phone": None},
    )  # fmt: skip
    if session["_customer_update"].get("address") == "auto":
        state.objects[session["customer"]]["address"] = dict(ADDRESS)
    state.emit("checkout.session.completed", session)
