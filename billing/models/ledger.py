"""Double entry. Amounts are signed nano-units: a debit is positive, a credit negative; each sums to zero.

Written by the SQL function `billing_post` alone, append-only by triggers; a transaction and all its entries
are one database transaction.
"""

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from billing.contracts import CURRENCY

OPERATOR_BOOKS = "op"


class LedgerAccount(models.Model):
    """One account of the chart (`billing.ledger.chart`) for one owner.

    `balance` holds every entry at once, except for a hot account, shared by all customers: there it lags
    behind by the entries that wait in LedgerUnfolded.
    """

    scope = models.CharField(_("books"), max_length=40, default=OPERATOR_BOOKS)
    code = models.CharField(_("code"), max_length=4)
    owner = models.CharField(_("owner"), max_length=120)
    currency = models.CharField(_("currency"), max_length=3, default=CURRENCY)
    balance = models.BigIntegerField(_("balance"), default=0)
    is_hot = models.BooleanField(_("folded later"))

    class Meta:
        verbose_name = _("ledger account")
        verbose_name_plural = _("ledger accounts")
        constraints = [
            models.UniqueConstraint(fields=["scope", "code", "owner", "currency"], name="one_account_each"),
            models.CheckConstraint(
                condition=~models.Q(code__in=["2010", "2020", "2030", "2060"]) | models.Q(balance__lte=0),
                name="credit_is_never_overdrawn",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.owner}"


class PostingKind(models.TextChoices):
    TOP_UP = "top_up", _("Top-up")
    GRANT = "grant", _("Grant")
    USAGE = "usage", _("Usage")
    EXPIRY = "expiry", _("Expiry")
    REFUND = "refund", _("Refund")
    DISPUTE = "dispute", _("Dispute")
    FEE = "fee", _("Fee")
    PAYOUT = "payout", _("Payout")
    ADJUSTMENT = "adjustment", _("Adjustment")
    CORRECTION = "correction", _("Correction of usage")
    REVERSAL = "reversal", _("Reversal")


class LedgerTransaction(models.Model):
    """One business fact. Its fact key again is the same transaction, or an error if it says otherwise."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    scope = models.CharField(_("books"), max_length=40, default=OPERATOR_BOOKS)
    fact_key = models.CharField(_("fact key"), max_length=200)
    digest = models.BinaryField(_("digest"), max_length=32)
    kind = models.CharField(_("kind"), max_length=12, choices=PostingKind.choices)
    effective_at = models.DateTimeField(_("effective"))
    posted_at = models.DateTimeField(_("posted"))
    reason = models.CharField(_("reason"), max_length=500, blank=True)
    actor = models.ForeignKey(User, models.PROTECT, null=True, verbose_name=_("actor"))
    reverses = models.OneToOneField("self", models.PROTECT, null=True, verbose_name=_("reverses"))

    class Meta:
        verbose_name = _("ledger transaction")
        verbose_name_plural = _("ledger transactions")
        constraints = [
            models.UniqueConstraint(fields=["scope", "fact_key"], name="one_posting_per_fact"),
            models.CheckConstraint(
                condition=models.Q(kind=PostingKind.USAGE, fact_key__startswith="usage:")
                | (~models.Q(kind=PostingKind.USAGE) & ~models.Q(fact_key__startswith="usage:")),
                name="usage_is_posted_by_settling_alone",
            ),
            models.CheckConstraint(
                condition=models.Q(kind=PostingKind.REVERSAL, reverses__isnull=False)
                | (~models.Q(kind=PostingKind.REVERSAL) & models.Q(reverses__isnull=True)),
                name="only_a_reversal_reverses",
            ),
        ]
        indexes = [
            models.Index(
                fields=["kind", "-id"], condition=~models.Q(kind=PostingKind.USAGE), name="postings_by_kind"
            )
        ]

    def __str__(self) -> str:
        return self.fact_key


class LedgerEntry(models.Model):
    transaction = models.ForeignKey(LedgerTransaction, models.PROTECT, related_name="entries")
    account = models.ForeignKey(LedgerAccount, models.PROTECT, related_name="entries")
    amount = models.BigIntegerField(_("amount"))

    class Meta:
        verbose_name = _("ledger entry")
        verbose_name_plural = _("ledger entries")
        constraints = [
            models.UniqueConstraint(fields=["transaction", "account"], name="one_entry_per_account"),
            models.CheckConstraint(condition=~models.Q(amount=0), name="entry_moves_something"),
        ]

    def __str__(self) -> str:
        return f"{self.account_id} {self.amount}"


class LedgerUnfolded(models.Model):
    """An entry of a hot account whose balance does not have it yet. The fold job empties this table."""

    entry = models.OneToOneField(LedgerEntry, models.PROTECT, primary_key=True)
    account = models.ForeignKey(LedgerAccount, models.PROTECT)
    amount = models.BigIntegerField()

    class Meta:
        verbose_name = _("unfolded ledger entry")
        verbose_name_plural = _("unfolded ledger entries")

    def __str__(self) -> str:
        return str(self.entry_id)
