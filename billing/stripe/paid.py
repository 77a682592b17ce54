"""Which paid top-up an object of Stripe's belongs to, whatever we have heard of its payment so far."""

from billing.models import TopUp, TopUpState
from billing.stripe.payments import read_payment
from billing.top_ups import reconcile_top_up


def paid_top_up(payment_intent_id: str | None) -> TopUp | None:
    """Books the payment where that was still to come: events arrive in any order.

    None where it is nobody's top-up, or is not paid. Raises StripeUnknown, StripeRefused, RowsBusy.
    """
    if payment_intent_id is None:
        return None
    rows = TopUp.across_all_organizations.all()
    found: TopUp | None = rows.filter(payment_intent_id=payment_intent_id).first()
    if found is None:
        named = read_payment(payment_intent_id).top_up_id
        found = rows.filter(pk=named).first() if named is not None else None
    if found is not None and found.state != TopUpState.PAID:
        found = reconcile_top_up(found.pk)
    if found is None or found.state != TopUpState.PAID or found.payment_intent_id != payment_intent_id:
        return None
    return found
