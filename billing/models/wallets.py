"""What an organization owns: its wallet, the grants that came in, and the leases out of it.

The relay settles through the SQL functions of `billing/sql/`, which lock the wallet first; nothing else
changes `posted`, `pending`, `receivable` or a lease except the services of this app.
"""

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization, User
from billing.contracts import CURRENCY
from common.models import OrganizationOwned


class WalletStatus(models.TextChoices):
    ACTIVE = "active", _("Active")
    BLOCKED = "blocked", _("Blocked: owes money")
    FROZEN = "frozen", _("Frozen")


class Wallet(models.Model):
    """An organization's prepaid credit. `posted` is what it owns, `pending` what open leases hold of it.

    `receivable` is what it owes: usage beyond its credit. While it owes, it is blocked; credit that comes
    in pays the debt first. Frozen is what a `WalletFreeze` does while one is not lifted.
    """

    organization = models.OneToOneField(
        Organization, models.PROTECT, primary_key=True, verbose_name=_("organization")
    )
    currency = models.CharField(_("currency"), max_length=3, default=CURRENCY)
    posted = models.BigIntegerField(_("posted"), default=0)
    pending = models.BigIntegerField(_("pending"), default=0)
    receivable = models.BigIntegerField(_("owed"), default=0)
    status = models.CharField(
        _("status"), max_length=10, choices=WalletStatus.choices, default=WalletStatus.ACTIVE
    )

    class Meta:
        verbose_name = _("wallet")
        verbose_name_plural = _("wallets")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(posted__gte=0) & models.Q(pending__gte=0), name="wallet_not_negative"
            ),
            models.CheckConstraint(
                condition=models.Q(posted__gte=models.F("pending")), name="wallet_covers_its_leases"
            ),
            models.CheckConstraint(
                condition=models.Q(receivable=0)
                | (models.Q(receivable__gt=0) & ~models.Q(status=WalletStatus.ACTIVE)),
                name="who_owes_is_blocked",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.organization}"

    @property
    def available(self) -> int:
        return self.posted - self.pending


class FreezeCause(models.TextChoices):
    OPERATOR = "operator", _("An operator")
    DISPUTE = "dispute", _("A dispute")
    FRAUD_WARNING = "fraud_warning", _("A fraud warning")


class WalletFreeze(OrganizationOwned):
    """Why a wallet is frozen: it stays so until every cause is lifted, and no cause lifts another's.

    `subject` is what of that cause froze it (a dispute's or a warning's id at Stripe). An operator who
    unfreezes lifts all of them.
    """

    cause = models.CharField(_("cause"), max_length=20, choices=FreezeCause.choices)
    subject = models.CharField(_("subject"), max_length=64, blank=True)
    reason = models.CharField(_("reason"), max_length=500)
    frozen_at = models.DateTimeField(_("frozen"), auto_now_add=True)
    lifted_at = models.DateTimeField(_("lifted"), null=True)

    class Meta(OrganizationOwned.Meta):
        verbose_name = _("freeze")
        verbose_name_plural = _("freezes")
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "cause", "subject"],
                condition=models.Q(lifted_at__isnull=True),
                name="one_freeze_for_each_cause",
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_cause_display()}: {self.reason}"


class GrantKind(models.TextChoices):
    OPERATOR = "operator", _("Granted by an operator")
    WELCOME = "welcome", _("Welcome credit")
    VOUCHER = "voucher", _("Voucher code")
    GOODWILL = "goodwill", _("Goodwill")
    REFERRAL = "referral", _("Referral bonus")
    CAMPAIGN = "campaign", _("Campaign")


class Grant(OrganizationOwned):
    """Promotional credit that came into a wallet. `fact_key` names the business fact: it happens once."""

    amount_nano = models.BigIntegerField(_("amount"))
    kind = models.CharField(_("kind"), max_length=10, choices=GrantKind.choices)
    fact_key = models.CharField(_("fact key"), max_length=120, unique=True)
    reason = models.CharField(_("reason"), max_length=500)
    granted_by = models.ForeignKey(User, models.PROTECT, null=True, verbose_name=_("granted by"))
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta(OrganizationOwned.Meta):
        verbose_name = _("grant")
        verbose_name_plural = _("grants")
        constraints = [
            models.CheckConstraint(condition=models.Q(amount_nano__gt=0), name="grant_is_positive")
        ]

    def __str__(self) -> str:
        return self.fact_key


class LeaseState(models.TextChoices):
    OPEN = "open", _("Open")
    CLOSED = "closed", _("Closed")
    REAPED = "reaped", _("Reaped")


class Lease(models.Model):
    """Credit of a wallet that one relay process (`holder`) may spend from memory until `expires_at`."""

    wallet = models.ForeignKey(Wallet, models.PROTECT, verbose_name=_("wallet"))
    holder = models.UUIDField(_("holder"))
    granted = models.BigIntegerField(_("granted"))
    settled = models.BigIntegerField(_("settled"), default=0)
    state = models.CharField(_("state"), max_length=10, choices=LeaseState.choices, default=LeaseState.OPEN)
    opened_at = models.DateTimeField(_("opened"))
    expires_at = models.DateTimeField(_("expires"))

    class Meta:
        verbose_name = _("lease")
        verbose_name_plural = _("leases")
        constraints = [
            models.UniqueConstraint(
                fields=["wallet", "holder"],
                condition=models.Q(state="open"),
                name="one_open_lease_per_holder",
            ),
            models.CheckConstraint(
                condition=models.Q(settled__gte=0) & models.Q(settled__lte=models.F("granted")),
                name="lease_settles_within_its_grant",
            ),
        ]
        indexes = [
            models.Index(
                fields=["expires_at"], condition=models.Q(state="open"), name="open_leases_by_expiry"
            )
        ]

    def __str__(self) -> str:
        return f"{self.wallet_id} {self.state}"
