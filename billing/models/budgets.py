"""Budgets: what an organization, a member or a key may spend in a day, a month, or ever.

Leased to relay processes as wallets are; a period row is to a budget what a wallet is to credit.
"""

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import APIKey, User
from billing.models.wallets import LeaseState
from common.models import OrganizationOwned


class BudgetPeriodKind(models.TextChoices):
    DAY = "day", _("a day")
    MONTH = "month", _("a month")
    TOTAL = "total", _("in total")


class Budget(OrganizationOwned):
    """The whole organization's where neither member nor API key is set. Days and months are UTC."""

    member = models.ForeignKey(User, models.CASCADE, null=True, blank=True, verbose_name=_("member"))
    api_key = models.ForeignKey(APIKey, models.CASCADE, null=True, blank=True, verbose_name=_("API key"))
    period = models.CharField(_("period"), max_length=5, choices=BudgetPeriodKind.choices)
    limit_nano = models.BigIntegerField(_("limit"))
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    removed_at = models.DateTimeField(_("removed"), null=True, blank=True)

    class Meta(OrganizationOwned.Meta):
        verbose_name = _("budget")
        verbose_name_plural = _("budgets")
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "member", "api_key", "period"],
                condition=Q(removed_at__isnull=True),
                nulls_distinct=False,
                name="one_budget_of_a_kind",
            ),
            models.CheckConstraint(condition=Q(limit_nano__gte=0), name="budget_not_negative"),
            models.CheckConstraint(
                condition=Q(member__isnull=True) | Q(api_key__isnull=True), name="budget_of_one_subject"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.limit_nano} {self.period}"


class BudgetPeriod(models.Model):
    """What was spent of a budget between two moments. A limit lowered later may leave it overspent."""

    budget = models.ForeignKey(Budget, models.CASCADE, related_name="periods")
    starts_at = models.DateTimeField(_("from"))
    ends_at = models.DateTimeField(_("until"), null=True)
    spent = models.BigIntegerField(_("spent"), default=0)
    pending = models.BigIntegerField(_("pending"), default=0)

    class Meta:
        verbose_name = _("budget period")
        verbose_name_plural = _("budget periods")
        constraints = [
            models.UniqueConstraint(fields=["budget", "starts_at"], name="one_row_per_budget_period"),
            models.CheckConstraint(
                condition=Q(spent__gte=0) & Q(pending__gte=0), name="budget_period_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.budget_id} {self.starts_at:%Y-%m-%d}"


class BudgetLease(models.Model):
    """Part of a budget period that one relay process may spend from memory."""

    period = models.ForeignKey(BudgetPeriod, models.CASCADE, related_name="leases")
    holder = models.UUIDField(_("holder"))
    granted = models.BigIntegerField(_("granted"))
    settled = models.BigIntegerField(_("settled"), default=0)
    state = models.CharField(_("state"), max_length=10, choices=LeaseState.choices, default=LeaseState.OPEN)
    opened_at = models.DateTimeField(_("opened"))
    expires_at = models.DateTimeField(_("expires"))

    class Meta:
        verbose_name = _("budget lease")
        verbose_name_plural = _("budget leases")
        constraints = [
            models.UniqueConstraint(
                fields=["period", "holder"], condition=Q(state="open"), name="one_open_budget_lease"
            ),
            models.CheckConstraint(
                condition=Q(settled__gte=0) & Q(settled__lte=F("granted")),
                name="budget_lease_within_its_grant",
            ),
        ]
        indexes = [
            models.Index(
                fields=["expires_at"], condition=Q(state="open"), name="open_budget_leases_by_expiry"
            )
        ]

    def __str__(self) -> str:
        return f"{self.period_id} {self.state}"
