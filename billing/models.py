"""Money rows. Amounts are nano-units, rates nano-units per 1,000,000 tokens, all of them integers.

The relay settles through the SQL functions of `billing/sql/`, which lock the wallet first; nothing else
changes `posted`, `pending` or a lease except the services of this app.
"""

import uuid
from dataclasses import fields
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization, Reseller, User
from billing.contracts import CURRENCY, TokenUsage
from common.models import OrganizationOwned

RATE_CLASSES = (
    "input",
    "output",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "reasoning",
    "audio_input",
    "audio_output",
    "image_input",
    "per_request",
)


class PriceKind(models.TextChoices):
    RETAIL = "retail", _("Retail")
    WHOLESALE = "wholesale", _("Wholesale")
    COST = "cost", _("Vendor cost")


def rate(label: Any) -> "models.BigIntegerField[Any, Any]":
    return models.BigIntegerField(label, null=True, blank=True)


class PriceVersion(models.Model):
    """What a model costs from `effective_from` on, until a later version. Never edited.

    A rate that is null falls back: cache and media input to `input`, reasoning and audio output to
    `output`, `per_request` to nothing.
    """

    reseller = models.ForeignKey(Reseller, models.PROTECT, verbose_name=_("reseller"))
    model = models.CharField(_("model"), max_length=120)
    kind = models.CharField(_("kind"), max_length=10, choices=PriceKind.choices)
    effective_from = models.DateTimeField(_("effective from"))
    currency = models.CharField(_("currency"), max_length=3, default=CURRENCY)
    input = models.BigIntegerField(_("input"))
    output = models.BigIntegerField(_("output"))
    cache_read = rate(_("cache read"))
    cache_write_5m = rate(_("cache write, 5 min"))
    cache_write_1h = rate(_("cache write, 1 h"))
    reasoning = rate(_("reasoning"))
    audio_input = rate(_("audio input"))
    audio_output = rate(_("audio output"))
    image_input = rate(_("image input"))
    per_request = rate(_("per request"))
    bands = models.JSONField(_("context bands"), default=list, blank=True)
    windows = models.JSONField(_("time windows"), default=list, blank=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    created_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, verbose_name=_("created by"))

    class Meta:
        verbose_name = _("price version")
        verbose_name_plural = _("price versions")
        ordering = ["model", "kind", "-effective_from"]
        constraints = [
            models.UniqueConstraint(
                fields=["reseller", "model", "kind", "effective_from"], name="one_price_at_a_time"
            ),
            models.CheckConstraint(
                name="rates_not_negative",
                condition=models.Q(
                    *[
                        models.Q(**{f"{name}__isnull": True}) | models.Q(**{f"{name}__gte": 0})
                        for name in RATE_CLASSES
                    ]
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model} {self.kind} {self.effective_from:%Y-%m-%d}"


class WalletStatus(models.TextChoices):
    ACTIVE = "active", _("Active")
    BLOCKED = "blocked", _("Blocked")


class Wallet(models.Model):
    """An organization's prepaid credit. `posted` is what it owns, `pending` what open leases hold of it."""

    organization = models.OneToOneField(
        Organization, models.PROTECT, primary_key=True, verbose_name=_("organization")
    )
    currency = models.CharField(_("currency"), max_length=3, default=CURRENCY)
    posted = models.BigIntegerField(_("posted"), default=0)
    pending = models.BigIntegerField(_("pending"), default=0)
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
        ]

    def __str__(self) -> str:
        return f"{self.organization}"

    @property
    def available(self) -> int:
        return self.posted - self.pending


class GrantKind(models.TextChoices):
    OPERATOR = "operator", _("Granted by an operator")
    WELCOME = "welcome", _("Welcome credit")


class Grant(OrganizationOwned):
    """Credit that came into a wallet. `fact_key` names the business fact, so that it happens once."""

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


class SettlementBatch(models.Model):
    """What one relay process committed in one transaction; the claim that makes settling happen once."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    holder = models.UUIDField(_("holder"))
    created_at = models.DateTimeField(_("created"))
    records = models.IntegerField(_("records"))
    charge_nano = models.BigIntegerField(_("charge"))
    aggregated_at = models.DateTimeField(_("aggregated"), null=True)

    class Meta:
        verbose_name = _("settlement batch")
        verbose_name_plural = _("settlement batches")
        indexes = [
            models.Index(
                fields=["created_at"],
                condition=models.Q(aggregated_at__isnull=True),
                name="batches_to_aggregate",
            )
        ]

    def __str__(self) -> str:
        return str(self.id)


class UsageRecord(OrganizationOwned):
    """One request and what it cost. Append-only; partitioned by month over the uuid7 `request_id`.

    The token classes are disjoint. `uncollected_nano` is the part of the price that the wallet could not
    pay; charge and uncollected part together are the price.
    """

    request_id = models.UUIDField(_("request"), primary_key=True)
    batch = models.ForeignKey(SettlementBatch, models.PROTECT, db_constraint=False)
    reseller = models.ForeignKey(Reseller, models.PROTECT, db_constraint=False)
    organization = models.ForeignKey(
        Organization, models.PROTECT, db_constraint=False, verbose_name=_("organization")
    )
    api_key = models.ForeignKey(
        "accounts.APIKey", models.PROTECT, db_constraint=False, verbose_name=_("API key")
    )
    model = models.CharField(_("model"), max_length=120)
    channel = models.CharField(_("channel"), max_length=120)
    upstream_model = models.CharField(_("upstream model"), max_length=200)
    input_tokens = models.BigIntegerField(_("input"))
    cache_read_tokens = models.BigIntegerField(_("cache read"))
    cache_write_5m_tokens = models.BigIntegerField(_("cache write, 5 min"))
    cache_write_1h_tokens = models.BigIntegerField(_("cache write, 1 h"))
    output_tokens = models.BigIntegerField(_("output"))
    reasoning_tokens = models.BigIntegerField(_("reasoning"))
    audio_input_tokens = models.BigIntegerField(_("audio input"))
    audio_output_tokens = models.BigIntegerField(_("audio output"))
    image_input_tokens = models.BigIntegerField(_("image input"))
    charge_nano = models.BigIntegerField(_("charge"))
    uncollected_nano = models.BigIntegerField(_("uncollected"))
    cost_nano = models.BigIntegerField(_("vendor cost"))
    retail_version = models.ForeignKey(PriceVersion, models.PROTECT, db_constraint=False, related_name="+")
    cost_version = models.ForeignKey(
        PriceVersion, models.PROTECT, db_constraint=False, null=True, related_name="+"
    )
    usage_source = models.CharField(_("usage source"), max_length=20)
    ending = models.CharField(_("ending"), max_length=20)
    is_stream = models.BooleanField(_("streaming"))
    started_at = models.DateTimeField(_("started"))
    first_output_at = models.DateTimeField(_("first output"), null=True)
    ended_at = models.DateTimeField(_("ended"))

    class Meta(OrganizationOwned.Meta):
        managed = False
        db_table = "billing_usagerecord"
        verbose_name = _("usage record")
        verbose_name_plural = _("usage records")

    def __str__(self) -> str:
        return str(self.request_id)

    @property
    def usage(self) -> TokenUsage:
        return TokenUsage(**{field.name: getattr(self, field.name) for field in fields(TokenUsage)})

    @property
    def prompt_tokens(self) -> int:
        return self.usage.prompt_tokens

    @property
    def completion_tokens(self) -> int:
        return self.usage.completion_tokens


class UsageRollup(OrganizationOwned):
    """Usage summed over a quarter of an hour. Made from usage records, never edited by hand."""

    bucket = models.DateTimeField(_("from"))
    reseller = models.ForeignKey(Reseller, models.PROTECT)
    api_key = models.ForeignKey("accounts.APIKey", models.PROTECT, verbose_name=_("API key"))
    model = models.CharField(_("model"), max_length=120)
    requests = models.BigIntegerField(_("requests"))
    prompt_tokens = models.BigIntegerField(_("prompt tokens"))
    completion_tokens = models.BigIntegerField(_("completion tokens"))
    charge_nano = models.BigIntegerField(_("charge"))
    cost_nano = models.BigIntegerField(_("vendor cost"))

    class Meta(OrganizationOwned.Meta):
        verbose_name = _("usage rollup")
        verbose_name_plural = _("usage rollups")
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "bucket", "api_key", "model"], name="one_rollup_per_bucket"
            )
        ]

    def __str__(self) -> str:
        return f"{self.bucket:%Y-%m-%d %H:%M} {self.model}"
