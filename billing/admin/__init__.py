"""Operators' pages of money. Its rows can be looked at; what is done with money has a form page each."""

from billing.admin import adjustments, books, ledger, lots, organizations, prices, usage, vouchers, wallets

__all__ = [
    "adjustments",
    "books",
    "ledger",
    "lots",
    "organizations",
    "prices",
    "usage",
    "vouchers",
    "wallets",
]
