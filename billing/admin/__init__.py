"""Operators' pages of money. Its rows can be looked at; what is done with money has a form page each."""

from billing.admin import (
    adjustments,
    books,
    campaigns,
    disputes,
    ledger,
    lots,
    organizations,
    prices,
    refunds,
    stripe_lines,
    terms,
    top_ups,
    unmatched,
    usage,
    vouchers,
    wallets,
)

__all__ = [
    "adjustments",
    "books",
    "campaigns",
    "disputes",
    "ledger",
    "lots",
    "organizations",
    "prices",
    "refunds",
    "stripe_lines",
    "terms",
    "top_ups",
    "unmatched",
    "usage",
    "vouchers",
    "wallets",
]
