"""What Stripe told us, and what it holds for us. Amounts in minor units (cents) as Stripe writes them."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from billing.models.ledger import LedgerTransaction
from billing.models.top_ups import TopUp
from common.models import OrganizationOwned


class StripeEventState(models.TextChoices):
    WAITING = "waiting", _("Waiting")
    DONE = "done", _("Done")
    IGNORED = "ignored", _("Nothing to do")
    REFUSED = "refused", _("Refused")


class StripeEvent(models.Model):
    """The inbox: an event is stored once, answered, and looked at afterwards. It never says what to post;
    it says which object to read again."""

    event_id = models.CharField(_("event"), max_length=255, unique=True)
    type = models.CharField(_("type"), max_length=100)
    livemode = models.BooleanField(_("live"))
    object_id = models.CharField(_("object"), max_length=255, blank=True)
    payload = models.JSONField(_("payload"))
    happened_at = models.DateTimeField(_("happened"))
    received_at = models.DateTimeField(_("received"), auto_now_add=True)
    came_by = models.CharField(_("came by"), max_length=10, default="webhook")
    state = models.CharField(
        _("state"), max_length=10, choices=StripeEventState.choices, default=StripeEventState.WAITING
    )
    tries = models.PositiveIntegerField(_("tries"), default=0)
    next_try_at = models.DateTimeField(_("next try"), null=True)
    ended_at = models.DateTimeField(_("ended"), null=True)
    reason = models.CharField(_("reason"), max_length=300, blank=True)

    class Meta:
        verbose_name = _("Stripe event")
        verbose_name_plural = _("Stripe events")
        indexes = [
            models.Index(fields=["next_try_at"], condition=Q(state="waiting"), name="stripe_events_to_do"),
            models.Index(fields=["-received_at"], name="newest_stripe_events"),
            models.Index(fields=["object_id"], name="stripe_events_by_object"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"


class UnmatchedPayment(models.Model):
    """Money at Stripe that is nobody's here: it stands in suspense until an operator says whose it is."""

    payment_intent_id = models.CharField(_("payment intent"), max_length=64, unique=True)
    amount_minor = models.BigIntegerField(_("amount"))
    currency = models.CharField(_("currency"), max_length=3)
    reason = models.CharField(_("reason"), max_length=300)
    found_at = models.DateTimeField(_("found"), auto_now_add=True)
    transaction = models.OneToOneField(
        LedgerTransaction, models.PROTECT, null=True, related_name="unmatched_payment"
    )
    settled_by = models.OneToOneField(
        LedgerTransaction, models.PROTECT, null=True, related_name="settled_payment"
    )
    settled_at = models.DateTimeField(_("settled"), null=True)

    class Meta:
        verbose_name = _("unmatched payment")
        verbose_name_plural = _("unmatched payments")

    def __str__(self) -> str:
        return self.payment_intent_id


class DisputeOutcome(models.TextChoices):
    """What is posted. One that was lost may be won after all, on appeal, and the other way round."""

    OPEN = "open", _("Open")
    WON = "won", _("Won")
    LOST = "lost", _("Lost")


