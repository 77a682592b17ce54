"""What a customer may pay in, how often and from which cards; what tax comes on top.

A reseller's terms, the customer's own where an operator agreed on some, the model's defaults where nobody
said anything. Nothing here writes but alerts: refusals and flags that operators should see.
"""

from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address

from django.db.models import Q, QuerySet, Sum
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.alerts import raise_alert
from accounts.models import Organization
from billing.models import (
    BillingDetails,
    OrganizationTerms,
    PaymentTerms,
    SavedCard,
    TaxMode,
    TaxRate,
    TopUp,
    TopUpOrigin,
    TopUpState,
    Wallet,
    WalletStatus,
)
from common.errors import AppError
from common.money import NANO
from common.templatetags.formats import money_exact

NANO_PER_CENT = NANO // 100
MILLION = 10**6
ATTEMPTS_COUNT_FOR = timedelta(hours=1)
CARDS_COUNT_FOR = timedelta(days=1)
# Operators need a day to look at a flagged payment, however short a reseller holds the first one.
LEAST_FLAGGED_HOLD = timedelta(hours=24)
# People of one office share an address: it may try as often as this many customers.
CUSTOMERS_PER_ADDRESS = 3


class TopUpRefused(AppError):
    """No payment was started. Each reason is a class of its own; its text says the bound."""

    code = "top_up_refused"


class TopUpTooSmall(TopUpRefused):
    code = "top_up_too_small"


class TopUpTooLarge(TopUpRefused):
    code = "top_up_too_large"


class FirstTopUpTooLarge(TopUpRefused):
    code = "first_top_up_too_large"


class TopUpsTooOften(TopUpRefused):
    code = "top_ups_too_often"
    http_status = 429


class TopUpWhileFrozen(TopUpRefused):
    code = "top_up_while_frozen"
    http_status = 403


@dataclass(frozen=True, kw_only=True)
class Terms:
    """All limits that count for one customer. Of a trusted one nothing is held and the first top-up is like
    any other: `first_most_minor` is `most_minor`, `hold_over_minor` too."""

    least_minor: int
    most_minor: int
    first_most_minor: int
    hold_over_minor: int
    hold_hours: int
    most_attempts_per_hour: int
    most_cards_per_day: int
    most_customers_per_card: int
    most_sign_ups_per_address: int
    freezes_on_fraud_warning: bool
    three_d_secure_first: bool
    tax_mode: TaxMode
    is_trusted: bool
    terms_url: str = ""
    terms_version: str = ""


@dataclass(frozen=True, kw_only=True)
class Tax:
    """On top of a top-up's credit. `tax_minor` is 0 where Stripe works it out (mode STRIPE)."""

    mode: TaxMode
    country: str = ""
    name: str = ""
    parts_per_million: int = 0
    tax_minor: int = 0
    stripe_rate_id: str = ""


@dataclass(frozen=True)
class CardConcern:
    """Why a card looks like one being tried out, for operators. The money is there: its credit stays held
    for `hold`."""

    code: str
    message: str
    hold: timedelta


def terms_of(organization: Organization) -> Terms:
    terms = terms_of_reseller(organization.reseller_id)
    agreed = OrganizationTerms.across_all_organizations.filter(organization=organization).first()
    own = agreed or OrganizationTerms(organization=organization)
    most = terms.most_minor if own.most_minor is None else own.most_minor
    least = terms.least_minor if own.least_minor is None else own.least_minor
    return Terms(
        least_minor=min(least, most),
        most_minor=most,
        first_most_minor=most if own.is_trusted else min(max(terms.first_most_minor, least), most),
        hold_over_minor=most if own.is_trusted else terms.hold_over_minor,
        hold_hours=terms.hold_hours,
        most_attempts_per_hour=terms.most_attempts_per_hour,
        most_cards_per_day=terms.most_cards_per_day,
        most_customers_per_card=terms.most_customers_per_card,
        most_sign_ups_per_address=terms.most_sign_ups_per_address,
        freezes_on_fraud_warning=terms.freezes_on_fraud_warning,
        three_d_secure_first=terms.three_d_secure_first,
        tax_mode=TaxMode(terms.tax_mode),
        is_trusted=own.is_trusted,
        terms_url=terms.terms_url,
        terms_version=terms.terms_version,
    )


