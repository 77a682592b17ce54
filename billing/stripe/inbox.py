"""Events of Stripe's: stored once, answered, and looked at after that.

An event says which object to read again, never what to book. So duplicates, wrong order, and events that
never come cost time at most.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import structlog
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts.alerts import raise_alert
from billing.models import StripeEvent, StripeEventState
from billing.stripe.client import (
    PaymentsOff,
    StripeKeyRefused,
    StripeMissing,
    StripeUnknown,
    is_test_mode,
    payments_are_on,
)
from billing.stripe.disputes import on_dispute, on_fraud_warning, on_payout
from billing.stripe.outcomes import Done, Ignored, NotYet, Outcome, Refused
from billing.stripe.payment_events import (
    give_up_payment,
    on_charge,
    on_payment_intent,
    on_payment_method,
    on_session,
    on_setup_intent,
)
from billing.stripe.reading import moment_of
from billing.stripe.refunds import on_charge_refunded, on_refund
from common.errors import AppError
from common.locking import RowsBusy

__all__ = ["HANDLERS", "Done", "Handler", "Ignored", "NotYet", "Outcome", "Refused"]

Handler = Callable[[StripeEvent], Outcome]

# One line a type. A handler reads `event.object_id` again at Stripe and calls the service that books what is
# missing; it may run twice, in any order. Modules of handlers import their outcomes from
# `billing.stripe.outcomes`: this module imports them.
HANDLERS: dict[str, Handler] = {
    "checkout.session.completed": on_session,
    "checkout.session.async_payment_succeeded": on_session,
    "checkout.session.async_payment_failed": on_session,
    "checkout.session.expired": on_session,
    "payment_intent.succeeded": on_payment_intent,
    "payment_intent.payment_failed": on_payment_intent,
    "payment_intent.processing": on_payment_intent,
    "payment_intent.requires_action": on_payment_intent,
    "payment_intent.canceled": on_payment_intent,
    "charge.succeeded": on_charge,
    "charge.updated": on_charge,
    "setup_intent.succeeded": on_setup_intent,
    "payment_method.attached": on_payment_method,
    "payment_method.detached": on_payment_method,
    "payment_method.updated": on_payment_method,
    "payment_method.automatically_updated": on_payment_method,
    "refund.created": on_refund,
    "refund.updated": on_refund,
    "refund.failed": on_refund,
    "charge.refunded": on_charge_refunded,
    "charge.dispute.created": on_dispute,
    "charge.dispute.updated": on_dispute,
    "charge.dispute.funds_withdrawn": on_dispute,
    "charge.dispute.funds_reinstated": on_dispute,
    "charge.dispute.closed": on_dispute,
    "radar.early_fraud_warning.created": on_fraud_warning,
    "payout.created": on_payout,
    "payout.paid": on_payout,
    "payout.failed": on_payout,
    "payout.canceled": on_payout,
}

# What is done about an event that nobody here could place within `WAITS`. For all others: an alert.
LAST_RESORT: dict[str, Handler] = {
    "checkout.session.completed": give_up_payment,
    "checkout.session.async_payment_succeeded": give_up_payment,
    "payment_intent.succeeded": give_up_payment,
    "charge.succeeded": give_up_payment,
}

WAITS = timedelta(hours=24)
FIRST_TRY_WITHIN = timedelta(seconds=30)
LONGEST_BACK_OFF = timedelta(hours=1)
SWEPT_AT_ONCE = 200
KEPT_FOR = timedelta(days=30)

log = structlog.get_logger(__name__)


def store_event(event: Mapping[str, Any], *, came_by: str) -> StripeEvent | None:
    """Once for each event id; None where it was stored before. Raises LookupError, TypeError for others.

    One of the other mode, live or test, is kept as refused.
    """
    about = event["data"]["object"]
    row, is_new = StripeEvent.objects.get_or_create(
        event_id=event["id"],
        defaults={
            "type": str(event["type"])[:100],
            "livemode": bool(event["livemode"]),
            "object_id": str(about.get("id") or "")[:255],
            "payload": dict(event),
            "happened_at": moment_of(int(event["created"])),
            "came_by": came_by,
            "next_try_at": timezone.now() + FIRST_TRY_WITHIN,
            **_ended_at_once(event),
        },
    )
    return row if is_new else None


def process_event(event_id: int) -> None:
    """Look at an event that waits; one that has ended stays as it is. Not inside a transaction."""
    event = _claim(event_id)
    if event is None:
        return
    outcome, is_settled = _look_at(event)
    if isinstance(outcome, NotYet) and is_settled and timezone.now() - event.received_at >= WAITS:
        outcome = _give_up(event, outcome)
    _write_down(event, outcome)


def sweep_inbox() -> int:
    """Every event whose time has come; returns how many were looked at."""
    if not payments_are_on():
        return 0
    due = StripeEvent.objects.filter(
        Q(next_try_at=None) | Q(next_try_at__lte=timezone.now()), state=StripeEventState.WAITING
    )
    ids = list(due.order_by("next_try_at").values_list("pk", flat=True)[:SWEPT_AT_ONCE])
    for event_id in ids:
        _process_alone(event_id)
    return len(ids)


def forget_payloads() -> int:
    """What events carried has names and addresses in it: nobody needs it once Stripe lists it no longer."""
    old = StripeEvent.objects.filter(ended_at__lt=timezone.now() - KEPT_FOR).exclude(payload={})
    return old.update(payload={})


def _process_alone(event_id: int) -> None:
    try:
        process_event(event_id)
    except Exception:
        log.exception("stripe_event_failed", row=event_id)


def _ended_at_once(event: Mapping[str, Any]) -> dict[str, Any]:
    """What needs no look: events of the other mode, and of types that nothing is done for."""
    if bool(event["livemode"]) == is_test_mode():
        outcome: Refused | Ignored = Refused("of the other mode, live or test, than our key")
    elif event["type"] not in HANDLERS:
        outcome = Ignored("nothing is to be done for this type")
    else:
        return {}
    now = timezone.now()
    return {
        "state": STATES[type(outcome)],
        "reason": outcome.reason,
        "next_try_at": None,
        "ended_at": now,
    }


@transaction.atomic
def _claim(event_id: int) -> StripeEvent | None:
    """Whoever dies after this has its next try set already."""
    rows = StripeEvent.objects.select_for_update(skip_locked=True)
    event = rows.filter(pk=event_id, state=StripeEventState.WAITING).first()
    if event is None:
        return None
    event.tries += 1
    event.next_try_at = timezone.now() + _back_off(event.tries)
    event.save(update_fields=["tries", "next_try_at"])
    return event


def _back_off(tries: int) -> timedelta:
    return min(LONGEST_BACK_OFF, timedelta(seconds=15 * (1 << min(tries - 1, 10))))


def _look_at(event: StripeEvent) -> tuple[Outcome, bool]:
    """And whether that is an answer: where Stripe or our rows could not be asked, it is none."""
    handler = HANDLERS.get(event.type)
    if handler is None:
        return Ignored("nothing is to be done for this type"), True
    try:
        return handler(event), True
    except (StripeUnknown, StripeKeyRefused, PaymentsOff, RowsBusy) as error:
        return NotYet(error.code), False
    except StripeMissing:
        return NotYet("Stripe has no such object"), True
    except AppError as error:
        log.warning("stripe_event_put_off", stripe_event=event.event_id, error=error.code, text=error.message)
        return NotYet(f"{error.code}: {error.message}"), True


def _give_up(event: StripeEvent, outcome: NotYet) -> Outcome:
    if event.type in LAST_RESORT:
        try:
            return LAST_RESORT[event.type](event)
        except AppError as error:
            log.warning("stripe_event_put_off", stripe_event=event.event_id, error=error.code)
            return NotYet(error.code)
    raise_alert(
        kind="stripe_event_given_up",
        subject=event.type,
        message=f"{event.event_id} about {event.object_id} could not be placed: {outcome.reason}",
    )
    return Refused(f"given up: {outcome.reason}")


STATES = {
    Done: StripeEventState.DONE,
    Ignored: StripeEventState.IGNORED,
    NotYet: StripeEventState.WAITING,
    Refused: StripeEventState.REFUSED,
}


def _write_down(event: StripeEvent, outcome: Outcome) -> None:
    """What ended meanwhile, in another process, stays as it ended."""
    state = STATES[type(outcome)]
    has_ended = state != StripeEventState.WAITING
    StripeEvent.objects.filter(pk=event.pk, state=StripeEventState.WAITING).update(
        state=state,
        reason=getattr(outcome, "reason", "")[:300],
        **({"ended_at": timezone.now(), "next_try_at": None} if has_ended else {}),
    )
    log.info("stripe_event", stripe_event=event.event_id, type=event.type, state=state)
