"""Cards, payment intents, charges, refunds and disputes: what a payment does to the double's state."""

import hashlib
from typing import Any

from tests.doubles.stripe.money import check_amount, fee_of
from tests.doubles.stripe.params import Json, StripeError, invalid
from tests.doubles.stripe.state import State

DISPUTE_FEE = 15_00
# How a card behaves: on its owner's screen, and without its owner.
CARDS: dict[str, Json] = {
    "visa": {"last4": "4242", "brand": "visa"},
    "mastercard": {"last4": "4444", "brand": "mastercard"},
    "chargeDeclined": {"last4": "0002", "brand": "visa", "declines": "generic_decline"},
    "chargeDeclinedInsufficientFunds": {"last4": "9995", "brand": "visa", "declines": "insufficient_funds"},
    "chargeCustomerFail": {"last4": "0341", "brand": "visa", "declines_later": "generic_decline"},
    "authenticationRequired": {"last4": "3184", "brand": "visa", "authenticates": True},
    "chargeDeclinedExpiredCard": {"last4": "0069", "brand": "visa", "declines": "expired_card"},
    "chargeDeclinedIncorrectCvc": {"last4": "0127", "brand": "visa", "declines": "incorrect_cvc"},
    "chargeDeclinedProcessingError": {"last4": "0119", "brand": "visa", "declines": "processing_error"},
    "chargeDeclinedLostCard": {"last4": "9987", "brand": "visa", "declines": "lost_card"},
    "chargeDeclinedStolenCard": {"last4": "9979", "brand": "visa", "declines": "stolen_card"},
    "chargeDeclinedFraudulent": {"last4": "0019", "brand": "visa", "declines": "fraudulent"},
    "createDispute": {"last4": "0259", "brand": "visa", "disputes": "fraudulent"},
    "createDisputeProductNotReceived": {"last4": "2685", "brand": "visa", "disputes": "product_not_received"},
    "createDisputeInquiry": {"last4": "1976", "brand": "visa", "disputes": "fraudulent", "inquires": True},
    "createIssuerFraudRecord": {"last4": "5423", "brand": "visa", "warns": True},
}
METHODS = {
    **{f"pm_card_{name}": name for name in CARDS},
    **{f"pm_card_visa_{name}": name for name in CARDS if name.startswith("chargeDeclined")},
}
OWN_CODES = ("expired_card", "incorrect_cvc", "processing_error")


def make_card(state: State, kind: str, *, number: str = "") -> Json:
    """A payment method; the same `number` is the same card to Stripe, whoever pays with it."""
    card = CARDS[kind]
    fingerprint = hashlib.sha256((number or card["last4"]).encode()).hexdigest()[:16]
    return state.add(
        "pm",
        type="card",
        customer=None,
        metadata={},
        billing_details={"address": {"country": "US"}, "email": None, "name": None, "phone": None},
        card={
            "brand": card["brand"],
            "last4": number[-4:] or card["last4"],
            "exp_month": 12,
            "exp_year": 2034,
            "fingerprint": fingerprint,
            "country": "US",
            "funding": "credit",
            "checks": {"cvc_check": "pass", "address_line1_check": None, "address_postal_code_check": None},
            "networks": {"available": [card["brand"]], "preferred": None},
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        },
        _kind=kind,
    )


def method_of(state: State, wanted: str) -> Json:
    """By id, or one of Stripe's test names. Raises StripeError."""
    if wanted in METHODS:
        return make_card(state, METHODS[wanted])
    return state.get(wanted, "payment_method", "payment_method")


def attach(state: State, method: Json, customer: str) -> None:
    if method["customer"] == customer:
        return
    method["customer"] = customer
    state.emit("payment_method.attached", method)


def detach(state: State, method: Json) -> None:
    method["customer"] = None
    state.emit("payment_method.detached", method)


def make_intent(state: State, **fields: Any) -> Json:
    check_amount(fields["amount"], fields["currency"])
    intent = state.add(
        "pi",
        amount_received=0,
        amount_capturable=0,
        status="requires_payment_method",
        client_secret=f"{state.new_id('pi')}_secret",
        latest_charge=None,
        last_payment_error=None,
        canceled_at=None,
        cancellation_reason=None,
        capture_method="automatic_async",
        confirmation_method="automatic",
        next_action=None,
        setup_future_usage=None,
        payment_method=None,
        payment_method_options={"card": {"request_three_d_secure": "automatic"}},
        receipt_email=None,
        description=None,
        metadata={},
        customer=None,
        processing=None,
    )
    intent.update(fields)
    state.emit("payment_intent.created", intent)
    return intent