def terms_of_reseller(reseller_id: int) -> PaymentTerms:
    """The row, or one with the defaults that is not saved."""
    found = PaymentTerms.objects.filter(reseller_id=reseller_id).first()
    return found or PaymentTerms(reseller_id=reseller_id)


def check_top_up(organization: Organization, amount_minor: int, *, ip: str | None) -> None:
    """Raises a TopUpRefused class. Under the wallet's lock the count of attempts is exact.

    What it raises takes the caller's transaction with it, and an alert would go too: whoever catches the
    refusal outside of it calls `note_refusal`.
    """
    terms = terms_of(organization)
    wallet = Wallet.objects.get(pk=organization.pk)
    if wallet.status == WalletStatus.FROZEN:
        raise TopUpWhileFrozen(_("This wallet is frozen, so nothing can be paid in. Ask us to look at it."))
    _check_amount(terms, amount_minor)
    _check_first(organization, terms, amount_minor)
    _check_attempts(organization, terms, ip)


def note_refusal(organization: Organization, refusal: TopUpRefused, *, ip: str | None = None) -> None:
    """Tell operators of what looks like abuse; a mistyped amount is nobody's business. Outside of the
    transaction that was refused."""
    if isinstance(refusal, TopUpsTooOften | FirstTopUpTooLarge):
        raise_alert(
            kind=refusal.code,
            subject=f"organization {organization.pk}",
            message=f"{organization.name} was refused ({refusal.code}), from {ip or 'an unknown address'}.",
        )


def is_first_top_up(organization: Organization) -> bool:
    """Nothing it paid is free yet: while a first payment is held, the next one is a first one as well."""
    return not _paid(organization).filter(Q(held_until__isnull=True) | Q(unlocked_at__isnull=False)).exists()


def hold_for(organization: Organization, amount_minor: int, fingerprint: str) -> timedelta | None:
    """How long credit that was just paid for stays held; None: it is free at once.

    Call it in the transaction of the booking, under the wallet's lock and before this top-up is marked paid:
    what was paid before counts. A flagged card is told to operators here.
    """
    terms = terms_of(organization)
    concern = check_card(organization, fingerprint)
    if terms.is_trusted:
        return None
    waits = [concern.hold] if concern else []
    if is_first_top_up(organization) and _held_in_all(organization) + amount_minor > terms.hold_over_minor:
        waits.append(timedelta(hours=terms.hold_hours))
    longest = max(waits, default=timedelta(0))
    return longest or None


def check_card(organization: Organization, fingerprint: str) -> CardConcern | None:
    """What is wrong about a card that paid, or None. Raises an alert with it; refuses nothing.

    The payer's money is with us already: to refuse it here would lose it. Its credit is held instead, and an
    operator frees it or pays it back. No fingerprint: no card, nothing to say.
    """
    if not fingerprint:
        return None
    terms = terms_of(organization)
    hold = max(timedelta(hours=terms.hold_hours), LEAST_FLAGGED_HOLD)
    if (count := _customers_of(fingerprint, organization)) > terms.most_customers_per_card:
        text = f"One card pays for {count} customers."
        concern = CardConcern("card_of_many_customers", text, hold)
    elif (count := _cards_of(organization, fingerprint)) > terms.most_cards_per_day:
        text = f"{count} different cards were used within a day."
        concern = CardConcern("many_cards_a_day", text, hold)
    else:
        return None
    raise_alert(
        kind=concern.code,
        subject=f"organization {organization.pk}",
        message=f"{organization.name}: {concern.message}",
    )
    return concern


def tax_for(organization: Organization, amount_minor: int) -> Tax:
    """Own rates: by the country of the billing details, half a cent up. No country or no rate: no tax."""
    mode = TaxMode(terms_of_reseller(organization.reseller_id).tax_mode)
    details = BillingDetails.across_all_organizations.filter(organization=organization).first()
    country = details.country.upper() if details else ""
    if mode != TaxMode.OWN or not country:
        return Tax(mode=mode, country=country)
    rates = TaxRate.objects.filter(reseller_id=organization.reseller_id, is_active=True)
    rate = rates.filter(country__iexact=country).first()
    if rate is None:
        return Tax(mode=mode, country=country)
    return Tax(
        mode=mode,
        country=country,
        name=rate.name,
        parts_per_million=rate.parts_per_million,
        tax_minor=half_up(amount_minor * rate.parts_per_million, MILLION),
        stripe_rate_id=rate.stripe_id,
    )


