"""Which request is whose; each checks parameters by the SDK's types."""

import re
from collections.abc import Callable
from dataclasses import dataclass

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

from tests.doubles.stripe import api
from tests.doubles.stripe.params import Json, StripeError, check
from tests.doubles.stripe.rendering import render
from tests.doubles.stripe.state import PREFIXES, State

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