def charge(state: State, intent: Json, method: Json) -> Json:
    """The bank's yes; the money is Stripe's now."""
    made = _charge(state, intent, method, paid=True)
    if not state.late_fees:
        book_charge(state, made)
    intent.update(
        status="succeeded",
        amount_received=intent["amount"],
        latest_charge=made["id"],
        payment_method=method["id"],
        last_payment_error=None,
        next_action=None,
        processing=None,
    )
    if intent["setup_future_usage"] and intent["customer"]:
        attach(state, method, intent["customer"])
    state.emit("charge.succeeded", made)
    state.emit("payment_intent.succeeded", intent)
    _trouble_with(state, made, CARDS.get(method.get("_kind", ""), {}))
    return made


def _trouble_with(state: State, made: Json, card: Json) -> None:
    if reason := card.get("disputes"):
        open_dispute(state, made, reason=reason, inquiry=card.get("inquires", False))
    if card.get("warns"):
        warn_of_fraud(state, made)


def book_charge(state: State, made: Json) -> None:
    line = state.book("charge", made, made["amount"], fee=fee_of(made["amount"]))
    made["balance_transaction"] = line["id"]


def settle_fees(state: State) -> int:
    """What Stripe books a little after the payment; the number of charges."""
    waiting = [one for one in state.all("charge") if one["paid"] and one["balance_transaction"] is None]
    for made in reversed(waiting):
        book_charge(state, made)
        state.emit("charge.updated", made)
    return len(waiting)


def decline(state: State, intent: Json, method: Json, reason: str) -> StripeError:
    """The bank's no, as the error that whoever asked gets."""
    made = _charge(state, intent, method, paid=False, reason=reason)
    error = {
        "type": "card_error",
        "code": reason if reason in OWN_CODES else "card_declined",
        "decline_code": reason,
        "message": "Your card was declined.",
        "charge": made["id"],
    }
    _fail(state, intent, made["id"], error)
    state.emit("charge.failed", made)
    return _card_error(intent, error)


def ask_for_owner(state: State, intent: Json, method: Json) -> StripeError:
    """The bank wants the card's owner, who is not there."""
    made = _charge(state, intent, method, paid=False, reason="authentication_required")
    error = {
        "type": "card_error",
        "code": "authentication_required",
        "decline_code": "authentication_required",
        "message": "Your card was declined. This transaction requires authentication.",
        "charge": made["id"],
    }
    _fail(state, intent, made["id"], error)
    return _card_error(intent, error)


def _fail(state: State, intent: Json, charge_id: str, error: Json) -> None:
    intent.update(
        status="requires_payment_method",
        latest_charge=charge_id,
        last_payment_error=error,
        payment_method=None,
    )
    state.emit("payment_intent.payment_failed", intent)


def _card_error(intent: Json, error: Json) -> StripeError:
    more = {name: value for name, value in error.items() if name not in ("type", "message")}
    return StripeError(402, "card_error", error["message"], **more, payment_intent=dict(intent))


def _charge(state: State, intent: Json, method: Json, *, paid: bool, reason: str | None = None) -> Json:
    kind = method["type"]
    return state.add(
        "ch",
        amount=intent["amount"],
        amount_captured=intent["amount"] if paid else 0,
        amount_refunded=0,
        balance_transaction=None,
        billing_details=method["billing_details"],
        captured=paid,
        currency=intent["currency"],
        customer=intent["customer"],
        description=intent["description"],
        disputed=False,
        failure_code="card_declined" if reason else None,
        failure_message="Your card was declined." if reason else None,
        metadata=dict(intent["metadata"]),
        outcome={
            "network_status": "approved_by_network" if paid else "declined_by_network",
            "reason": reason,
            "risk_level": "normal",
            "seller_message": "Payment complete." if paid else "The bank declined it.",
            "type": "authorized" if paid else "issuer_declined",
        },
        paid=paid,
        payment_intent=intent["id"],
        payment_method=method["id"],
        payment_method_details={"type": kind, kind: dict(method.get(kind) or {})},
        receipt_email=None,
        receipt_url=f"https://pay.stripe.com/receipts/{state.new_id('ch')}" if paid else None,
        refunded=False,
        status="succeeded" if paid else "failed",
    )


# Refunds


def make_refund(state: State, made: Json, amount: int, **fields: Any) -> Json:
    """Raises StripeError above what is left."""
    left = made["amount"] - made["amount_refunded"]
    if amount > left or left == 0:
        code = "charge_already_refunded" if left == 0 else None
        raise invalid(f"Refund amount ({amount}) is greater than unrefunded amount ({left})", code=code)
    if made["disputed"] and not _is_only_asked(state, made):
        raise invalid("This charge has been charged back.", code="charge_disputed")
    refund = state.add(
        "re",
        amount=amount,
        charge=made["id"],
        payment_intent=made["payment_intent"],
        currency=made["currency"],
        balance_transaction=None,
        destination_details={"type": "card", "card": {"type": "refund"}},
        failure_reason=None,
        failure_balance_transaction=None,
        receipt_number=None,
        status="pending",
        **{"reason": None, "metadata": {}, **fields},
    )
    line = state.book("refund", refund, -amount)
    refund["balance_transaction"] = line["id"]
    made["amount_refunded"] += amount
    made["refunded"] = made["amount_refunded"] == made["amount"]
    return refund


