"""Charges that were given back. Usage records are never changed; what is taken off them stands here."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from billing.models.ledger import LedgerTransaction
from common.models import OrganizationOwned


class UsageCorrection(OrganizationOwned):
    """A part of a usage record's price given back, or all of it. Append-only.

    The corrections of a record never exceed its price (trigger). `uncollected_nano` is the part of
    `amount_nano` that the wallet had never paid; the rest is of the charge. `usage_posting` is what posted
    the charge; `margin_nano` is what the reseller's earnings lost again.
    """

    request_id = models.UUIDField(_("request"), db_index=True)
    usage_posting = models.ForeignKey(LedgerTransaction, models.PROTECT, null=True, related_name="+")
    amount_nano = models.BigIntegerField(_("given back"))
    uncollected_nano = models.BigIntegerField(_("of what was uncollected"))
    margin_nano = models.BigIntegerField(_("margin"))
    reason = models.CharField(_("reason"), max_length=500)
    fact_key = models.CharField(_("fact key"), max_length=120, unique=True)
    corrected_by = models.ForeignKey(User, models.PROTECT, null=True, verbose_name=_("corrected by"))
    corrected_at = models.DateTimeField(_("corrected"), auto_now_add=True)
    transaction = models.OneToOneField(
        LedgerTransaction,
        models.PROTECT,
        related_name="usage_correction",
        verbose_name=_("ledger transaction"),
    )

    class Meta(OrganizationOwned.Meta):
        verbose_name = _("correction of usage")
        verbose_name_plural = _("corrections of usage")
        constraints = [
            models.CheckConstraint(
                condition=Q(amount_nano__gt=0)
                & Q(uncollected_nano__gte=0)
                & Q(uncollected_nano__lte=models.F("amount_nano")),
                name="correction_is_positive",
            )
        ]

    def __str__(self) -> str:
        return f"{self.request_id} {self.amount_nano}"
