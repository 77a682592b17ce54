"""What operators post by hand, and what the nightly books check found."""

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from billing.models.ledger import LedgerTransaction
from common.models import OrganizationOwned


class AdjustmentKind(models.TextChoices):
    GOODWILL = "goodwill", _("Give credit")
    TAKE_BACK = "take_back", _("Take credit back")
    WRITE_OFF = "write_off", _("Forgive what is owed")
    TOP_UP = "top_up", _("Record a bank transfer")
    REVERSAL = "reversal", _("Reverse a posting")
    CORRECTION = "correction", _("Give a charge back")
    CLAIM = "claim", _("Credit an unmatched payment")
    CAMPAIGN = "campaign", _("Grant of a campaign")


class AdjustmentState(models.TextChoices):
    REQUESTED = "requested", _("Waits for a second operator")
    POSTED = "posted", _("Posted")
    REJECTED = "rejected", _("Rejected")


class Adjustment(OrganizationOwned):
    """Money moved by an operator, with a reason; over a set amount a second operator decides.

    `campaign`: whose budget a grant of that kind counts in. `subject` is the posting to reverse or the
    request to give back. `may_owe`: what is spent already becomes a debt. `reference` is the bank's name for
    a transfer; `tax_nano` came with it and is no credit.
    """

    kind = models.CharField(_("kind"), max_length=10, choices=AdjustmentKind.choices)
    amount_nano = models.BigIntegerField(_("amount"))
    tax_nano = models.BigIntegerField(_("tax"), default=0)
    subject = models.UUIDField(_("concerns"), null=True)
    campaign = models.ForeignKey("billing.Campaign", models.PROTECT, null=True, verbose_name=_("campaign"))
    may_owe = models.BooleanField(_("may leave a debt"), default=False)
    reference = models.CharField(_("bank reference"), max_length=120, blank=True)
    reason = models.CharField(_("reason"), max_length=500)
    fact_key = models.CharField(_("fact key"), max_length=120, unique=True)
    needs_second = models.BooleanField(_("needs a second operator"))
    state = models.CharField(_("state"), max_length=10, choices=AdjustmentState.choices)
    requested_by = models.ForeignKey(
        User, models.PROTECT, null=True, related_name="+", verbose_name=_("requested by")
    )
    requested_at = models.DateTimeField(_("requested"), auto_now_add=True)
    decided_by = models.ForeignKey(
        User, models.PROTECT, null=True, related_name="+", verbose_name=_("decided by")
    )
    decided_at = models.DateTimeField(_("decided"), null=True)
    transaction = models.OneToOneField(LedgerTransaction, models.PROTECT, null=True)

    class Meta(OrganizationOwned.Meta):
        verbose_name = _("adjustment")
        verbose_name_plural = _("adjustments")
        constraints = [
            models.CheckConstraint(
                condition=Q(amount_nano__gt=0) & Q(tax_nano__gte=0), name="adjustment_is_positive"
            ),
            models.CheckConstraint(
                condition=~Q(kind="top_up") | ~Q(reference=""), name="transfer_has_a_reference"
            ),
            models.UniqueConstraint(
                fields=["reference"],
                condition=~Q(reference="") & ~Q(state="rejected"),
                name="one_record_per_transfer",
            ),
            models.CheckConstraint(
                condition=~Q(kind__in=["reversal", "correction"]) | Q(subject__isnull=False),
                name="adjustment_names_its_subject",
            ),
            models.CheckConstraint(
                condition=Q(kind="campaign", campaign__isnull=False)
                | ~Q(kind="campaign") & Q(campaign__isnull=True),
                name="campaign_grant_names_its_campaign",
            ),
            models.CheckConstraint(
                condition=~Q(state="posted") | Q(transaction__isnull=False), name="posted_has_its_posting"
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="adjustment_has_a_reason"),
            models.CheckConstraint(
                condition=~Q(state="posted")
                | Q(needs_second=False)
                | (
                    Q(decided_by__isnull=False)
                    & Q(requested_by__isnull=False)
                    & ~Q(decided_by=F("requested_by"))
                ),
                name="nobody_approves_their_own",
            ),
        ]
        indexes = [
            models.Index(
                fields=["requested_at"], condition=Q(state="requested"), name="adjustments_that_wait"
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.pk}"


class BooksReport(models.Model):
    """One run of the books check. `report` is what `verify_books` prints."""

    started_at = models.DateTimeField(_("started"))
    seconds = models.FloatField(_("seconds"))
    is_clean = models.BooleanField(_("clean"))
    report = models.JSONField(_("report"))

    class Meta:
        verbose_name = _("books check")
        verbose_name_plural = _("books checks")
        indexes = [models.Index(fields=["-started_at"], name="newest_books_reports")]

    def __str__(self) -> str:
        return f"{self.started_at:%Y-%m-%d %H:%M}"
