"""Budgets: limits on what an organization, a member or an API key spends. Set here, enforced by the gate."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import APIKey, Organization, User
from accounts.services import record_audit
from billing.models import Budget, BudgetLease, BudgetPeriod, BudgetPeriodKind, LeaseState
from common.broadcast import announce_on_commit
from common.errors import AppError

GIVE_BACK = """
SELECT billing_give_back_budget(%s, %s, NULL, 'reaped', clock_timestamp() - make_interval(secs => %s))
"""


class BudgetRefused(AppError):
    """The budget makes no sense as asked for; nothing was changed."""

    code = "budget_refused"


@dataclass(frozen=True)
class SpentBudget:
    """A budget and what its running period has spent, without what is spent but not settled yet."""

    budget: Budget
    spent_nano: int

    @property
    def left_nano(self) -> int:
        return max(0, self.budget.limit_nano - self.spent_nano)

    @property
    def percent(self) -> int:
        limit = self.budget.limit_nano
        return min(100, self.spent_nano * 100 // limit) if limit else 100


@transaction.atomic
def set_budget(
    *,
    organization: Organization,
    limit_nano: int,
    period: str,
    member: User | None = None,
    api_key: APIKey | None = None,
    actor: User | None = None,
    ip: str | None = None,
) -> Budget:
    """Of the whole organization where neither member nor API key is given. One that exists gets the new limit
    and keeps what was spent. In force in every process within a second. Raises BudgetRefused."""
    if limit_nano < 0:
        raise BudgetRefused(_("A budget is nothing or more."), param="limit")
    _check_subject(organization, member, api_key)
    Organization.objects.select_for_update(of=("self",), no_key=True).get(pk=organization.pk)
    of = {"member": member, "api_key": api_key, "period": BudgetPeriodKind(period)}
    budget = Budget.across_all_organizations.filter(organization=organization, removed_at=None, **of).first()
    before = budget.limit_nano if budget else None
    if budget is None:
        budget = Budget(organization=organization, **of)
    budget.limit_nano = limit_nano
    budget.save()
    _note("budget.set", budget, actor, ip, before=before, after=limit_nano)
    return budget


@transaction.atomic
def remove_budget(*, budget: Budget, actor: User | None = None, ip: str | None = None) -> None:
    """Removing it twice changes nothing."""
    found = Budget.across_all_organizations.select_for_update(of=("self",)).get(pk=budget.pk)
    if found.removed_at is None:
        found.removed_at = timezone.now()
        found.save(update_fields=["removed_at"])
        _note("budget.removed", found, actor, ip, before=found.limit_nano, after=None)


def budgets_in_scope() -> list[SpentBudget]:
    """Of the organization in scope, its own first."""
    budgets = Budget.objects.filter(removed_at=None).select_related("member", "api_key")
    ordered = sorted(budgets, key=lambda one: (one.api_key_id or 0, one.member_id or 0, one.pk))
    spent = _spent_now(ordered)
    return [SpentBudget(budget, spent.get(budget.pk, 0)) for budget in ordered]


def reap_budget_leases(*, grace_s: float) -> int:
    """Give back what dead processes held of budgets; returns how many leases ended. By the clock of the
    database, each in a transaction of its own."""
    deadline = Now() - timedelta(seconds=grace_s)
    expired = BudgetLease.objects.filter(state=LeaseState.OPEN, expires_at__lt=deadline)
    reaped = list(expired.values_list("period_id", "holder"))
    for period_id, holder in reaped:
        with connection.cursor() as cursor:
            cursor.execute(GIVE_BACK, [period_id, holder, grace_s])
    return len(reaped)


def _check_subject(organization: Organization, member: User | None, api_key: APIKey | None) -> None:
    if member is not None and api_key is not None:
        raise BudgetRefused(_("A budget is a member's or an API key's, not both."), param="subject")
    if member is not None and not organization.members.filter(pk=member.pk).exists():
        raise BudgetRefused(_("This person is no member of the organization."), param="subject")
    if api_key is not None and api_key.organization_id != organization.pk:
        raise BudgetRefused(_("This API key does not belong to the organization."), param="subject")


def _spent_now(budgets: Sequence[Budget]) -> dict[int, int]:
    """By budget; periods that are over do not count."""
    now = datetime.now(UTC)
    running = BudgetPeriod.objects.filter(budget__in=budgets).exclude(ends_at__lte=now)
    return dict(running.values_list("budget_id", "spent"))


def _note(
    action: str,
    budget: Budget,
    actor: User | None,
    ip: str | None,
    *,
    before: int | None,
    after: int | None,
) -> None:
    announce_on_commit("budgets")
    record_audit(
        action=action,
        subject=budget,
        actor=actor,
        organization=budget.organization,
        before={"limit_nano": before},
        after={"limit_nano": after, "period": budget.period},
        ip=ip,
    )
