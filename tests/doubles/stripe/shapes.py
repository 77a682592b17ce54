"""Objects with every field that Stripe sends, as the SDK's classes name them."""

import copy
from functools import cache
from types import NoneType
from typing import Any, get_args

from stripe._object_classes import get_object_class

from tests.doubles.stripe.params import Json

# Sent to those who ask for it, or only where it says something.
_ONLY_ON_REQUEST = frozenset(
    {
        "account",
        "cash_balance",
        "deleted",
        "invoice_credit_balance",
        "line_items",
        "refunds",
        "sources",
        "subscriptions",
        "tax_ids",
    }
)
_ALWAYS: dict[str, Json] = {
    "balance_transaction": {"balance_type": "payments"},
    "billing_portal.session": {"configuration": "bpc_double"},
    "checkout.session": {
        "custom_fields": [],
        "custom_text": {
            "after_submit": None,
            "shipping_address": None,
            "submit": None,
            "terms_of_service_acceptance": None,
        },
        "payment_method_types": ["card"],
        "shipping_options": [],
    },
    "dispute": {"enhanced_eligibility_types": []},
    "payment_intent": {"payment_method_types": ["card"]},
    "payment_method": {"allow_redisplay": "limited", "customer_account": None},
    "payout": {"source_type": "card", "reconciliation_status": "not_applicable"},
    "setup_intent": {"payment_method_types": ["card"]},
}


def complete(thing: Json) -> Json:
    """`thing` with null, or what hardly ever differs, for what nobody gave; without what its kind lacks."""
    kind = thing["object"]
    known = fields_of(kind)
    empty = {} if kind == "payment_method" else dict.fromkeys(_nullable(kind))
    full = {**empty, **copy.deepcopy(_ALWAYS.get(kind, {})), **thing}
    return {
        name: value
        for name, value in full.items()
        if not known or name in known or name.startswith("_") or name != "livemode"
    }


@cache
def fields_of(kind: str) -> dict[str, Any]:
    """What the SDK says of an object; empty where it knows no such object."""
    found = get_object_class("V1", kind)
    return {name: hint for name, hint in found.__annotations__.items() if name != "OBJECT_NAME"}


@cache
def _nullable(kind: str) -> frozenset[str]:
    return frozenset(
        name
        for name, hint in fields_of(kind).items()
        if NoneType in get_args(hint) and name not in _ONLY_ON_REQUEST
    )


def required_of(kind: str) -> frozenset[str]:
    """Fields that are never null and never left out."""
    return frozenset(
        name
        for name, hint in fields_of(kind).items()
        if NoneType not in get_args(hint) and not name.startswith("_")
    )
