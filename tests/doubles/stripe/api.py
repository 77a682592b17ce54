"""Stripe's endpoints, as far as who sells credit needs them; each checks parameters by the SDK's types."""

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.doubles.stripe import checkout, payments
from tests.doubles.stripe.params import Json, StripeError, check, invalid
from tests.doubles.stripe.state import PREFIXES, State

PAGE = 10
Handler = Callable[[State, Json, str], Json]


def _same(params: Json, *names: str) -> Callable[[Json], bool]:
    return lambda one: all(name not in params or one.get(name) == params[name] for name in names)


def _retrieve(kind: str) -> Handler:
    return lambda state, _params, wanted: state.get(wanted, kind)


def _list(kind: str, *names: str) -> Handler:
    return lambda state, params, _wanted: listed(state, kind, params, _same(params, *names))


# Customers and their cards


def _make_customer(state: State, params: Json, _wanted: str) -> Json:
    fields = {name: params.get(name) for name in ("name", "email", "description", "phone", "address")}
    return state.add(
        "cus",
        **fields,
        balance=0,
        currency=None,
        delinquent=False,
        invoice_settings={"default_payment_method": None, "custom_fields": None, "footer": None},
        metadata=params.get("metadata", {}),
        preferred_locales=[],
        tax_exempt="none",
    )


def _change(kind: str) -> Handler:
    def run(state: State, params: Json, wanted: str) -> Json:
        thing = state.get(wanted, kind)
        metadata = {**thing.get("metadata", {}), **params.pop("metadata", {})}
        params.pop("expand", None)
        thing.update(params, metadata=metadata)
        return thing

    return run


def _attach(state: State, params: Json, wanted: str) -> Json:
    method = payments.method_of(state, wanted)
    payments.attach(state, method, state.get(params["customer"], "customer", "customer")["id"])
    return method


def _detach(state: State, _params: Json, wanted: str) -> Json:
    method = state.get(wanted, "payment_method")
    if method["customer"] is None:
        raise invalid("The payment method you provided is not attached to a customer.")
    method["customer"] = None
    state.emit("payment_method.detached", method)
    return method


def _methods_of(state: State, params: Json, wanted: str) -> Json:
    params.setdefault("customer", wanted)
    return listed(state, "payment_method", params, _same(params, "customer", "type"))


def _make_setup(state: State, params: Json, _wanted: str) -> Json:
    setup = state.add(
        "seti",
        customer=params.get("customer"),
        payment_method=params.get("payment_method"),
        metadata=params.get("metadata", {}),
        status="requires_payment_method",
        usage=params.get("usage", "off_session"),
        client_secret=f"{state.new_id('seti')}_secret",
        last_setup_error=None,
        next_action=None,
    )
    if params.get("payment_method") and params.get("confirm"):
        method = payments.method_of(state, params["payment_method"])
        setup.update(status="succeeded", payment_method=method["id"])
        if params.get("customer"):
            payments.attach(state, method, params["customer"])
        state.emit("setup_intent.succeeded", setup)
    return setup


# Payments


def _make_intent(state: State, params: Json, _wanted: str) -> Json:
    if params.get("customer"):
        state.get(params["customer"], "customer", "customer")
    known = (
        "amount",
        "currency",
        "customer",
        "description",
        "metadata",
        "setup_future_usage",
        "receipt_email",
    )
    fields = {name: params[name] for name in known if name in params}
    method = payments.method_of(state, params["payment_method"]) if "payment_method" in params else None
    if method is not None and params.get("off_session") and method["customer"] != params.get("customer"):
        raise invalid(
            "The provided PaymentMethod cannot be used with this customer.",
            code="payment_method_unexpected_state",
        )
    intent = payments.make_intent(state, **fields)
    if method is not None:
        intent.update(payment_method=method["id"], status="requires_confirmation")
    return _confirm(state, intent, params) if params.get("confirm") else intent


def _confirm_intent(state: State, params: Json, wanted: str) -> Json:
    intent = state.get(wanted, "payment_intent")
    if "payment_method" in params:
        intent["payment_method"] = payments.method_of(state, params["payment_method"])["id"]
    return _confirm(state, intent, params)


