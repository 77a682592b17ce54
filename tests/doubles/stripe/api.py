"""Stripe's endpoints, as far as who sells credit needs them; each checks parameters by the SDK's types."""

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stripe.params import (
    BalanceTransactionListParams,
    BalanceTransactionRetrieveParams,
    ChargeListParams,
    ChargeRetrieveParams,
    CustomerCreateParams,
    CustomerListPaymentMethodsParams,
    CustomerRetrieveParams,
    CustomerUpdateParams,
    DisputeListParams,
    DisputeRetrieveParams,
    DisputeUpdateParams,
    EventListParams,
    EventRetrieveParams,
    PaymentIntentCancelParams,
    PaymentIntentConfirmParams,
    PaymentIntentCreateParams,
    PaymentIntentListParams,
    PaymentIntentRetrieveParams,
    PaymentMethodAttachParams,
    PaymentMethodDetachParams,
    PaymentMethodListParams,
    PaymentMethodRetrieveParams,
    PayoutListParams,
    PayoutRetrieveParams,
    RefundCreateParams,
    RefundListParams,
    RefundRetrieveParams,
    SetupIntentCreateParams,
    SetupIntentRetrieveParams,
    TaxRateCreateParams,
)
from stripe.params.billing_portal import SessionCreateParams as PortalCreateParams
from stripe.params.checkout import (
    SessionCreateParams,
    SessionExpireParams,
    SessionListParams,
    SessionRetrieveParams,
)
from stripe.params.radar import EarlyFraudWarningListParams, EarlyFraudWarningRetrieveParams
from stripe.params.tax import CalculationCreateParams

from tests.doubles.stripe import checkout, payments
from tests.doubles.stripe.params import Json, StripeError, check, invalid
from tests.doubles.stripe.state import PREFIXES, State

PAGE = 10
Handler = Callable[[State, Json, str], Json]


@dataclass(frozen=True)
class Endpoint:
    """`run` takes the state, the checked parameters and the id in the path."""

    method: str
    path: re.Pattern[str]
    params: type
    run: Handler


def answer(state: State, method: str, path: str, params: Json) -> Json:
    """Raises StripeError."""
    endpoint, wanted = find(method, path)
    checked: Json = check(params, endpoint.params)
    made = endpoint.run(state, checked, wanted)
    return render(state, made, checked.get("expand") or [])


def find(method: str, path: str) -> tuple[Endpoint, str]:
    for endpoint in ENDPOINTS:
        match = endpoint.path.fullmatch(path)
        if match is not None and endpoint.method == method:
            return endpoint, match.group(1) if match.groups() else ""
    raise StripeError(404, "invalid_request_error", f"Unrecognized request URL ({method}: {path}).")


def render(state: State, thing: Json, expand: list[str]) -> Json:
    """What goes out: nothing that begins with an underscore, and objects instead of ids where asked for."""
    shown: Json = _without_private(copy.deepcopy(thing))
    for path in expand:
        _expand(state, shown, path.split("."))
    return shown


def _without_private(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_private(one) for name, one in value.items() if not name.startswith("_")}
    return [_without_private(one) for one in value] if isinstance(value, list) else value


def _expand(state: State, shown: Any, steps: list[str]) -> None:
    if isinstance(shown, list):
        for one in shown:
            _expand(state, one, steps)
        return
    if not isinstance(shown, dict) or steps[0] not in shown:
        return
    value = shown[steps[0]]
    if isinstance(value, str) and value in state.objects:
        value = shown[steps[0]] = _without_private(copy.deepcopy(state.objects[value]))
    if len(steps) > 1:
        _expand(state, value, steps[1:])


def listed(state: State, kind: str, params: Json, fits: Callable[[Json], bool] = lambda _one: True) -> Json:
    """Newest first, page by page."""
    created = params.get("created") or {}
    found = [one for one in state.all(kind) if fits(one) and _is_created(one, created)]
    ids = [one["id"] for one in found]
    if after := params.get("starting_after"):
        found = found[ids.index(after) + 1 :] if after in ids else []
    elif before := params.get("ending_before"):
        found = found[: ids.index(before)] if before in ids else []
    limit = params.get("limit", PAGE)
    page = found[-limit:] if params.get("ending_before") else found[:limit]
    return {"object": "list", "url": f"/v1/{kind}s", "data": page, "has_more": len(found) > len(page)}


