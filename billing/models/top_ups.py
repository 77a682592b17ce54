"""Money that customers pay in through Stripe, and the cards they keep there. Amounts in cents (`_minor`)."""

from datetime import datetime

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from accounts.models import Organization, User
from billing.contracts import CURRENCY
from billing.models.ledger import LedgerTransaction
from billing.models.lots import Lot
from common.ids import uuid7
from common.models import OrganizationOwned


class StripeCustomer(models.Model):
    """Whom Stripe knows an organization as; kept under the wallet's lock, so that there is never a second.

    Test mode's customers are unknown to a live key: the first live one takes its place.
    """

    organization = models.OneToOneField(
        Organization, models.PROTECT, primary_key=True, verbose_name=_("organization")
    )
    customer_id = models.CharField(_("Stripe customer"), max_length=64, unique=True)
    livemode = models.BooleanField(_("live"), default=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)

    class Meta:
        verbose_name = _("Stripe customer")
        verbose_name_plural = _("Stripe customers")

    def __str__(self) -> str:
        return self.customer_id


class FormerStripeCustomer(models.Model):
    """Whom Stripe knew an organization as before it knew that customer no more.

    What was begun for it may still be paid; and it is taken up again where Stripe knows it again.
    """

    organization = models.ForeignKey(Organization, models.PROTECT, verbose_name=_("organization"))
    customer_id = models.CharField(_("Stripe customer"), max_length=64, unique=True)
    livemode = models.BooleanField(_("live"))
    replaced_at = models.DateTimeField(_("replaced"), auto_now_add=True)

    class Meta:
        verbose_name = _("former Stripe customer")
        verbose_name_plural = _("former Stripe customers")

    def __str__(self) -> str:
        return self.customer_id


class SavedCard(OrganizationOwned):
    """A payment method that the customer left with Stripe for later charges. No number is ever here."""

    payment_method_id = models.CharField(_("payment method"), max_length=64, unique=True)
    brand = models.CharField(_("brand"), max_length=20, blank=True)
    last4 = models.CharField(_("last digits"), max_length=4, blank=True)
    expires_month = models.PositiveSmallIntegerField(_("expires in month"), null=True)
    expires_year = models.PositiveSmallIntegerField(_("expires in year"), null=True)
    fingerprint = models.CharField(_("fingerprint"), max_length=64, blank=True, db_index=True)
    saved_at = models.DateTimeField(_("saved"), auto_now_add=True)
    removed_at = models.DateTimeField(_("removed"), null=True)

    class Meta(OrganizationOwned.Meta):
        verbose_name = _("saved card")
        verbose_name_plural = _("saved cards")

    def __str__(self) -> str:
        return f"{self.brand} •••• {self.last4}"


class TopUpOrigin(models.TextChoices):
    CHECKOUT = "checkout", _("Paid by the customer")
    RECHARGE = "recharge", _("Auto-recharge")
    CLAIM = "claim", _("Credited by an operator")


class TopUpState(models.TextChoices):
    """`PAID` is never left. Whoever pays after `FAILED` or `EXPIRED` still gets the credit."""

    CREATED = "created", _("Started")
    OPEN = "open", _("Waiting for payment")
    PROCESSING = "processing", _("Processing")
    ACTION_REQUIRED = "action_required", _("Your bank asks you to confirm")
    PAID = "paid", pgettext_lazy("payment", "Paid")
    FAILED = "failed", _("Failed")
    EXPIRED = "expired", _("Expired")


# Nothing more happens by itself in these; in all others money may be under way.
ENDED = (TopUpState.PAID, TopUpState.FAILED, TopUpState.EXPIRED)


