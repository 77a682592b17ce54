"""Which budgets bound whom, as the money path reads them. What is spent of them is leased, not read."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from billing.contracts import Payer
from billing.models import Budget


@dataclass(frozen=True, slots=True)
class BoundBudget:
    """`member_id` and `api_key_id` None: the whole organization's."""

    budget_id: int
    member_id: int | None
    api_key_id: int | None
    period: str

    @property
    def subject(self) -> str:
        if self.api_key_id is not None:
            return "api_key"
        return "organization" if self.member_id is None else "member"

    def bounds(self, payer: Payer) -> bool:
        if self.api_key_id is not None:
            return self.api_key_id == payer.api_key_id
        return self.member_id is None or self.member_id == payer.member_id


class BudgetBook:
    """Every budget there is, by organization. Most have none: then the answer is one look."""

    def __init__(self, budgets: Mapping[int, Sequence[BoundBudget]]) -> None:
        self._budgets = budgets

    def of(self, payer: Payer) -> list[BoundBudget]:
        """The budgets that bound a payer, in order of their ids."""
        budgets = self._budgets.get(payer.organization_id)
        return [budget for budget in budgets if budget.bounds(payer)] if budgets else []


def load_budget_book() -> BudgetBook:
    rows = (
        Budget.across_all_organizations.filter(removed_at=None)
        .order_by("pk")
        .values_list("organization_id", "pk", "member_id", "api_key_id", "period")
    )
    budgets: dict[int, list[BoundBudget]] = defaultdict(list)
    for organization_id, budget_id, member_id, api_key_id, period in rows:
        budgets[organization_id].append(BoundBudget(budget_id, member_id, api_key_id, period))
    return BudgetBook(dict(budgets))
