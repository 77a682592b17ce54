"""What a request is paid from, as one relay process holds it: the wallet, and every budget that bounds it.

A purse is credit in memory and the statements that lease it. No I/O here: the gate runs them.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from billing.credit import Credit
from common.money import MOST_NANO

Values = tuple[Any, ...]


class Purse(Credit):
    """Credit of one wallet or one budget period in this process."""

    __slots__ = ()
    RENEW: str

    @abstractmethod
    def lease(self, holder: UUID, need: int, want: int, seconds: float) -> tuple[str, Values]:
        """Answers rows of granted, free, what others hold, period, seconds until that ends."""

    def take_over(self, rows: Sequence[Values], asked_at: float, seconds: float) -> None:
        """The answer to `lease`, asked for at the monotonic time `asked_at`."""
        [[granted, free, *_]] = rows
        self.grow(granted, free, asked_at + seconds)

    def is_over(self, now: float) -> bool:
        return now >= self.deadline

    @property
    def spendable(self) -> int:
        return self.free

    @abstractmethod
    def give_back_all(self, holder: UUID) -> tuple[str, Values]: ...

    @abstractmethod
    def give_back_part(self, holder: UUID, amount: int) -> tuple[str, Values]: ...

    @property
    @abstractmethod
    def name(self) -> str:
        """Under which others are asked to give its idle credit back."""

    @property
    @abstractmethod
    def row_id(self) -> int:
        """Of what an open lease is a lease of."""


class WalletPurse(Purse):
    """`owner_id` is the organization's. `is_frozen` is what the last lease was told of the wallet."""

    __slots__ = ("is_frozen",)
    LEASE = """
    SELECT granted, free, with_others, NULL, NULL,
        (SELECT status = 'frozen' FROM billing_wallet WHERE organization_id = %s)
    FROM billing_lease_credit(%s, %s, %s, %s, %s)
    """
    RENEW = """
    UPDATE billing_lease l SET expires_at = clock_timestamp() + make_interval(secs => %s)
    FROM billing_wallet w
    WHERE w.organization_id = l.wallet_id AND w.status = 'active'
      AND l.holder = %s AND l.state = 'open' AND l.wallet_id = ANY(%s)
    RETURNING l.wallet_id
    """

    def __init__(self, organization_id: int) -> None:
        super().__init__(organization_id)
        self.is_frozen = False

    def lease(self, holder: UUID, need: int, want: int, seconds: float) -> tuple[str, Values]:
        return self.LEASE, (self.owner_id, self.owner_id, holder, need, want, seconds)

    def take_over(self, rows: Sequence[Values], asked_at: float, seconds: float) -> None:
        super().take_over(rows, asked_at, seconds)
        self.is_frozen = bool(rows[0][5])

    def give_back_all(self, holder: UUID) -> tuple[str, Values]:
        return "SELECT billing_end_lease(%s, %s, 'closed', NULL)", (self.owner_id, holder)

    def give_back_part(self, holder: UUID, amount: int) -> tuple[str, Values]:
        return "SELECT billing_shrink_lease(%s, %s, %s)", (self.owner_id, holder, amount)

    @property
    def name(self) -> str:
        return f"wallet:{self.owner_id}"

    @property
    def row_id(self) -> int:
        return self.owner_id


LEASE_BUDGET = """
SELECT granted, free, with_others, period_id, seconds_left FROM billing_lease_budget(%s, %s, %s, %s, %s)
"""


class BudgetPurse(Purse):
    """`owner_id` is the budget's. A request is charged to the period in which it was admitted."""

    __slots__ = ("ends_at", "is_gone", "period_id")
    RENEW = """
    UPDATE billing_budgetlease l SET expires_at = clock_timestamp() + make_interval(secs => %s)
    FROM billing_budgetperiod p JOIN billing_budget b ON b.id = p.budget_id
    WHERE p.id = l.period_id AND b.removed_at IS NULL
      AND l.holder = %s AND l.state = 'open' AND l.period_id = ANY(%s)
    RETURNING l.period_id
    """

    def __init__(self, budget_id: int) -> None:
        super().__init__(budget_id)
        self.period_id = 0
        self.ends_at = math.inf
        self.is_gone = False  # the budget was removed: it bounds nothing any more

    def admits(self, amount: int, now: float) -> bool:
        """`now` is monotonic, as `ends_at` is. What costs nothing needs no credit, but a period."""
        if self.is_gone:
            return True
        return self.period_id != 0 and now < self.ends_at and super().admits(amount, now)

    def take_over(self, rows: Sequence[Values], asked_at: float, seconds: float) -> None:
        if not rows:
            self.is_gone, self.period_id = True, 0
            return
        [[granted, free, _, period_id, seconds_left]] = rows
        if period_id != self.period_id and self.has_lease():
            self.end()  # the clock of the database was ahead: what is left of the old period expires there
        self.period_id = period_id
        self.ends_at = math.inf if seconds_left is None else asked_at + seconds_left
        self.grow(granted, free, asked_at + seconds)

    def is_over(self, now: float) -> bool:
        return super().is_over(now) or now >= self.ends_at

    @property
    def spendable(self) -> int:
        return MOST_NANO if self.is_gone else self.free

    def share(self) -> int:
        return MOST_NANO if self.is_gone else super().share()

    def lease(self, holder: UUID, need: int, want: int, seconds: float) -> tuple[str, Values]:
        return LEASE_BUDGET, (self.owner_id, holder, need, want, seconds)

    def give_back_all(self, holder: UUID) -> tuple[str, Values]:
        return (
            "SELECT billing_give_back_budget(%s, %s, NULL, 'closed', NULL)",
            (self.period_id, holder),
        )

    def give_back_part(self, holder: UUID, amount: int) -> tuple[str, Values]:
        return (
            "SELECT billing_give_back_budget(%s, %s, %s, 'open', NULL)",
            (self.period_id, holder, amount),
        )

    @property
    def name(self) -> str:
        return f"budget:{self.owner_id}"

    @property
    def row_id(self) -> int:
        return self.period_id


def least_share(purses: Sequence[Purse]) -> int:
    """What a request without a limit of its own may hold: the poorest purse decides."""
    return min(purse.share() for purse in purses)
