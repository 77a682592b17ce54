"""Lots: where credit came from, and what it went to."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from billing.contracts import CURRENCY
from billing.models.ledger import LedgerTransaction
from common.models import OrganizationOwned


class LotKind(models.TextChoices):
    PAID = "paid", _("Paid")
    PROMOTIONAL = "promotional", _("Promotional")


class Lot(OrganizationOwned):
    """Credit of one origin. `remaining` is the sum of its entries; lower `priority` is spent first.

    Spent in the order: priority, expiry (never expiring last), promotional before paid, age.
    """

    kind = models.CharField(_("kind"), max_length=12, choices=LotKind.choices)
    origin = models.OneToOneField(LedgerTransaction, models.PROTECT, verbose_name=_("origin"))
    currency = models.CharField(_("currency"), max_length=3, default=CURRENCY)
    original = models.BigIntegerField(_("original"))
    remaining = models.BigIntegerField(_("remaining"))
    priority = models.SmallIntegerField(_("priority"), default=100)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    opened_at = models.DateTimeField(_("opened"), auto_now_add=True)

    class Meta(OrganizationOwned.Meta):
        verbose_name = _("lot")
        verbose_name_plural = _("lots")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(remaining__gte=0) & models.Q(remaining__lte=models.F("original")),
                name="lot_within_its_size",
            ),
            models.CheckConstraint(condition=models.Q(original__gt=0), name="lot_is_something"),
        ]
        indexes = [
            models.Index(
                fields=["organization", "priority", "expires_at"],
                condition=models.Q(remaining__gt=0),
                name="lots_to_spend",
            ),
            models.Index(fields=["expires_at"], condition=models.Q(remaining__gt=0), name="lots_to_expire"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.pk}"


class LotEntry(models.Model):
    """What a ledger transaction did to a lot: positive came in, negative went out. Append-only."""

    lot = models.ForeignKey(Lot, models.PROTECT, related_name="entries")
    transaction = models.ForeignKey(LedgerTransaction, models.PROTECT, related_name="lot_entries")
    amount = models.BigIntegerField(_("amount"))

    class Meta:
        verbose_name = _("lot entry")
        verbose_name_plural = _("lot entries")
        constraints = [
            models.UniqueConstraint(fields=["lot", "transaction"], name="one_lot_entry_per_posting"),
            models.CheckConstraint(condition=~models.Q(amount=0), name="lot_entry_moves_something"),
        ]

    def __str__(self) -> str:
        return f"{self.lot_id} {self.amount}"


class RefundState(models.TextChoices):
    REQUESTED = "requested", _("Requested")
    SUCCEEDED = "succeeded", _("Succeeded")
    FAILED = "failed", _("Failed")


class Refund(OrganizationOwned):
    """Paid credit on its way back to the payer. It left lot and wallet when the refund was requested.

    With a `top_up` the money goes back through Stripe, which knows it as `stripe_id`; `from_held`: the credit
    was still held and no lot had it. One that was made in Stripe's dashboard may find its credit spent:
    `owed_nano` of it is a debt. `sent_at` is committed before Stripe is first asked; `paid_at`: the money has
    left our account, which a refund that fails later brings back.
    """

    lot = models.ForeignKey(Lot, models.PROTECT, null=True, related_name="refunds")
    top_up = models.ForeignKey("billing.TopUp", models.PROTECT, null=True, related_name="refunds")
    amount_nano = models.BigIntegerField(_("credit"))
    tax_nano = models.BigIntegerField(_("tax"), default=0)
    state = models.CharField(
        _("state"), max_length=10, choices=RefundState.choices, default=RefundState.REQUESTED
    )
    reason = models.CharField(_("reason"), max_length=500)
    fact_key = models.CharField(_("fact key"), max_length=120, unique=True)
    requested_by = models.ForeignKey(User, models.PROTECT, null=True, verbose_name=_("requested by"))
    requested_at = models.DateTimeField(_("requested"), auto_now_add=True)
    needs_second = models.BooleanField(_("needs a second operator"), default=False)
    approved_by = models.ForeignKey(
        User, models.PROTECT, null=True, related_name="+", verbose_name=_("approved by")
    )
    from_held = models.BooleanField(_("from held credit"), default=False)
    owed_nano = models.BigIntegerField(_("left owed"), default=0)
    stripe_id = models.CharField(_("refund at Stripe"), max_length=64, null=True, unique=True)  # noqa: DJ001
    stripe_status = models.CharField(_("status at Stripe"), max_length=20, blank=True)
    failure_reason = models.CharField(_("why it failed"), max_length=100, blank=True)
    sent_at = models.DateTimeField(_("sent to Stripe"), null=True)
    tried_at = models.DateTimeField(_("last compared with Stripe"), null=True)
    paid_at = models.DateTimeField(_("paid"), null=True)
    ended_at = models.DateTimeField(_("ended"), null=True)

    class Meta(OrganizationOwned.Meta):
        verbose_name = _("refund")
        verbose_name_plural = _("refunds")
        constraints = [
            models.CheckConstraint(
                condition=models.Q(amount_nano__gte=0, tax_nano__gte=0)
                & (models.Q(amount_nano__gt=0) | models.Q(tax_nano__gt=0)),
                name="refund_is_positive",
            ),
            models.CheckConstraint(
                condition=models.Q(owed_nano__gte=0, owed_nano__lte=models.F("amount_nano")),
                name="refund_owes_a_part_of_it",
            ),
            models.CheckConstraint(
                condition=~models.Q(state="succeeded") | models.Q(paid_at__isnull=False),
                name="refund_that_succeeded_was_paid",
            ),
            models.CheckConstraint(
                condition=models.Q(sent_at__isnull=True)
                | models.Q(needs_second=False)
                | models.Q(approved_by__isnull=False),
                name="large_refund_is_sent_with_a_second_operator",
            ),
        ]
        indexes = [
            models.Index(
                fields=["tried_at"],
                condition=models.Q(state="requested", top_up__isnull=False),
                name="refunds_under_way",
            )
        ]

    def __str__(self) -> str:
        return f"{self.pk} {self.get_state_display()}"

    @property
    def waits_for_approval(self) -> bool:
        return self.state == RefundState.REQUESTED and self.needs_second and self.approved_by_id is None
