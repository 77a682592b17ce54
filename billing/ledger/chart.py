"""The chart of accounts. Pure: names and signs, no rows.

A hot account is shared by everything that is posted; its balance is folded later, so that postings of
different customers never wait for each other.
"""

from dataclasses import dataclass
from enum import StrEnum


class Account(StrEnum):
    """Debit accounts hold positive balances, credit accounts negative ones."""

    STRIPE_CLEARING = "1010"
    BANK = "1020"
    RECEIVABLE = "1100"
    DISPUTE_RECEIVABLE = "1150"
    UPSTREAM_DEPOSITS = "1200"
    PAID_CREDIT = "2010"
    PROMOTIONAL_CREDIT = "2020"
    HELD_CREDIT = "2030"
    TAX_PAYABLE = "2040"
    RESELLER_PAYABLE = "2050"
    REFUNDS_PAYABLE = "2060"
    UPSTREAM_PAYABLE = "2100"
    SUSPENSE = "2900"
    PAID_REVENUE = "4010"
    PROMOTIONAL_REVENUE = "4020"
    BREAKAGE = "4030"
    SERVICE_FEES = "4040"
    UPSTREAM_COST = "5010"
    RESELLER_COMMISSION = "5020"
    PROMOTIONS = "5100"
    STRIPE_FEES = "5200"
    DISPUTE_FEES = "5210"
    BAD_DEBT = "5220"
    ROUNDING = "5300"
    GOODWILL = "5400"

    @property
    def is_hot(self) -> bool:
        return self in HOT


HOT = frozenset(
    {
        Account.UPSTREAM_DEPOSITS,
        Account.TAX_PAYABLE,
        Account.RESELLER_PAYABLE,
        Account.UPSTREAM_PAYABLE,
        *(account for account in Account if account[0] in "45"),
    }
)


class Owner:
    """Whose account it is, as the ledger writes it."""

    OPERATOR = "operator"

    @staticmethod
    def organization(organization_id: int) -> str:
        return f"organization:{organization_id}"

    @staticmethod
    def organization_id(owner: str) -> int:
        """Whose account it is, read back."""
        return int(owner.removeprefix("organization:"))

    @staticmethod
    def reseller(reseller_id: int) -> str:
        return f"reseller:{reseller_id}"

    @staticmethod
    def channel(name: str) -> str:
        return f"channel:{name}"

    @staticmethod
    def campaign(name: str) -> str:
        return f"campaign:{name}"


@dataclass(frozen=True, slots=True)
class Entry:
    """`amount` in nano-units: a debit is positive, a credit negative."""

    account: Account
    owner: str
    amount: int


def debit(account: Account, owner: str, amount: int) -> Entry:
    return Entry(account, owner, amount)


def credit(account: Account, owner: str, amount: int) -> Entry:
    return Entry(account, owner, -amount)
