"""What a test does in the place of people, banks and time: `POST /_control/<verb>`, with JSON."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tests.doubles.stripe import checkout, payments
from tests.doubles.stripe.params import Json, invalid
from tests.doubles.stripe.rendering import render
from tests.doubles.stripe.webhooks import status_of

if TYPE_CHECKING:
    from tests.doubles.stripe.server import Stripe

Control = Callable[["Stripe", Json], Any]


def _session(stripe: "Stripe", told: Json) -> Json:
    return stripe.state.get(told["session"], "checkout.session")


def _charge_of(stripe: "Stripe", told: Json) -> Json:
    """By `charge`, or the one that paid a `payment_intent` or a `session`."""
    if "charge" in told:
        return stripe.state.get(told["charge"], "charge")
    wanted = told.get("payment_intent") or _session(stripe, told)["payment_intent"]
    intent = stripe.state.get(wanted, "payment_intent")
    return stripe.state.get(intent["latest_charge"], "charge")


def _pay(stripe: "Stripe", told: Json) -> bool:
    """`card` is a kind of `payments.CARDS`, `number` tells cards apart. False: declined."""
    return checkout.pay(
        stripe.state, _session(stripe, told), told.get("card", "visa"), number=told.get("number", "")
    )


def _authenticate(stripe: "Stripe", told: Json) -> bool:
    session = _session(stripe, told)
    checkout.start_authentication(stripe.state, session)
    return checkout.end_authentication(stripe.state, session, ok=told.get("ok", True))


def _pay_delayed(stripe: "Stripe", told: Json) -> None:
    checkout.pay_delayed(stripe.state, _session(stripe, told))


def _settle_delayed(stripe: "Stripe", told: Json) -> None:
    checkout.settle_delayed(stripe.state, _session(stripe, told), ok=told.get("ok", True))


def _expire(stripe: "Stripe", told: Json) -> None:
    checkout.expire(stripe.state, _session(stripe, told))


def _refund(stripe: "Stripe", told: Json) -> Json:
    """As somebody does it in Stripe's dashboard."""
    made = _charge_of(stripe, told)
    refund = payments.make_refund(
        stripe.state, made, told.get("amount", made["amount"] - made["amount_refunded"])
    )
    refund["status"] = told.get("status", "succeeded")
    payments.tell_refund(stripe.state, refund)
    return refund


def _end_refund(stripe: "Stripe", told: Json) -> Json:
    refund = stripe.state.get(told["refund"], "refund")
    payments.end_refund(stripe.state, refund, ok=told.get("ok", True))
    return refund


def _dispute(stripe: "Stripe", told: Json) -> Json:
    return payments.open_dispute(
        stripe.state,
        _charge_of(stripe, told),
        reason=told.get("reason", "fraudulent"),
        inquiry=told.get("inquiry", False),
    )


def _withdraw(stripe: "Stripe", told: Json) -> None:
    payments.withdraw(stripe.state, stripe.state.get(told["dispute"], "dispute"))


def _close_dispute(stripe: "Stripe", told: Json) -> None:
    payments.close_dispute(stripe.state, stripe.state.get(told["dispute"], "dispute"), won=told["won"])


def _warn(stripe: "Stripe", told: Json) -> Json:
    return payments.warn_of_fraud(stripe.state, _charge_of(stripe, told))


def _card(stripe: "Stripe", told: Json) -> Json:
    """How a saved card behaves from now on, as `pm_card_…` does."""
    method = stripe.state.get(told["payment_method"], "payment_method")
    if told["card"] not in payments.CARDS:
        raise invalid(f"no such card: {told['card']}")
    method["_kind"] = told["card"]
    return method


def _save_card(stripe: "Stripe", told: Json) -> Json:
    method = payments.make_card(stripe.state, told.get("card", "visa"), number=told.get("number", ""))
    payments.attach(stripe.state, method, stripe.state.get(told["customer"], "customer")["id"])
    return method


def _delete_customer(stripe: "Stripe", told: Json) -> None:
    """Its cards are gone with it."""
    state = stripe.state
    gone = state.get(told["customer"], "customer")
    for method in [one for one in state.all("payment_method") if one["customer"] == gone["id"]]:
        payments.detach(state, method)
    state.objects[gone["id"]] = {"id": gone["id"], "object": "customer", "deleted": True}


def _pay_out(stripe: "Stripe", told: Json) -> Json:
    return payments.pay_out(stripe.state, told["amount"])


def _fail_payout(stripe: "Stripe", told: Json) -> None:
    payments.fail_payout(stripe.state, stripe.state.get(told["payout"], "payout"))


