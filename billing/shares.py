"""How much of a payment's parts is credit and how much tax, to the cent. Pure: integers, all of one unit.

Shares are taken of everything that has gone back so far, never of one part alone: whatever the parts are and
in whichever order they come, together they never hold a cent of tax more or less than the payment did.
"""

from dataclasses import dataclass

from common.money import divide_half_even


@dataclass(frozen=True, slots=True)
class Paid:
    """What a payment brought, and what of it has gone back already."""

    credit: int
    tax: int
    gone_credit: int = 0
    gone_tax: int = 0

    @property
    def credit_left(self) -> int:
        return max(0, self.credit - self.gone_credit)

    @property
    def tax_left(self) -> int:
        return max(0, self.tax - self.gone_tax)


def tax_with(paid: Paid, credit: int) -> int:
    """The tax that goes back with so much credit."""
    reached = min(paid.credit, paid.gone_credit + credit)
    due = divide_half_even(paid.tax * reached, paid.credit) - paid.gone_tax
    return max(0, min(due, paid.tax_left))


def split(paid: Paid, gross: int) -> tuple[int, int]:
    """Credit and tax in a sum that goes back."""
    total = paid.credit + paid.tax
    reached = min(total, paid.gone_credit + paid.gone_tax + gross)
    due = divide_half_even(paid.tax * reached, total) - paid.gone_tax
    tax = max(0, min(due, paid.tax_left, gross))
    return gross - tax, tax