def _is_only_asked(state: State, made: Json) -> bool:
    """Stripe refunds what is only asked about; a shop that is refused is the harder case, and the default."""
    return state.refunds_inquiries and any(
        one["charge"] == made["id"] and one["is_charge_refundable"] for one in state.all("dispute")
    )


def tell_refund(state: State, refund: Json) -> None:
    state.emit("refund.created", refund)
    state.emit("charge.refunded", state.objects[refund["charge"]])


def end_refund(state: State, refund: Json, *, ok: bool, reason: str = "expired_or_canceled_card") -> None:
    """A refund can fail long after it seemed to have succeeded. Raises StripeError where it has ended."""
    if refund["status"] in ("failed", "canceled"):
        raise invalid(f"This refund has the status {refund['status']}.")
    if ok:
        refund["status"] = "succeeded"
        state.emit("refund.updated", refund)
        return
    _take_refund_back(state, refund)
    refund.update(status="failed", failure_reason=reason)
    state.emit("refund.failed", refund)
    state.emit("refund.updated", refund)


def cancel_refund(state: State, refund: Json) -> Json:
    """Raises StripeError."""
    if refund["status"] not in ("pending", "requires_action"):
        raise invalid(f"You cannot cancel a refund with the status {refund['status']}.")
    _take_refund_back(state, refund)
    refund["status"] = "canceled"
    state.emit("refund.updated", refund)
    return refund


def _take_refund_back(state: State, refund: Json) -> None:
    line = state.book("refund_failure", refund, refund["amount"])
    refund["failure_balance_transaction"] = line["id"]
    made = state.objects[refund["charge"]]
    made["amount_refunded"] -= refund["amount"]
    made["refunded"] = False


# Disputes


def open_dispute(state: State, made: Json, *, reason: str = "fraudulent", inquiry: bool = False) -> Json:
    """An inquiry only asks; a dispute takes the money at once."""
    dispute = state.add(
        "dp",
        amount=made["amount"] - made["amount_refunded"],
        balance_transactions=[],
        charge=made["id"],
        payment_intent=made["payment_intent"],
        currency=made["currency"],
        evidence={},
        evidence_details={
            "due_by": state.now() + 7 * 86_400,
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        is_charge_refundable=inquiry,
        metadata={},
        reason=reason,
        status="warning_needs_response" if inquiry else "needs_response",
        payment_method_details={"type": "card", "card": {"brand": "visa", "network_reason_code": "10.4"}},
    )
    made["disputed"] = True
    state.emit("charge.dispute.created", dispute)
    if not inquiry:
        withdraw(state, dispute)
    return dispute


def withdraw(state: State, dispute: Json) -> None:
    if dispute["balance_transactions"]:
        return
    line = state.book("adjustment", dispute, -dispute["amount"], fee=DISPUTE_FEE, category="dispute")
    dispute["balance_transactions"] = [line]
    if dispute["status"].startswith("warning"):
        dispute["status"] = "needs_response"
        state.emit("charge.dispute.updated", dispute)
    state.emit("charge.dispute.funds_withdrawn", dispute)


def close_dispute(state: State, dispute: Json, *, won: bool) -> None:
    if dispute["status"].startswith("warning"):
        dispute["status"] = "warning_closed"
        state.objects[dispute["charge"]]["disputed"] = False
        state.emit("charge.dispute.closed", dispute)
        return
    dispute["status"] = "won" if won else "lost"
    if won:
        line = state.book("adjustment", dispute, dispute["amount"], category="dispute_reversal")
        dispute["balance_transactions"] = [*dispute["balance_transactions"], line]
        state.emit("charge.dispute.funds_reinstated", dispute)
    state.emit("charge.dispute.closed", dispute)


def warn_of_fraud(state: State, made: Json, fraud_type: str = "made_with_stolen_card") -> Json:
    warning = state.add(
        "issfr",
        actionable=True,
        charge=made["id"],
        payment_intent=made["payment_intent"],
        fraud_type=fraud_type,
    )
    state.emit("radar.early_fraud_warning.created", warning)
    return warning


def pay_out(state: State, amount: int) -> Json:
    payout = state.add(
        "po",
        amount=amount,
        currency="usd",
        arrival_date=state.now(),
        automatic=True,
        balance_transaction=None,
        failure_balance_transaction=None,
        destination=None,
        failure_code=None,
        metadata={},
        method="standard",
        status="paid",
        type="bank_account",
        description="STRIPE PAYOUT",
    )
    payout["balance_transaction"] = state.book("payout", payout, -amount)["id"]
    state.emit("payout.paid", payout)
    return payout


def fail_payout(state: State, payout: Json) -> None:
    line = state.book("payout_failure", payout, payout["amount"])
    payout.update(status="failed", failure_code="account_closed", failure_balance_transaction=line["id"])
    state.emit("payout.failed", payout)
