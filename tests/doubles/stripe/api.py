"""What Stripe's endpoints do, as far as who sells credit needs them. `endpoints.py` says which is where.

Each takes the state, parameters that were checked, and the id in the path; each may raise StripeError.
"""

from collections.abc import Callable

from tests.doubles.stripe import checkout, payments
from tests.doubles.stripe.params import Json, invalid
from tests.doubles.stripe.rendering import listed
from tests.doubles.stripe.state import State

EVENTS_KEPT_S = 30 * 86_400
Handler = Callable[[State, Json, str], Json]


def _same(params: Json, *names: str) -> Callable[[Json], bool]:
    return lambda one: all(name not in params or one.get(name) == params[name] for name in names)


def retrieve(kind: str) -> Handler:
    return lambda state, _params, wanted: state.get(wanted, kind)


def lists(kind: str, *names: str) -> Handler:
    def run(state: State, params: Json, _wanted: str) -> Json:
        if "customer" in params:
            state.get(params["customer"], "customer", "customer")
        return listed(state, kind, params, _same(params, *names))

    return run


# Customers and their cards


def make_customer(state: State, params: Json, _wanted: str) -> Json:
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


def customer(state: State, _params: Json, wanted: str) -> Json:
    """One that was deleted is still told of, as deleted; nothing else knows it."""
    found = state.objects.get(wanted, {})
    return found if found.get("deleted") else state.get(wanted, "customer")


def change(kind: str, event: str = "") -> Handler:
    """Fields as given; metadata key by key, where an empty value takes a key away."""

    def run(state: State, params: Json, wanted: str) -> Json:
        thing = state.get(wanted, kind)
        given = {name: value for name, value in params.items() if name not in ("expand", "metadata")}
        thing.update(given, metadata=_merged(thing, params.get("metadata", {})))
        if event:
            state.emit(event, thing)
        return thing

    return run


def _merged(thing: Json, given: Json | str) -> Json:
    """An empty string in the place of metadata empties it."""
    if not isinstance(given, dict):
        return {}
    return {name: value for name, value in {**thing["metadata"], **given}.items() if value != ""}


def change_method(state: State, params: Json, wanted: str) -> Json:
    method = state.get(wanted, "payment_method")
    for part in ("billing_details", "card"):
        method[part].update(params.get(part, {}))
    method["metadata"] = _merged(method, params.get("metadata", {}))
    state.emit("payment_method.updated", method)
    return method


def attach(state: State, params: Json, wanted: str) -> Json:
    method = payments.method_of(state, wanted)
    payments.attach(state, method, state.get(params["customer"], "customer", "customer")["id"])
    return method


def detach(state: State, _params: Json, wanted: str) -> Json:
    method = state.get(wanted, "payment_method")
    if method["customer"] is None:
        raise invalid("The payment method you provided is not attached to a customer.")
    payments.detach(state, method)
    return method


def methods_of(state: State, params: Json, wanted: str) -> Json:
    params.setdefault("customer", wanted)
    return listed(state, "payment_method", params, _same(params, "customer", "type"))


def make_setup(state: State, params: Json, _wanted: str) -> Json:
    setup = state.add(
        "seti",
        customer=params.get("customer"),
        payment_method=params.get("payment_method"),
        metadata=params.get("metadata", {}),
        status="requires_confirmation" if params.get("payment_method") else "requires_payment_method",
        usage=params.get("usage", "off_session"),
        client_secret=f"{state.new_id('seti')}_secret",
        last_setup_error=None,
        next_action=None,
    )
    state.emit("setup_intent.created", setup)
    return confirm_setup(state, params, setup["id"]) if params.get("confirm") else setup


def confirm_setup(state: State, params: Json, wanted: str) -> Json:
    setup = state.get(wanted, "setup_intent")
    if setup["status"] == "succeeded":
        raise invalid("This SetupIntent has succeeded already.", code="setup_intent_unexpected_state")
    given = params.get("payment_method") or setup["payment_method"]
    if not given:
        raise invalid("You cannot confirm this SetupIntent because it's missing a payment method.")
    method = payments.method_of(state, given)
    setup.update(status="succeeded", payment_method=method["id"])
    if setup["customer"]:
        payments.attach(state, method, setup["customer"])
    state.emit("setup_intent.succeeded", setup)
    return setup


# Payments


def make_intent(state: State, params: Json, _wanted: str) -> Json:
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
    _check_tax(state, params)
    intent = payments.make_intent(state, **fields)
    if method is not None:
        intent.update(payment_method=method["id"], status="requires_confirmation")
    return _confirm(state, intent, params) if params.get("confirm") else intent


