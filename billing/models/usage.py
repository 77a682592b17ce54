"""What was used: settlement batches, usage records, and their sums."""

import uuid
from dataclasses import fields

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization, Reseller
from billing.contracts import TokenUsage
from billing.models.prices import PriceVersion
from common.models import OrganizationOwned


class SettlementBatch(models.Model):
    """What one relay process committed in one transaction; the claim that makes settling happen once."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    holder = models.UUIDField(_("holder"))
    created_at = models.DateTimeField(_("created"))
    records = models.IntegerField(_("records"))
    charge_nano = models.BigIntegerField(_("charge"))
    aggregated_at = models.DateTimeField(_("aggregated"), null=True)
    posting = models.ForeignKey(
        "billing.LedgerTransaction", models.PROTECT, null=True, verbose_name=_("ledger transaction")
    )

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
    wholesale_nano = models.BigIntegerField(_("wholesale price"))
    retail_version = models.ForeignKey(PriceVersion, models.PROTECT, db_constraint=False, related_name="+")
    cost_version = models.ForeignKey(
        PriceVersion, models.PROTECT, db_constraint=False, null=True, related_name="+"
    )
    wholesale_version = models.ForeignKey(
        PriceVersion, models.PROTECT, db_constraint=False, null=True, related_name="+"
    )
    service_tier = models.CharField(_("service tier"), max_length=20)
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


class UsageArchive(models.Model):
    """A month of usage records that was detached; its sums stay, so that the books still add up.

    Rollups from `rollups_until` on hold nothing of it.
    """

    partition = models.CharField(_("partition"), max_length=63, unique=True)
    first_request_id = models.UUIDField(_("from"))
    end_request_id = models.UUIDField(_("until"))
    rollups_until = models.DateTimeField(_("rollups until"))
    detached_at = models.DateTimeField(_("detached"), auto_now_add=True)

    class Meta:
        verbose_name = _("usage archive")
        verbose_name_plural = _("usage archives")

    def __str__(self) -> str:
        return self.partition


class ArchivedUsage(OrganizationOwned):
    """What one organization used in a detached month."""

    archive = models.ForeignKey(UsageArchive, models.PROTECT)
    records = models.BigIntegerField(_("records"))
    charge_nano = models.BigIntegerField(_("charge"))
    uncollected_nano = models.BigIntegerField(_("uncollected"))
    cost_nano = models.BigIntegerField(_("vendor cost"))

    class Meta(OrganizationOwned.Meta):
        verbose_name = _("archived usage")
        verbose_name_plural = _("archived usage")
        constraints = [models.UniqueConstraint(fields=["archive", "organization"], name="archived_once_each")]

    def __str__(self) -> str:
        return f"{self.archive} {self.organization_id}"


class ArchivedBatch(models.Model):
    """What a settlement batch had in a detached month."""

    archive = models.ForeignKey(UsageArchive, models.PROTECT, db_index=False)
    batch = models.ForeignKey(SettlementBatch, models.PROTECT, db_index=False, db_constraint=False)
    records = models.BigIntegerField(_("records"))
    charge_nano = models.BigIntegerField(_("charge"))
    uncollected_nano = models.BigIntegerField(_("uncollected"))
    cost_nano = models.BigIntegerField(_("vendor cost"))

    class Meta:
        verbose_name = _("archived batch")
        verbose_name_plural = _("archived batches")
        constraints = [models.UniqueConstraint(fields=["batch", "archive"], name="batch_archived_once_each")]

    def __str__(self) -> str:
        return str(self.batch_id)
