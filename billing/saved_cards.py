"""Cards that customers left with Stripe, as Stripe has them now."""

from django.db import transaction
from django.utils import timezone

from billing.models import SavedCard, StripeCustomer
from billing.payment_facts import CardFacts


@transaction.atomic
def keep_card(facts: CardFacts) -> SavedCard | None:
    """Ours is like Stripe's after this, whatever came before. A card that was removed never comes back.

    None: it is no card, or nobody's here any more.
    """
    owner = StripeCustomer.objects.filter(customer_id=facts.customer_id or "").first()
    rows = SavedCard.across_all_organizations.filter(payment_method_id=facts.payment_method_id)
    if owner is None or not facts.is_card:
        rows.filter(removed_at=None).update(removed_at=timezone.now())
        return None
    card, _is_new = SavedCard.across_all_organizations.update_or_create(
        payment_method_id=facts.payment_method_id,
        defaults={
            "brand": facts.brand[:20],
            "last4": facts.last4,
            "expires_month": facts.expires_month,
            "expires_year": facts.expires_year,
            "fingerprint": facts.fingerprint,
        },
        create_defaults={
            "organization_id": owner.organization_id,
            "brand": facts.brand[:20],
            "last4": facts.last4,
            "expires_month": facts.expires_month,
            "expires_year": facts.expires_year,
            "fingerprint": facts.fingerprint,
        },
    )
    return card