class TopUp(OrganizationOwned):
    """One attempt to pay credit in, committed before Stripe is first called.

    One of origin `CLAIM` is a payment that was nobody's until an operator credited it; it begins as paid.
    `amount_minor` becomes credit; tax comes on top and is known when it is paid. `taxed_by_stripe`: a card is
    charged without a page, with what `tax_calculation_id` made of it and never before there is one.
    `attempt_key` was minted with the form: the same form again is the same top-up. `lot` is null while credit
    is held or where a debt took all of it. `held_until`: a large first payment becomes credit then, or when
    an operator says so (`unlocked_at`).
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    origin = models.CharField(_("origin"), max_length=10, choices=TopUpOrigin.choices)
    state = models.CharField(
        _("state"), max_length=16, choices=TopUpState.choices, default=TopUpState.CREATED
    )
    attempt_key = models.CharField(_("attempt key"), max_length=64)
    currency = models.CharField(_("currency"), max_length=3, default=CURRENCY)
    amount_minor = models.BigIntegerField(_("credit"))
    tax_minor = models.BigIntegerField(_("tax"), default=0)
    taxed_by_stripe = models.BooleanField(_("tax by Stripe Tax"), default=False)
    tax_calculation_id = models.CharField(_("tax calculation"), max_length=64, blank=True)
    save_card = models.BooleanField(_("save the card"), default=False)
    card = models.ForeignKey(SavedCard, models.PROTECT, null=True, verbose_name=_("saved card"))
    livemode = models.BooleanField(_("live"), default=False)

    session_id = models.CharField(  # noqa: DJ001 - unique where known
        _("Checkout session"), max_length=255, null=True, unique=True
    )
    session_url = models.TextField(_("payment page"), blank=True)
    payment_intent_id = models.CharField(  # noqa: DJ001 - unique where known
        _("payment intent"), max_length=64, null=True, unique=True
    )
    charge_id = models.CharField(  # noqa: DJ001 - unique where known
        _("charge"), max_length=64, null=True, unique=True
    )
    payment_brand = models.CharField(_("paid with"), max_length=40, blank=True)
    payment_last4 = models.CharField(_("last digits"), max_length=4, blank=True)
    payment_fingerprint = models.CharField(_("card fingerprint"), max_length=64, blank=True)
    receipt_url = models.TextField(_("receipt"), blank=True)
    failure_code = models.CharField(_("why it failed"), max_length=100, blank=True)

    requested_by = models.ForeignKey(User, models.PROTECT, null=True, verbose_name=_("requested by"))
    requested_ip = models.GenericIPAddressField(_("from address"), null=True)
    terms_url = models.CharField(_("accepted terms of use"), max_length=300, blank=True)
    terms_version = models.CharField(_("their version"), max_length=40, blank=True)
    created_at = models.DateTimeField(_("started"), auto_now_add=True)
    expires_at = models.DateTimeField(_("payment page ends"), null=True)
    checked_at = models.DateTimeField(_("last compared with Stripe"), null=True)
    paid_at = models.DateTimeField(_("paid"), null=True)
    ended_at = models.DateTimeField(_("ended"), null=True)
    held_until = models.DateTimeField(_("held until"), null=True)
    unlocked_at = models.DateTimeField(_("unlocked"), null=True)
    transaction = models.OneToOneField(LedgerTransaction, models.PROTECT, null=True, related_name="top_up")
    lot = models.OneToOneField(Lot, models.PROTECT, null=True, related_name="top_up")

    class Meta(OrganizationOwned.Meta):
        verbose_name = _("top-up")
        verbose_name_plural = _("top-ups")
        constraints = [
            models.UniqueConstraint(fields=["organization", "attempt_key"], name="one_top_up_per_attempt"),
            models.UniqueConstraint(
                fields=["organization"],
                condition=Q(origin="recharge") & Q(state__in=["created", "processing", "action_required"]),
                name="one_recharge_in_flight",
            ),
            models.CheckConstraint(
                condition=Q(amount_minor__gt=0) & Q(tax_minor__gte=0), name="top_up_is_positive"
            ),
            models.CheckConstraint(
                condition=Q(state="paid", paid_at__isnull=False, transaction__isnull=False)
                | ~Q(state="paid") & Q(paid_at__isnull=True, transaction__isnull=True, lot__isnull=True),
                name="paid_top_up_is_posted",
            ),
            models.CheckConstraint(
                condition=Q(taxed_by_stripe=False)
                | Q(payment_intent_id__isnull=True)
                | ~Q(tax_calculation_id=""),
                name="no_card_is_charged_before_its_tax",
            ),
            models.CheckConstraint(
                condition=Q(unlocked_at__isnull=True) | Q(held_until__isnull=False),
                name="only_what_is_held_is_unlocked",
            ),
        ]
        indexes = [
            models.Index(fields=["organization", "-created_at"], name="top_ups_of_organization"),
            models.Index(
                fields=["checked_at"],
                condition=Q(state__in=["created", "open", "processing", "action_required"]),
                name="top_ups_under_way",
            ),
            models.Index(
                fields=["held_until"],
                condition=Q(held_until__isnull=False, unlocked_at__isnull=True),
                name="top_ups_held",
            ),
            models.Index(fields=["payment_fingerprint"], name="top_ups_by_card"),
        ]

    def __str__(self) -> str:
        return f"{self.pk} {self.get_state_display()}"

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    @property
    def is_held(self) -> bool:
        """Paid, and not yet credit that can be spent."""
        return self.held_until is not None and self.unlocked_at is None


class RechargeRule(OrganizationOwned):
    """Charge the saved card when credit runs low. Off until somebody turns it on, and after three failures.

    When free credit falls below `threshold_minor` it is filled up to `target_minor`, within what the customer
    allows per charge, day and month (UTC). `failures` in a row; `retry_at`: not before.
    """

    is_on = models.BooleanField(_("on"), default=False)
    card = models.ForeignKey(SavedCard, models.PROTECT, null=True, verbose_name=_("saved card"))
    threshold_minor = models.BigIntegerField(_("when credit falls below"))
    target_minor = models.BigIntegerField(_("fill up to"))
    most_per_charge_minor = models.BigIntegerField(_("at most per charge"))
    most_per_day_minor = models.BigIntegerField(_("at most per day"))
    most_per_month_minor = models.BigIntegerField(_("at most per month"))
    failures = models.PositiveSmallIntegerField(_("failures in a row"), default=0)
    retry_at = models.DateTimeField(_("not before"), null=True)
    turned_off_because = models.CharField(_("turned off because"), max_length=100, blank=True)
    mailed_at = models.DateTimeField(_("told of this trouble"), null=True)
    turned_on_by = models.ForeignKey(User, models.PROTECT, null=True, verbose_name=_("turned on by"))
    turned_on_at = models.DateTimeField(_("turned on"), null=True)

    class Meta(OrganizationOwned.Meta):
        verbose_name = _("auto-recharge")
        verbose_name_plural = _("auto-recharges")
        constraints = [
            models.UniqueConstraint(fields=["organization"], name="one_recharge_rule"),
            models.CheckConstraint(
                condition=Q(is_on=False) | Q(card__isnull=False), name="recharge_needs_a_card"
            ),
            models.CheckConstraint(
                condition=Q(threshold_minor__gt=0)
                & Q(target_minor__gt=F("threshold_minor"))
                & Q(most_per_charge_minor__gt=0)
                & Q(most_per_day_minor__gte=F("most_per_charge_minor"))
                & Q(most_per_month_minor__gte=F("most_per_day_minor")),
                name="recharge_rule_makes_sense",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.organization_id} < {self.threshold_minor}"

    def waits(self, now: datetime) -> bool:
        return self.retry_at is not None and self.retry_at > now
