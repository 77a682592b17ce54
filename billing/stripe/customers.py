"""Whom Stripe knows an organization as: one customer there for each here, made when first needed.

A customer that Stripe does not know any more was deleted there, or our key is another account's now: another
one takes its place, and the cards it had are no more.
"""

import structlog
from django.db import transaction
from django.utils import timezone

from accounts.alerts import raise_alert
from accounts.models import Organization, Role
from accounts.services import record_audit
from billing.models import FormerStripeCustomer, RechargeRule, SavedCard, StripeCustomer, Wallet
from billing.stripe.client import (
    StripeMissing,
    StripeRefused,
    StripeUnknown,
    asking_stripe,
    is_test_mode,
    stripe_client,
)
from common.locking import lock_rows

# Keys that Stripe failed under are spent.
MOST_KEYS = 4
ALERT = "stripe_customer_gone"
CUSTOMER_GONE = "customer_gone"

log = structlog.get_logger(__name__)


def customer_of(organization: Organization) -> str:
    """Never two: whoever asks at the same time uses the same idempotency key, and the first row counts.

    A customer of test mode is replaced when there is a live key. Raises StripeUnknown, StripeRefused.
    """
    known = StripeCustomer.objects.filter(organization=organization, livemode=not is_test_mode()).first()
    if known is not None:
        return known.customer_id
    customer_id = _keep(organization, _make(organization))
    _introduce(organization, customer_id)
    return customer_id


def replace_customer(organization: Organization, gone_id: str) -> str | None:
    """Whoever takes the place of a customer that a call to Stripe found missing.

    None: that one is there, so something else is missing. Not inside a transaction.
    Raises StripeUnknown, StripeRefused.
    """
    if _is_there(gone_id):
        return None
    formers = FormerStripeCustomer.objects.filter(organization=organization, livemode=not is_test_mode())
    ids = formers.exclude(customer_id=gone_id).order_by("-replaced_at").values_list("customer_id", flat=True)
    known_again = next(filter(_is_there, ids), None)
    customer_id = _put_in_its_place(
        organization, gone_id, known_again or _make(organization, instead_of=gone_id)
    )
    _introduce(organization, customer_id)
    return customer_id


def _is_there(customer_id: str) -> bool:
    try:
        with asking_stripe():
            found = stripe_client().v1.customers.retrieve(customer_id)
    except StripeMissing:
        return False
    return not getattr(found, "deleted", False)


def _make(organization: Organization, *, instead_of: str = "") -> str:
    """One that Stripe made and failed to tell of stays there unused: nothing was ever attached to it.

    `instead_of` is in the key: under the old one Stripe would name the customer that was deleted.
    """
    base = f"customer-{organization.pk}" + (f"-not-{instead_of}" if instead_of else "")
    number = 1
    while True:
        key = base + (f"-{number}" if number > 1 else "")
        try:
            with asking_stripe():
                # Nothing that may change stands in it: other parameters under one key would be refused.
                made = stripe_client().v1.customers.create(
                    {"metadata": {"organization": str(organization.pk)}}, {"idempotency_key": key}
                )
                return made.id
        except StripeUnknown as error:
            if not error.key_is_spent or number == MOST_KEYS:
                raise
        number += 1


@transaction.atomic
def _put_in_its_place(organization: Organization, gone_id: str, customer_id: str) -> str:
    """Once, whoever else found it missing. No row of money is touched; its cards cannot be charged again."""
    lock_rows(Wallet.objects.all(), [organization.pk])
    [known] = StripeCustomer.objects.filter(organization=organization)
    if known.customer_id != gone_id:
        return known.customer_id
    FormerStripeCustomer.objects.filter(customer_id=customer_id).delete()
    FormerStripeCustomer.objects.create(
        organization=organization, customer_id=gone_id, livemode=known.livemode
    )
    StripeCustomer.objects.filter(pk=known.pk).update(customer_id=customer_id, livemode=not is_test_mode())
    cards = SavedCard.across_all_organizations.filter(organization=organization, removed_at=None)
    rules = RechargeRule.across_all_organizations.filter(organization=organization, is_on=True)
    record_audit(
        action="stripe_customer.replaced",
        subject=known,
        actor=None,
        organization=organization,
        before={"customer": gone_id},
        after={
            "customer": customer_id,
            "cards_dropped": cards.update(removed_at=timezone.now()),
            "recharge_turned_off": bool(rules.update(is_on=False, turned_off_because=CUSTOMER_GONE)),
        },
    )
    _tell(organization, gone_id)
    return customer_id


def _tell(organization: Organization, gone_id: str) -> None:
    """One alert, however many customers an account has that is another one now."""
    raise_alert(
        kind=ALERT,
        subject="Stripe",
        message=f"Stripe does not know {gone_id} of {organization.name} any more: it was deleted there, or "
        "STRIPE_API_KEY is of another account. A new customer took its place, its saved cards are gone and "
        "its auto-recharge is off. What was paid at another account last can be seen only there.",
    )


@transaction.atomic
def _keep(organization: Organization, customer_id: str) -> str:
    lock_rows(Wallet.objects.all(), [organization.pk])
    livemode = not is_test_mode()
    known = StripeCustomer.objects.filter(organization=organization, livemode=livemode).first()
    if known is not None:
        return known.customer_id
    StripeCustomer.objects.update_or_create(
        organization=organization, defaults={"customer_id": customer_id, "livemode": livemode}
    )
    return customer_id


def _introduce(organization: Organization, customer_id: str) -> None:
    """Name and address for receipts. Without them the payment page asks, so a failure costs nothing more."""
    owner = organization.members.filter(membership__role=Role.OWNER).order_by("pk").first()
    try:
        with asking_stripe():
            stripe_client().v1.customers.update(
                customer_id, {"name": organization.name, **({"email": owner.email} if owner else {})}
            )
    except (StripeUnknown, StripeRefused) as error:
        log.warning("stripe_customer_not_introduced", organization=organization.pk, error=error.code)
