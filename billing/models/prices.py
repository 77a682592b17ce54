"""What models cost: immutable price versions. Rates are nano-units per 1,000,000 tokens."""

from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import Reseller, User
from billing.contracts import CURRENCY

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
    tiers = models.JSONField(_("service tiers"), default=list, blank=True)
    override_reason = models.CharField(_("reason for the override"), max_length=500, blank=True)
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