def _stray_payment(stripe: "Stripe", told: Json) -> Json:
    """Money that nothing of ours asked for, or that says so in its metadata. Returns the payment intent."""
    intent = payments.make_intent(
        stripe.state,
        amount=told["amount"],
        currency=told.get("currency", "usd"),
        customer=told.get("customer"),
        metadata=told.get("metadata", {}),
    )
    payments.charge(stripe.state, intent, payments.make_card(stripe.state, "visa"))
    return intent


def _warp(stripe: "Stripe", told: Json) -> int:
    stripe.state.clock_offset += told["seconds"]
    return stripe.state.now()


def _trouble(stripe: "Stripe", told: Json) -> None:
    for name, value in told.items():
        if not hasattr(stripe.trouble, name):
            raise invalid(f"no such trouble: {name}")
        setattr(stripe.trouble, name, value)


def _webhooks(stripe: "Stripe", told: Json) -> None:
    """`paused`, `lost` (booleans), `endpoints` ([[url, secret]]), `down_s`, and the shares of Unruliness.

    Two secrets with a space between are an endpoint whose secret is being changed.
    """
    postman = stripe.postman
    postman.go_down(told.pop("down_s", 0.0))
    postman.is_lost = told.pop("lost", postman.is_lost)
    paused = told.pop("paused", postman.is_paused)
    if "endpoints" in told:
        postman.endpoints = [(url, secret) for url, secret in told.pop("endpoints")]
    for name, value in told.items():
        if not hasattr(postman.unruly, name):
            raise invalid(f"no such unruliness: {name}")
        setattr(postman.unruly, name, value)
    if paused:
        postman.is_paused = True
    else:
        postman.resume()


def _redeliver(stripe: "Stripe", told: Json) -> None:
    stripe.postman.redeliver(stripe.state.get(told["event"], "event"))


def _deliver(stripe: "Stripe", told: Json) -> list[int]:
    """An event as it is told, signed with `secret` or the endpoint's own; the answers' statuses."""
    return [
        status_of(url, told["event"], told.get("secret", secret)) for url, secret in stripe.postman.endpoints
    ]


def _state(stripe: "Stripe", told: Json) -> Json:
    """Everything, by kind; or one `object` by its id."""
    state = stripe.state
    if "object" in told:
        return render(state, state.objects[told["object"]], [])
    kinds: dict[str, list[Json]] = {}
    for thing in state.objects.values():
        kinds.setdefault(thing["object"], []).append(render(state, thing, []))
    return {"balance": state.balance, "balances": state.balances, "asked": state.asked, **kinds}


def _settings(stripe: "Stripe", told: Json) -> None:
    """`down`: the API answers nobody. `refunds_wait`: refunds stay pending. `refunds_inquiries`: what is only
    asked about can be refunded. `late_fees`: charges are booked only by `settle_fees`. `livemode`.
    """
    stripe.is_down = told.get("down", stripe.is_down)
    for name in ("refunds_wait", "refunds_inquiries", "livemode", "late_fees"):
        setattr(stripe.state, name, told.get(name, getattr(stripe.state, name)))


def _settle_fees(stripe: "Stripe", told: Json) -> int:
    del told
    return payments.settle_fees(stripe.state)


def _change_card(stripe: "Stripe", told: Json) -> Json:
    """A card that was replaced, as networks tell Stripe: it is the same payment method."""
    method = stripe.state.get(told["payment_method"], "payment_method")
    method["card"].update(last4=told.get("last4", "1881"), exp_year=method["card"]["exp_year"] + 4)
    stripe.state.emit("payment_method.automatically_updated", method)
    return method


def _reconcile_payout(stripe: "Stripe", told: Json) -> Json:
    payout = stripe.state.get(told["payout"], "payout")
    payout["reconciliation_status"] = "completed"
    stripe.state.emit("payout.reconciliation_completed", payout)
    return payout


CONTROLS: Mapping[str, Control] = {
    "pay": _pay,
    "authenticate": _authenticate,
    "pay_delayed": _pay_delayed,
    "settle_delayed": _settle_delayed,
    "expire": _expire,
    "refund": _refund,
    "end_refund": _end_refund,
    "dispute": _dispute,
    "withdraw": _withdraw,
    "close_dispute": _close_dispute,
    "warn": _warn,
    "card": _card,
    "save_card": _save_card,
    "delete_customer": _delete_customer,
    "pay_out": _pay_out,
    "fail_payout": _fail_payout,
    "reconcile_payout": _reconcile_payout,
    "settle_fees": _settle_fees,
    "change_card": _change_card,
    "stray_payment": _stray_payment,
    "warp": _warp,
    "trouble": _trouble,
    "webhooks": _webhooks,
    "redeliver": _redeliver,
    "deliver": _deliver,
    "state": _state,
    "settings": _settings,
}
