"""A reseller's own tax rates as Stripe knows them; made there when first needed, and never changed."""

from billing.models import TaxRate
from billing.stripe.client import StripeMissing, asking_stripe, stripe_client
from billing.terms import Tax

MILLIONTHS_PER_PERCENT = 10_000


def tax_rate_of(reseller_id: int, tax: Tax) -> str:
    """Stripe's id of the rate. Raises StripeUnknown, StripeRefused; TaxRate.DoesNotExist."""
    if tax.stripe_rate_id:
        return tax.stripe_rate_id
    rate = TaxRate.objects.get(reseller_id=reseller_id, is_active=True, country__iexact=tax.country)
    whole, part = divmod(rate.parts_per_million, MILLIONTHS_PER_PERCENT)
    with asking_stripe():
        made = stripe_client().v1.tax_rates.create(
            {
                "display_name": rate.name,
                "country": rate.country.upper(),
                "inclusive": False,
                "percentage": float(f"{whole}.{part:04d}"),  # as its decimals are written, nothing is counted
                "metadata": {"tax_rate": str(rate.pk)},
            },
            {"idempotency_key": f"taxrate-{rate.pk}-{rate.parts_per_million}"},
        )
    TaxRate.objects.filter(pk=rate.pk).update(stripe_id=made.id)
    return made.id


def forget_missing_rate(stripe_rate_id: str) -> bool:
    """Whether Stripe does not know it any more: it is made again when next needed.

    Raises StripeUnknown, StripeRefused.
    """
    try:
        with asking_stripe():
            stripe_client().v1.tax_rates.retrieve(stripe_rate_id)
    except StripeMissing:
        TaxRate.objects.filter(stripe_id=stripe_rate_id).update(stripe_id="")
        return True
    return False