def _confirm(state: State, intent: Json, params: Json) -> Json:
    if intent["status"] in ("succeeded", "canceled", "processing"):
        raise invalid(
            f"This PaymentIntent's status is {intent['status']}.", code="payment_intent_unexpected_state"
        )
    if not intent["payment_method"]:
        raise invalid("You cannot confirm this PaymentIntent because it's missing a payment method.")
    method = state.objects[intent["payment_method"]]
    card = payments.CARDS.get(method.get("_kind", ""), {})
    if card.get("authenticates"):
        if params.get("off_session"):
            raise payments.ask_for_owner(state, intent, method)
        intent.update(status="requires_action", next_action={"type": "use_stripe_sdk", "use_stripe_sdk": {}})
        state.emit("payment_intent.requires_action", intent)
        return intent
    reason = card.get("declines") or (card.get("declines_later") if params.get("off_session") else None)
    if reason:
        raise payments.decline(state, intent, method, reason)
    payments.charge(state, intent, method)
    return intent


def _cancel_intent(state: State, params: Json, wanted: str) -> Json:
    intent = state.get(wanted, "payment_intent")
    if intent["status"] in ("succeeded", "canceled"):
        raise invalid(
            f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}.",
            code="payment_intent_unexpected_state",
        )
    intent.update(
        status="canceled", canceled_at=state.now(), cancellation_reason=params.get("cancellation_reason")
    )
    state.emit("payment_intent.canceled", intent)
    return intent


def _make_refund(state: State, params: Json, _wanted: str) -> Json:
    if "payment_intent" in params:
        intent = state.get(params["payment_intent"], "payment_intent", "payment_intent")
        made = state.objects.get(intent["latest_charge"] or "")
    else:
        made = state.get(params.get("charge"), "charge", "charge")
    if made is None or not made["paid"]:
        raise invalid("This PaymentIntent does not have a successful charge to refund.")
    left = made["amount"] - made["amount_refunded"]
    given = {name: params[name] for name in ("reason", "metadata") if name in params}
    refund = payments.make_refund(state, made, params.get("amount", left), **given)
    if not state.refunds_wait:
        refund["status"] = "succeeded"
    payments.tell_refund(state, refund)
    return refund


def _change_dispute(state: State, params: Json, wanted: str) -> Json:
    dispute = state.get(wanted, "dispute")
    dispute["evidence"].update(params.get("evidence", {}))
    if params.get("submit", True):
        dispute["evidence_details"].update(has_evidence=True, submission_count=1)
        dispute["status"] = "under_review"
    state.emit("charge.dispute.updated", dispute)
    return dispute


# Everything else


def _make_session(state: State, params: Json, _wanted: str) -> Json:
    return checkout.make_session(state, params, state.url)


def _session(state: State, _params: Json, wanted: str) -> Json:
    session = state.get(wanted, "checkout.session")
    checkout.end_if_late(state, session)
    return session


def _expire_session(state: State, _params: Json, wanted: str) -> Json:
    return checkout.expire(state, state.get(wanted, "checkout.session"))


def _events(state: State, params: Json, _wanted: str) -> Json:
    wanted = set(params.get("types") or ([params["type"]] if "type" in params else ()))
    told = params.get("delivery_success")
    return listed(
        state,
        "event",
        params,
        lambda one: (
            (not wanted or one["type"] in wanted) and (told is None or told == (one["pending_webhooks"] == 0))
        ),
    )


def _balance_lines(state: State, params: Json, _wanted: str) -> Json:
    return listed(state, "balance_transaction", params, _same(params, "type", "source", "currency", "payout"))


def _balance(state: State, _params: Json, _wanted: str) -> Json:
    amount = [{"amount": state.balance, "currency": "usd", "source_types": {"card": state.balance}}]
    return {"object": "balance", "available": amount, "pending": [], "livemode": state.livemode}


def _make_portal(state: State, params: Json, _wanted: str) -> Json:
    state.get(params.get("customer"), "customer", "customer")
    place = state.new_id("bps")
    url = f"{state.url}/portal/{place}"
    return state.add("bps", customer=params["customer"], return_url=params.get("return_url"), url=url)


def _make_tax_rate(state: State, params: Json, _wanted: str) -> Json:
    return state.add("txr", active=True, **{"metadata": {}, **params})


def _calculate_tax(state: State, params: Json, _wanted: str) -> Json:
    amount = sum(int(line["amount"]) for line in params["line_items"])
    tax = (amount * checkout.STRIPE_TAX_PERCENT + 50) // 100
    return state.add("taxcalc", amount_total=amount + tax, tax_amount_exclusive=tax, tax_amount_inclusive=0,
                     currency=params["currency"], customer=params.get("customer"))  # fmt: skip


def _account(state: State, _params: Json, _wanted: str) -> Json:
    return {
        "id": "acct_1Double",
        "object": "account",
        "country": "US",
        "default_currency": "usd",
        "charges_enabled": True,
        "payouts_enabled": True,
        "livemode": state.livemode,
    }
