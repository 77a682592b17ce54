"""Voucher codes, and who redeemed them."""

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Reseller, User
from billing.contracts import CURRENCY
from billing.models.wallets import Grant
from common.models import OrganizationOwned


class VoucherSeries(models.Model):
    """Random codes made together. They are handed out once, as a file; pages show parts of them."""

    reseller = models.ForeignKey(Reseller, models.PROTECT, verbose_name=_("reseller"))
    campaign = models.CharField(_("campaign"), max_length=100)
    fact_key = models.CharField(_("fact key"), max_length=120, unique=True)
    size = models.IntegerField(_("codes"))
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    created_by = models.ForeignKey(User, models.PROTECT, null=True, verbose_name=_("created by"))
    downloaded_at = models.DateTimeField(_("downloaded"), null=True, blank=True)
    downloaded_by = models.ForeignKey(
        User, models.PROTECT, null=True, related_name="+", verbose_name=_("downloaded by")
    )

    class Meta:
        verbose_name = _("voucher series")
        verbose_name_plural = _("voucher series")

    def __str__(self) -> str:
        return f"{self.campaign} ({self.size})"


class Voucher(models.Model):
    """A code worth promotional credit, `max_uses` times in all and once for each organization.

    `code` is kept in upper case without separators; without a series an operator chose it. `credit_days` is
    how long the credit lasts; null is for ever.
    """

    series = models.ForeignKey(
        VoucherSeries, models.PROTECT, null=True, related_name="vouchers", verbose_name=_("series")
    )
    reseller = models.ForeignKey(Reseller, models.PROTECT, verbose_name=_("reseller"))
    code = models.CharField(_("code"), max_length=40, unique=True)
    campaign = models.CharField(_("campaign"), max_length=100)
    amount_nano = models.BigIntegerField(_("amount"))
    currency = models.CharField(_("currency"), max_length=3, default=CURRENCY)
    max_uses = models.IntegerField(_("uses"), default=1)
    used = models.IntegerField(_("used"), default=0)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    credit_days = models.IntegerField(_("days the credit lasts"), null=True, blank=True)
    disabled_at = models.DateTimeField(_("disabled"), null=True, blank=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    created_by = models.ForeignKey(User, models.PROTECT, null=True, verbose_name=_("created by"))

    class Meta:
        verbose_name = _("voucher")
        verbose_name_plural = _("vouchers")
        constraints = [
            models.CheckConstraint(
                condition=Q(used__gte=0) & Q(used__lte=F("max_uses")), name="voucher_within_its_uses"
            ),
            models.CheckConstraint(
                condition=Q(amount_nano__gt=0) & Q(max_uses__gt=0), name="voucher_is_something"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.campaign} {self.shown_code}"

    @property
    def shown_code(self) -> str:
        """A random code is as good as money: pages show its ends only."""
        return f"{self.code[:4]}-…-{self.code[-4:]}" if self.series_id else self.code

    @property
    def is_used_up(self) -> bool:
        return self.used >= self.max_uses


class VoucherRedemption(OrganizationOwned):
    voucher = models.ForeignKey(Voucher, models.PROTECT, related_name="redemptions")
    grant = models.OneToOneField(Grant, models.PROTECT)
    redeemed_by = models.ForeignKey(User, models.PROTECT, null=True, verbose_name=_("redeemed by"))
    redeemed_at = models.DateTimeField(_("redeemed"), auto_now_add=True)

    class Meta(OrganizationOwned.Meta):
        verbose_name = _("voucher redemption")
        verbose_name_plural = _("voucher redemptions")
        constraints = [models.UniqueConstraint(fields=["voucher", "organization"], name="voucher_once_each")]

    def __str__(self) -> str:
        return f"{self.voucher_id} {self.organization_id}"


class VoucherMiss(OrganizationOwned):
    """A code that was tried and is none: guessing is limited by counting these."""

    missed_at = models.DateTimeField(auto_now_add=True)

    class Meta(OrganizationOwned.Meta):
        verbose_name = _("wrong voucher code")
        verbose_name_plural = _("wrong voucher codes")
        indexes = [models.Index(fields=["organization", "missed_at"], name="voucher_misses_lately")]

    def __str__(self) -> str:
        return f"{self.organization_id} {self.missed_at}"