def half_up(numerator: int, denominator: int) -> int:
    """numerator / denominator of what is not negative, to the nearest whole; a half goes up."""
    return (2 * numerator + denominator) // (2 * denominator)


def minor_money(amount_minor: int) -> str:
    """Cents as people read them."""
    return money_exact(amount_minor * NANO_PER_CENT)


def _check_amount(terms: Terms, amount_minor: int) -> None:
    if amount_minor < terms.least_minor:
        text = _("The smallest top-up is %(amount)s.") % {"amount": minor_money(terms.least_minor)}
        raise TopUpTooSmall(text, param="amount")
    if amount_minor > terms.most_minor:
        text = _("The largest top-up is %(amount)s.") % {"amount": minor_money(terms.most_minor)}
        raise TopUpTooLarge(text, param="amount")


def _check_first(organization: Organization, terms: Terms, amount_minor: int) -> None:
    """Until something paid is free, all payments together count as the first."""
    if terms.is_trusted or not is_first_top_up(organization):
        return
    left = terms.first_most_minor - _held_in_all(organization)
    if amount_minor <= left:
        return
    if left < terms.least_minor:
        text = _("Your first payment is being checked. You can top up again when it is credited.")
    else:
        text = _("Your first top-up can be at most %(amount)s.") % {"amount": minor_money(left)}
    raise FirstTopUpTooLarge(text, param="amount")


def _check_attempts(organization: Organization, terms: Terms, ip: str | None) -> None:
    since = timezone.now() - ATTEMPTS_COUNT_FOR
    recent = TopUp.across_all_organizations.filter(origin=TopUpOrigin.CHECKOUT, created_at__gt=since)
    most = terms.most_attempts_per_hour
    tries = recent.filter(organization=organization).count()
    if tries < most and (
        not _is_known(ip) or recent.filter(requested_ip=ip).count() < most * CUSTOMERS_PER_ADDRESS
    ):
        return
    text = _("At most %(count)d payments can be started in an hour. Try again later.") % {"count": most}
    raise TopUpsTooOften(text, headers={"retry-after": str(int(ATTEMPTS_COUNT_FOR.total_seconds()))})


def _is_known(ip: str | None) -> bool:
    """The machine's own address is nobody's: it stands there when a proxy hides who asks."""
    return ip is not None and not ip_address(ip).is_loopback


def _paid(organization: Organization) -> QuerySet[TopUp]:
    rows: QuerySet[TopUp] = TopUp.across_all_organizations.filter(
        organization=organization, state=TopUpState.PAID
    )
    return rows


def _held_in_all(organization: Organization) -> int:
    """Paid and not free. What was paid back instead stops counting when its time is over."""
    held = _paid(organization).filter(held_until__gt=timezone.now(), unlocked_at__isnull=True)
    return held.aggregate(total=Sum("amount_minor"))["total"] or 0


def _customers_of(fingerprint: str, organization: Organization) -> int:
    """How many pay or keep this card, the one that just did included; over all resellers."""
    paid = TopUp.across_all_organizations.filter(payment_fingerprint=fingerprint)
    kept = SavedCard.across_all_organizations.filter(fingerprint=fingerprint)
    ids = (*paid.values_list("organization_id", flat=True), *kept.values_list("organization_id", flat=True))
    return len({organization.pk, *ids})


def _cards_of(organization: Organization, fingerprint: str) -> int:
    """How many different cards it paid with or saved within a day, this one included."""
    since = timezone.now() - CARDS_COUNT_FOR
    paid = TopUp.across_all_organizations.filter(organization=organization, created_at__gt=since)
    kept = SavedCard.across_all_organizations.filter(organization=organization, saved_at__gt=since)
    seen = (
        *paid.exclude(payment_fingerprint="").values_list("payment_fingerprint", flat=True),
        *kept.exclude(fingerprint="").values_list("fingerprint", flat=True),
    )
    return len({fingerprint, *seen})
