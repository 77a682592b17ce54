"""On what terms a reseller takes money, and what it gives away. Amounts in minor units (cents)."""

from django.core.validators import MaxValueValidator, MinValueValidator, URLValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization, Reseller, User
from billing.models.wallets import Grant
from common.models import OrganizationOwned


class TaxMode(models.TextChoices):
    NONE = "none", _("No tax")
    STRIPE = "stripe", _("Stripe Tax")
    OWN = "own", _("Own rates")


class PaymentTerms(models.Model):
    """Of one reseller; without a row the defaults here count.

    `first_most_minor` bounds a customer's first top-up. A first one above `hold_over_minor` becomes credit
    only after `hold_hours`. The `most_…` numbers refuse what looks like cards being tried out.
    """

    reseller = models.OneToOneField(
        Reseller, models.PROTECT, related_name="payment_terms", verbose_name=_("reseller")
    )
    least_minor = models.BigIntegerField(_("smallest top-up"), default=5_00)
    most_minor = models.BigIntegerField(_("largest top-up"), default=5_000_00)
    first_most_minor = models.BigIntegerField(_("largest first top-up"), default=500_00)
    hold_over_minor = models.BigIntegerField(_("hold a first top-up above"), default=200_00)
    hold_hours = models.PositiveSmallIntegerField(_("hold it for hours"), default=24)
    most_attempts_per_hour = models.PositiveSmallIntegerField(_("payment attempts per hour"), default=10)
    most_cards_per_day = models.PositiveSmallIntegerField(_("different cards per day"), default=3)
    most_customers_per_card = models.PositiveSmallIntegerField(_("customers per card"), default=3)
    most_sign_ups_per_address = models.PositiveSmallIntegerField(
        _("sign-ups per network address and day"), default=10
    )
    freezes_on_fraud_warning = models.BooleanField(_("stop keys on a fraud warning"), default=True)
    three_d_secure_first = models.BooleanField(_("ask for 3-D Secure on the first payment"), default=True)
    tax_mode = models.CharField(_("tax"), max_length=6, choices=TaxMode.choices, default=TaxMode.NONE)
    terms_url = models.CharField(
        _("address of the terms of use"),
        max_length=300,
        blank=True,
        validators=[URLValidator(schemes=("https", "http"))],
        help_text=_("Who pays accepts them; that is recorded, and evidence in a dispute."),
    )
    terms_version = models.CharField(
        _("their version"), max_length=40, blank=True, help_text=_("As the document says, like 2026-11")
    )

    class Meta:
        verbose_name = _("payment terms")
        verbose_name_plural = _("payment terms")
        constraints = [
            models.CheckConstraint(
                condition=Q(least_minor__gt=0)
                & Q(most_minor__gte=F("least_minor"))
                & Q(first_most_minor__gte=F("least_minor"))
                & Q(hold_over_minor__gte=0),
                name="payment_terms_make_sense",
            ),
            models.CheckConstraint(
                condition=Q(terms_url="") | ~Q(terms_version=""), name="terms_of_use_have_a_version"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.reseller}"


class OrganizationTerms(OrganizationOwned):
    """What an operator agreed with one customer; null: as the reseller's terms say."""

    least_minor = models.BigIntegerField(_("smallest top-up"), null=True, blank=True)
    most_minor = models.BigIntegerField(_("largest top-up"), null=True, blank=True)
    is_trusted = models.BooleanField(_("nothing is held, no first-payment limit"), default=False)

    class Meta(OrganizationOwned.Meta):
        verbose_name = _("customer's payment terms")
        verbose_name_plural = _("customers' payment terms")
        constraints = [models.UniqueConstraint(fields=["organization"], name="one_set_of_terms")]

    def __str__(self) -> str:
        return f"{self.organization}"


class TaxRate(models.Model):
    """A reseller's own tax on top-ups, by the customer's country; on top of the credit."""

    reseller = models.ForeignKey(
        Reseller, models.PROTECT, related_name="tax_rates", verbose_name=_("reseller")
    )
    country = models.CharField(_("country"), max_length=2, help_text=_("Two letters, like DE"))
    name = models.CharField(_("name"), max_length=50, help_text=_("As on the receipt, like VAT"))
    parts_per_million = models.PositiveIntegerField(
        _("rate"), validators=[MinValueValidator(1), MaxValueValidator(1_000_000)]
    )
    stripe_id = models.CharField(_("at Stripe"), max_length=64, blank=True)
    is_active = models.BooleanField(_("active"), default=True)

    class Meta:
        verbose_name = _("tax rate")
        verbose_name_plural = _("tax rates")
        constraints = [
            models.UniqueConstraint(
                fields=["reseller", "country"], condition=Q(is_active=True), name="one_tax_rate_per_country"
            ),
            models.CheckConstraint(
                condition=Q(parts_per_million__gt=0, parts_per_million__lte=1_000_000),
                name="tax_rate_within_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.country}"


class BillingDetails(OrganizationOwned):
    """Whom a top-up is sold to, as far as tax needs it."""

    country = models.CharField(_("country"), max_length=2, blank=True)
    name = models.CharField(_("name on receipts"), max_length=150, blank=True)
    tax_id = models.CharField(_("tax number"), max_length=40, blank=True)

    class Meta(OrganizationOwned.Meta):
        verbose_name = _("billing details")
        verbose_name_plural = _("billing details")
        constraints = [models.UniqueConstraint(fields=["organization"], name="one_set_of_billing_details")]

    def __str__(self) -> str:
        return self.name


class CampaignKind(models.TextChoices):
    SIGN_UP = "sign_up", _("Sign-up bonus")
    REFERRAL = "referral", _("Referral bonus")
    GRANT = "grant", _("Granted by an operator")


class Campaign(models.Model):
    """Promotional credit with a purpose and an end: never more than `budget_nano` in all (null: no bound).

    A sign-up bonus comes once per customer with a verified address. A referral bonus goes to both
    (`amount_nano` to the new customer, `referrer_nano` to who brought it) when the new one's first top-up is
    paid and free. One that may give much is switched on by another operator than `changed_by`.
    """

    reseller = models.ForeignKey(Reseller, models.PROTECT, verbose_name=_("reseller"))
    name = models.SlugField(_("name"), max_length=60)
    kind = models.CharField(_("kind"), max_length=10, choices=CampaignKind.choices)
    amount_nano = models.BigIntegerField(_("credit"))
    referrer_nano = models.BigIntegerField(_("credit for who referred"), default=0)
    least_top_up_minor = models.BigIntegerField(_("first top-up of at least"), default=0)
    most_per_referrer = models.PositiveIntegerField(_("referrals paid per customer"), default=10)
    credit_days = models.PositiveSmallIntegerField(_("credit lasts days"), null=True, blank=True)
    budget_nano = models.BigIntegerField(_("at most in all"), null=True, blank=True)
    granted_nano = models.BigIntegerField(_("granted so far"), default=0)
    starts_at = models.DateTimeField(_("starts"))
    ends_at = models.DateTimeField(_("ends"), null=True, blank=True)
    is_on = models.BooleanField(_("on"), default=True)
    changed_by = models.ForeignKey(
        User, models.PROTECT, null=True, related_name="+", verbose_name=_("terms set by")
    )

    class Meta:
        verbose_name = _("campaign")
        verbose_name_plural = _("campaigns")
        constraints = [
            models.UniqueConstraint(fields=["reseller", "name"], name="campaign_name_once"),
            models.UniqueConstraint(
                fields=["reseller", "kind"],
                condition=Q(is_on=True) & ~Q(kind="grant"),
                name="one_running_bonus_of_a_kind",
            ),
            models.CheckConstraint(
                condition=Q(amount_nano__gte=0, referrer_nano__gte=0, granted_nano__gte=0)
                & (Q(budget_nano__isnull=True) | Q(granted_nano__lte=F("budget_nano"))),
                name="campaign_within_its_budget",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def book_name(self) -> str:
        """As the ledger knows it: resellers may name theirs alike, and vouchers too."""
        return f"#{self.pk}"

    @property
    def left_nano(self) -> int | None:
        """Of its budget; None where nothing bounds it."""
        return None if self.budget_nano is None else self.budget_nano - self.granted_nano


class ReferralCode(OrganizationOwned):
    """What a customer hands to others."""

    code = models.CharField(_("code"), max_length=20, unique=True)

    class Meta(OrganizationOwned.Meta):
        verbose_name = _("referral code")
        verbose_name_plural = _("referral codes")
        constraints = [models.UniqueConstraint(fields=["organization"], name="one_referral_code")]

    def __str__(self) -> str:
        return self.code


class ReferralState(models.TextChoices):
    PENDING = "pending", _("Waiting for the first top-up")
    PAID = "paid", _("Paid")
    REFUSED = "refused", _("Refused")


class Referral(OrganizationOwned):
    """`organization` is the new customer; `referrer` brought it. Once in a customer's life."""

    referrer = models.ForeignKey(
        Organization, models.PROTECT, related_name="referred", verbose_name=_("referred by")
    )
    state = models.CharField(
        _("state"), max_length=10, choices=ReferralState.choices, default=ReferralState.PENDING
    )
    reason = models.CharField(_("reason"), max_length=100, blank=True)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    ended_at = models.DateTimeField(_("ended"), null=True)
    grant = models.OneToOneField(Grant, models.PROTECT, null=True, related_name="+")
    referrer_grant = models.OneToOneField(Grant, models.PROTECT, null=True, related_name="+")

    class Meta(OrganizationOwned.Meta):
        verbose_name = _("referral")
        verbose_name_plural = _("referrals")
        constraints = [
            models.UniqueConstraint(fields=["organization"], name="referred_once"),
            models.CheckConstraint(condition=~Q(organization=F("referrer")), name="nobody_refers_themselves"),
        ]

    def __str__(self) -> str:
        return f"{self.organization_id} ← {self.referrer_id}"


class SignUp(models.Model):
    """From where somebody signed up, to see many from one place. Deleted after thirty days."""

    user = models.OneToOneField(User, models.CASCADE, verbose_name=_("user"))
    address = models.GenericIPAddressField(_("network address"), null=True, db_index=True)
    signed_up_at = models.DateTimeField(_("signed up"), auto_now_add=True)

    class Meta:
        verbose_name = _("sign-up")
        verbose_name_plural = _("sign-ups")

    def __str__(self) -> str:
        return f"{self.user}"