def _is_created(one: Json, bounds: Any) -> bool:
    if not isinstance(bounds, dict):
        return bool(one["created"] == int(bounds))
    checks = {
        "gt": one["created"] > int(bounds.get("gt", -1)),
        "gte": one["created"] >= int(bounds.get("gte", 0)),
        "lt": one["created"] < int(bounds.get("lt", 1 << 60)),
        "lte": one["created"] <= int(bounds.get("lte", 1 << 60)),
    }
    return all(checks[name] for name in bounds)


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


def _at(method: str, path: str, params: type, run: Handler) -> Endpoint:
    return Endpoint(method, re.compile("/v1/" + path.replace("{id}", r"([\w-]+)")), params, run)


ENDPOINTS = (
    _at("POST", "customers", CustomerCreateParams, _make_customer),
    _at("GET", "customers/{id}", CustomerRetrieveParams, _retrieve("customer")),
    _at("POST", "customers/{id}", CustomerUpdateParams, _change("customer")),
    _at("GET", "customers/{id}/payment_methods", CustomerListPaymentMethodsParams, _methods_of),
    _at("GET", "payment_methods", PaymentMethodListParams, _methods_of),
    _at("GET", "payment_methods/{id}", PaymentMethodRetrieveParams, _retrieve("payment_method")),
    _at("POST", "payment_methods/{id}/attach", PaymentMethodAttachParams, _attach),
    _at("POST", "payment_methods/{id}/detach", PaymentMethodDetachParams, _detach),
    _at("POST", "setup_intents", SetupIntentCreateParams, _make_setup),
    _at("GET", "setup_intents/{id}", SetupIntentRetrieveParams, _retrieve("setup_intent")),
    _at("POST", "payment_intents", PaymentIntentCreateParams, _make_intent),
    _at("GET", "payment_intents", PaymentIntentListParams, _list("payment_intent", "customer")),
    _at("GET", "payment_intents/{id}", PaymentIntentRetrieveParams, _retrieve("payment_intent")),
    _at("POST", "payment_intents/{id}/confirm", PaymentIntentConfirmParams, _confirm_intent),
    _at("POST", "payment_intents/{id}/cancel", PaymentIntentCancelParams, _cancel_intent),
    _at("GET", "charges", ChargeListParams, _list("charge", "customer", "payment_intent")),
    _at("GET", "charges/{id}", ChargeRetrieveParams, _retrieve("charge")),
    _at("POST", "refunds", RefundCreateParams, _make_refund),
    _at("GET", "refunds", RefundListParams, _list("refund", "charge", "payment_intent")),
    _at("GET", "refunds/{id}", RefundRetrieveParams, _retrieve("refund")),
    _at("GET", "disputes", DisputeListParams, _list("dispute", "charge", "payment_intent")),
    _at("GET", "disputes/{id}", DisputeRetrieveParams, _retrieve("dispute")),
    _at("POST", "disputes/{id}", DisputeUpdateParams, _change_dispute),
    _at("POST", "checkout/sessions", SessionCreateParams, _make_session),
    _at(
        "GET",
        "checkout/sessions",
        SessionListParams,
        _list("checkout.session", "customer", "payment_intent", "status"),
    ),
    _at("GET", "checkout/sessions/{id}", SessionRetrieveParams, _session),
    _at("POST", "checkout/sessions/{id}/expire", SessionExpireParams, _expire_session),
    _at("GET", "balance_transactions", BalanceTransactionListParams, _balance_lines),
    _at(
        "GET", "balance_transactions/{id}", BalanceTransactionRetrieveParams, _retrieve("balance_transaction")
    ),
    _at("GET", "balance", BalanceTransactionRetrieveParams, _balance),
    _at("GET", "events", EventListParams, _events),
    _at("GET", "events/{id}", EventRetrieveParams, _retrieve("event")),
    _at("GET", "payouts", PayoutListParams, _list("payout", "status")),
    _at("GET", "payouts/{id}", PayoutRetrieveParams, _retrieve("payout")),
    _at("GET", "radar/early_fraud_warnings", EarlyFraudWarningListParams, _list(PREFIXES["issfr"], "charge")),
    _at(
        "GET",
        "radar/early_fraud_warnings/{id}",
        EarlyFraudWarningRetrieveParams,
        _retrieve(PREFIXES["issfr"]),
    ),
    _at("POST", "billing_portal/sessions", PortalCreateParams, _make_portal),
    _at("POST", "tax_rates", TaxRateCreateParams, _make_tax_rate),
    _at("POST", "tax/calculations", CalculationCreateParams, _calculate_tax),
    _at("GET", "account", EventRetrieveParams, _account),
)