class Dispute(OrganizationOwned):
    """A payer asks the bank for the money back. While it is open, what is left of the credit is held.

    `status` is Stripe's word; a `warning_…` is only a question and withdraws nothing. `withdrawn_minor`: what
    Stripe has taken and not returned, `fee_minor` its fees. `held_nano`: credit that waits outside of the
    wallet now; `from_held`: it waited there already, with its top-up. Of a lost one: `taken_nano` the held
    credit that paid for it, `owed_nano` what was spent already and is owed, `tax_nano` the tax that went with
    it, `margin_nano` what the reseller had earned on it.
    """

    top_up = models.ForeignKey(TopUp, models.PROTECT, related_name="disputes", verbose_name=_("top-up"))
    dispute_id = models.CharField(_("dispute"), max_length=64, unique=True)
    status = models.CharField(_("status"), max_length=40)
    reason = models.CharField(_("reason"), max_length=60, blank=True)
    amount_minor = models.BigIntegerField(_("amount"))
    fee_minor = models.BigIntegerField(_("fee"), default=0)
    outcome = models.CharField(
        _("outcome"), max_length=4, choices=DisputeOutcome.choices, default=DisputeOutcome.OPEN
    )
    withdrawn_minor = models.BigIntegerField(_("withdrawn"), default=0)
    from_held = models.BooleanField(_("held before"), default=False)
    held_nano = models.BigIntegerField(_("credit held"), default=0)
    taken_nano = models.BigIntegerField(_("credit taken"), default=0)
    owed_nano = models.BigIntegerField(_("left owed"), default=0)
    tax_nano = models.BigIntegerField(_("tax"), default=0)
    margin_nano = models.BigIntegerField(_("reseller's earnings taken back"), default=0)
    opened_at = models.DateTimeField(_("opened"))
    evidence_due_at = models.DateTimeField(_("evidence due"), null=True)
    withdrawn_at = models.DateTimeField(_("money withdrawn"), null=True)
    reinstated_at = models.DateTimeField(_("money came back"), null=True)
    closed_at = models.DateTimeField(_("closed"), null=True)

    class Meta(OrganizationOwned.Meta):
        verbose_name = _("dispute")
        verbose_name_plural = _("disputes")
        constraints = [
            models.CheckConstraint(
                condition=Q(amount_minor__gt=0, withdrawn_minor__gte=0, held_nano__gte=0)
                & Q(taken_nano__gte=0, owed_nano__gte=0, tax_nano__gte=0),
                name="dispute_is_positive",
            ),
            models.CheckConstraint(
                condition=Q(outcome="open") | Q(held_nano=0), name="only_an_open_dispute_holds_credit"
            ),
            models.CheckConstraint(
                condition=Q(outcome="lost") | Q(taken_nano=0, owed_nano=0, tax_nano=0, margin_nano=0),
                name="only_a_lost_dispute_took_credit",
            ),
        ]
        indexes = [
            models.Index(fields=["opened_at"], condition=Q(outcome="open"), name="open_disputes"),
        ]

    def __str__(self) -> str:
        return self.dispute_id


class FraudWarning(OrganizationOwned):
    """Stripe or the card's bank says that a payment was probably fraud; often a dispute follows."""

    top_up = models.ForeignKey(TopUp, models.PROTECT, related_name="fraud_warnings", verbose_name=_("top-up"))
    warning_id = models.CharField(_("warning"), max_length=64, unique=True)
    fraud_type = models.CharField(_("kind"), max_length=60, blank=True)
    received_at = models.DateTimeField(_("received"), auto_now_add=True)
    froze_wallet = models.BooleanField(_("froze the wallet"), default=False)
    settled_at = models.DateTimeField(_("settled"), null=True)

    class Meta(OrganizationOwned.Meta):
        verbose_name = _("fraud warning")
        verbose_name_plural = _("fraud warnings")

    def __str__(self) -> str:
        return self.warning_id


class BalanceTransaction(models.Model):
    """Stripe's own book of the money it holds for us, line by line. `net_minor` = amount - fee, signed."""

    balance_transaction_id = models.CharField(_("balance transaction"), max_length=64, unique=True)
    type = models.CharField(_("type"), max_length=60)
    source_id = models.CharField(_("source"), max_length=64, blank=True, db_index=True)
    currency = models.CharField(_("currency"), max_length=3)
    amount_minor = models.BigIntegerField(_("amount"))
    fee_minor = models.BigIntegerField(_("fee"))
    net_minor = models.BigIntegerField(_("net"))
    happened_at = models.DateTimeField(_("happened"))
    transaction = models.ForeignKey(
        LedgerTransaction, models.PROTECT, null=True, related_name="+", verbose_name=_("posting")
    )

    class Meta:
        verbose_name = _("balance transaction")
        verbose_name_plural = _("balance transactions")
        constraints = [
            models.CheckConstraint(
                condition=Q(net_minor=models.F("amount_minor") - models.F("fee_minor")),
                name="net_is_amount_less_fee",
            )
        ]
        indexes = [models.Index(fields=["-happened_at"], name="newest_balance_transactions")]

    def __str__(self) -> str:
        return self.balance_transaction_id
