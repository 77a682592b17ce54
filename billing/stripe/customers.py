"""Whom Stripe knows an organization as: one customer there for each here, made when first needed."""

import structlog
from django.db import transaction

from accounts.models import Organization, Role
from billing.models import StripeCustomer, Wallet
from billing.stripe.client import StripeRefused, StripeUnknown, asking_stripe, is_test_mode, stripe_client
from common.locking import lock_rows

# Keys that Stripe failed under are spent.
MOST_KEYS = 4

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


def _make(organization: Organization) -> str:
    """One that Stripe made and failed to tell of stays there unused: nothing was ever attached to it."""
    number = 1
    while True:
        key = f"customer-{organization.pk}" + (f"-{number}" if number > 1 else "")
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
