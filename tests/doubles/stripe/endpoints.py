"""Which request is whose; each checks parameters by the SDK's types."""

import re
from dataclasses import dataclass

from stripe.params import (
    BalanceRetrieveParams,
    BalanceTransactionListParams,
    BalanceTransactionRetrieveParams,
    ChargeListParams,
    ChargeRetrieveParams,
    CustomerCreateParams,
    CustomerListParams,
    CustomerListPaymentMethodsParams,
    CustomerRetrieveParams,
    CustomerUpdateParams,
    DisputeCloseParams,
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
    PaymentIntentUpdateParams,
    PaymentMethodAttachParams,
    PaymentMethodDetachParams,
    PaymentMethodListParams,
    PaymentMethodRetrieveParams,
    PaymentMethodUpdateParams,
    PayoutListParams,
    PayoutRetrieveParams,
    RefundCancelParams,
    RefundCreateParams,
    RefundListParams,
    RefundRetrieveParams,
    RefundUpdateParams,
    SetupIntentConfirmParams,
    SetupIntentCreateParams,
    SetupIntentRetrieveParams,
    TaxRateCreateParams,
    TaxRateRetrieveParams,
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
from tests.doubles.stripe.api import Handler
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
    _at("POST", "customers", CustomerCreateParams, api.make_customer),
    _at("GET", "customers/{id}", CustomerRetrieveParams, api.customer),
    _at("POST", "customers/{id}", CustomerUpdateParams, api.change("customer")),
    _at("GET", "customers/{id}/payment_methods", CustomerListPaymentMethodsParams, api.methods_of),
    _at("GET", "customers", CustomerListParams, api.lists("customer", "email")),
    _at("GET", "payment_methods", PaymentMethodListParams, api.methods_of),
    _at("GET", "payment_methods/{id}", PaymentMethodRetrieveParams, api.retrieve("payment_method")),
    _at("POST", "payment_methods/{id}", PaymentMethodUpdateParams, api.change_method),
    _at("POST", "payment_methods/{id}/attach", PaymentMethodAttachParams, api.attach),
    _at("POST", "payment_methods/{id}/detach", PaymentMethodDetachParams, api.detach),
    _at("POST", "setup_intents", SetupIntentCreateParams, api.make_setup),
    _at("GET", "setup_intents/{id}", SetupIntentRetrieveParams, api.retrieve("setup_intent")),
    _at("POST", "setup_intents/{id}/confirm", SetupIntentConfirmParams, api.confirm_setup),
    _at("POST", "payment_intents", PaymentIntentCreateParams, api.make_intent),
    _at("GET", "payment_intents", PaymentIntentListParams, api.lists("payment_intent", "customer")),
    _at("GET", "payment_intents/{id}", PaymentIntentRetrieveParams, api.retrieve("payment_intent")),
    _at("POST", "payment_intents/{id}", PaymentIntentUpdateParams, api.change_intent),
    _at("POST", "payment_intents/{id}/confirm", PaymentIntentConfirmParams, api.confirm_intent),
    _at("POST", "payment_intents/{id}/cancel", PaymentIntentCancelParams, api.cancel_intent),
    _at("GET", "charges", ChargeListParams, api.lists("charge", "customer", "payment_intent")),
    _at("GET", "charges/{id}", ChargeRetrieveParams, api.retrieve("charge")),
    _at("POST", "refunds", RefundCreateParams, api.make_refund),
    _at("GET", "refunds", RefundListParams, api.lists("refund", "charge", "payment_intent")),
    _at("GET", "refunds/{id}", RefundRetrieveParams, api.retrieve("refund")),
    _at("POST", "refunds/{id}", RefundUpdateParams, api.change("refund")),
    _at("POST", "refunds/{id}/cancel", RefundCancelParams, api.cancel_refund),
    _at("GET", "disputes", DisputeListParams, api.lists("dispute", "charge", "payment_intent")),
    _at("GET", "disputes/{id}", DisputeRetrieveParams, api.retrieve("dispute")),
    _at("POST", "disputes/{id}", DisputeUpdateParams, api.change_dispute),
    _at("POST", "disputes/{id}/close", DisputeCloseParams, api.close_dispute),
    _at("POST", "checkout/sessions", SessionCreateParams, api.make_session),
    _at(
        "GET",
        "checkout/sessions",
        SessionListParams,
        api.lists("checkout.session", "customer", "payment_intent", "status"),
    ),
    _at("GET", "checkout/sessions/{id}", SessionRetrieveParams, api.session),
    _at("POST", "checkout/sessions/{id}/expire", SessionExpireParams, api.expire_session),
    _at("GET", "balance_transactions", BalanceTransactionListParams, api.balance_lines),
    _at(
        "GET",
        "balance_transactions/{id}",
        BalanceTransactionRetrieveParams,
        api.retrieve("balance_transaction"),
    ),
    _at("GET", "balance", BalanceRetrieveParams, api.balance),
    _at("GET", "events", EventListParams, api.events),
    _at("GET", "events/{id}", EventRetrieveParams, api.retrieve("event")),
    _at("GET", "payouts", PayoutListParams, api.lists("payout", "status")),
    _at("GET", "payouts/{id}", PayoutRetrieveParams, api.retrieve("payout")),
    _at(
        "GET",
        "radar/early_fraud_warnings",
        EarlyFraudWarningListParams,
        api.lists(PREFIXES["issfr"], "charge"),
    ),
    _at(
        "GET",
        "radar/early_fraud_warnings/{id}",
        EarlyFraudWarningRetrieveParams,
        api.retrieve(PREFIXES["issfr"]),
    ),
    _at("POST", "billing_portal/sessions", PortalCreateParams, api.make_portal),
    _at("POST", "tax_rates", TaxRateCreateParams, api.make_tax_rate),
    _at("GET", "tax_rates/{id}", TaxRateRetrieveParams, api.retrieve("tax_rate")),
    _at("POST", "tax/calculations", CalculationCreateParams, api.calculate_tax),
    _at("GET", "account", BalanceRetrieveParams, api.account),
)
