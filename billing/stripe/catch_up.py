"""What happened at Stripe and was never told to us: its list of events, and payments that are under way."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.db.models import Max, Q
from django.utils import timezone

from billing.models import StripeEvent, TopUp, TopUpOrigin, TopUpState
from billing.stripe.client import asking_stripe, payments_are_on, stripe_client
from billing.stripe.inbox import HANDLERS, store_event, sweep_inbox
from billing.top_ups import reconcile_top_up
from common.errors import AppError

# Stripe keeps events for thirty days.
LISTED_FOR = timedelta(days=29)
OVERLAP = timedelta(minutes=15)
LONG_OVERLAP = timedelta(days=3)
PAGE = 100
AT_ONCE = 50

# Younger than this -> looked at again after that. The first is what a customer who waits for webhooks that
# never come has to wait.
PATIENCE = (
    (timedelta(minutes=30), timedelta(seconds=15)),
    (timedelta(hours=3), timedelta(minutes=2)),
    (timedelta(days=1), timedelta(minutes=15)),
    (timedelta(days=365), timedelta(hours=2)),
)

log = structlog.get_logger(__name__)


def catch_up(*, overlap: timedelta = OVERLAP) -> int:
    """Store what Stripe lists and we have not, from `overlap` before the newest we know; returns how many.

    Raises StripeUnknown, StripeRefused; what was stored by then is kept.
    """
    if not payments_are_on():
        return 0
    since = max(_newest() - overlap, timezone.now() - LISTED_FOR)
    stored = 0
    with asking_stripe():
        listed = stripe_client().v1.events.list({"created": {"gte": int(since.timestamp())}, "limit": PAGE})
        for event in listed.auto_paging_iter():
            if event.type in HANDLERS and store_event(event.to_dict(), came_by="catch-up") is not None:
                stored += 1
    if stored:
        log.info("stripe_events_caught_up", stored=stored, since=since.isoformat())
        StripeEvent.objects.filter(came_by="catch-up", tries=0).update(next_try_at=timezone.now())
        sweep_inbox()
    return stored


def reconcile_top_ups_under_way() -> int:
    """Compare what is not paid yet with Stripe, young ones more often; returns how many were compared."""
    if not payments_are_on():
        return 0
    ids = list(_due(timezone.now()))
    for top_up_id in ids:
        _reconcile_alone(top_up_id)
    return len(ids)


def _newest() -> datetime:
    newest: datetime | None = StripeEvent.objects.aggregate(newest=Max("happened_at"))["newest"]
    return newest or timezone.now() - LISTED_FOR


def _due(now: datetime) -> Iterable[UUID]:
    waits = Q()
    older_than = now
    for age, patience in PATIENCE:
        waits |= Q(created_at__gt=now - age, created_at__lte=older_than, checked_at__lte=now - patience)
        older_than = now - age
    rows = TopUp.across_all_organizations.filter(
        waits | Q(checked_at=None, created_at__lte=now - PATIENCE[0][1]),
        origin=TopUpOrigin.CHECKOUT,  # who charges cards looks after what it charged
        state__in=UNDER_WAY,
    )
    return rows.order_by("checked_at").values_list("pk", flat=True)[:AT_ONCE]


UNDER_WAY = (TopUpState.CREATED, TopUpState.OPEN, TopUpState.PROCESSING, TopUpState.ACTION_REQUIRED)


def _reconcile_alone(top_up_id: UUID) -> None:
    """It waits its time again, also when Stripe does not answer."""
    TopUp.across_all_organizations.filter(pk=top_up_id).update(checked_at=timezone.now())
    try:
        reconcile_top_up(top_up_id)
    except AppError as error:
        log.warning("top_up_not_compared", top_up=str(top_up_id), error=error.code)
