"""Operators' pages of money. Its rows can be looked at; credit and prices have a form page each."""

from billing.admin import organizations, prices, usage, wallets

__all__ = ["organizations", "prices", "usage", "wallets"]