def _check_tax(state: State, params: Json) -> None:
    """A calculation that is named was made, and came to what is charged."""
    named = params.get("hooks", {}).get("inputs", {}).get("tax", {}).get("calculation")
    if named and state.get(named, "tax.calculation", "hooks")["amount_total"] != params["amount"]:
        raise invalid("The amount differs from the total of the tax calculation.", param="hooks")


def confirm_intent(state: State, params: Json, wanted: str) -> Json:
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


def change_intent(state: State, params: Json, wanted: str) -> Json:
    intent = state.get(wanted, "payment_intent")
    closed = intent["status"] in ("succeeded", "canceled", "processing")
    if closed and not params.keys() <= {"metadata", "description", "expand"}:
        raise invalid(
            f"This PaymentIntent's status is {intent['status']}.", code="payment_intent_unexpected_state"
        )
    return change("payment_intent")(state, params, wanted)


def cancel_intent(state: State, params: Json, wanted: str) -> Json:
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


def make_refund(state: State, params: Json, _wanted: str) -> Json:
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


def cancel_refund(state: State, _params: Json, wanted: str) -> Json:
    return payments.cancel_refund(state, state.get(wanted, "refund"))


def close_dispute(state: State, _params: Json, wanted: str) -> Json:
    """Who closes a dispute gives it up."""
    dispute = state.get(wanted, "dispute")
    if dispute["status"] in ("won", "lost", "warning_closed"):
        raise invalid("This dispute is already closed.")
    payments.close_dispute(state, dispute, won=False)
    return dispute


def change_dispute(state: State, params: Json, wanted: str) -> Json:
    dispute = state.get(wanted, "dispute")
    dispute["evidence"].update(params.get("evidence", {}))
    if params.get("submit", True):
        dispute["evidence_details"].update(has_evidence=True, submission_count=1)
        dispute["status"] = "under_review"
    state.emit("charge.dispute.updated", dispute)
    return dispute


# Everything else


def make_session(state: State, params: Json, _wanted: str) -> Json:
    return checkout.make_session(state, params, state.url)


def session(state: State, _params: Json, wanted: str) -> Json:
    session = state.get(wanted, "checkout.session")
    checkout.end_if_late(state, session)
    return session


def expire_session(state: State, _params: Json, wanted: str) -> Json:
    return checkout.expire(state, state.get(wanted, "checkout.session"))


def events(state: State, params: Json, _wanted: str) -> Json:
    wanted = set(params.get("types") or ([params["type"]] if "type" in params else ()))
    told = params.get("delivery_success")
    oldest = state.now() - EVENTS_KEPT_S
    return listed(
        state,
        "event",
        params,
        lambda one: (
            one["created"] >= oldest
            and (not wanted or one["type"] in wanted)
            and (told is None or told == (one["pending_webhooks"] == 0))
        ),
    )


def balance_lines(state: State, params: Json, _wanted: str) -> Json:
    return listed(state, "balance_transaction", params, _same(params, "type", "source", "currency", "payout"))


def balance(state: State, _params: Json, _wanted: str) -> Json:
    amounts = [
        {"amount": amount, "currency": currency, "source_types": {"card": amount}}
        for currency, amount in (state.balances or {"usd": 0}).items()
    ]
    return {"object": "balance", "available": amounts, "pending": [], "livemode": state.livemode}


def make_portal(state: State, params: Json, _wanted: str) -> Json:
    state.get(params.get("customer"), "customer", "customer")
    made = state.add(
        "bps", customer=params["customer"], locale=params.get("locale"), return_url=params.get("return_url")
    )
    made["url"] = f"{state.url}/portal/{made['id']}"
    return made


def make_tax_rate(state: State, params: Json, _wanted: str) -> Json:
    return state.add("txr", active=True, **{"metadata": {}, **params})


def calculate_tax(state: State, params: Json, _wanted: str) -> Json:
    told = params.get("customer_details", {}).get("address")
    if params.get("customer"):
        told = state.get(params["customer"], "customer", "customer")["address"] or told
    if not told:
        raise invalid(
            "We could not determine the customer's tax location.",
            code="customer_tax_location_invalid",
            param="customer",
        )
    amount = sum(int(line["amount"]) for line in params["line_items"])
    tax = (amount * checkout.STRIPE_TAX_PERCENT + 50) // 100
    return state.add("taxcalc", amount_total=amount + tax, tax_amount_exclusive=tax, tax_amount_inclusive=0,
                     currency=params["currency"], customer=params.get("customer"))  # fmt: skip


def account(state: State, _params: Json, _wanted: str) -> Json:
    return {
        "id": "acct_1Double",
        "object": "account",
        "country": "US",
        "default_currency": "usd",
        "charges_enabled": True,
        "payouts_enabled": True,
        "details_submitted": True,
        "type": "standard",
        "business_type": "company",
        "email": "shop@example.com",
        "metadata": {},
    }
