"""Where Stripe tells us what happened: check who speaks, keep it, answer; look at it afterwards."""

import json
from typing import Any

import stripe
import structlog
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils.encoding import force_str
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from accounts.alerts import raise_alert
from billing.models import StripeEvent, StripeEventState
from billing.stripe.client import payments_are_on
from billing.stripe.inbox import store_event
from billing.tasks import process_stripe_event
from common.errors import AppError

ALERT = "stripe_webhook_refused"
TOLERANCE_S = stripe.Webhook.DEFAULT_TOLERANCE

log = structlog.get_logger(__name__)


class WebhookRefused(AppError):
    """Stripe did not say this, or we cannot tell that it did. `subject` names the kind of refusal."""

    code = "webhook_refused"

    def __init__(self, subject: str, message: str) -> None:
        super().__init__(message)
        self.subject = subject


@csrf_exempt
@require_POST
def stripe_webhook(request: HttpRequest) -> HttpResponse:
    """200 as soon as the event is stored, whatever comes of it; 400 for what is not Stripe's."""
    try:
        event = _read(request)
        with transaction.atomic():
            row = store_event(event, came_by="webhook")
            if row is not None:
                _after_commit(row)
    except WebhookRefused as refusal:
        return _refuse(refusal)
    except (LookupError, TypeError, ValueError, AttributeError):
        return _refuse(WebhookRefused("malformed", "It is signed, but it is not an event as we know them."))
    return HttpResponse(status=200)


def _read(request: HttpRequest) -> Any:
    """The event, from the very bytes that were signed. Raises WebhookRefused, ValueError."""
    if not payments_are_on() or not settings.STRIPE_WEBHOOK_SECRETS:
        raise WebhookRefused(
            "off", "It cannot be checked: STRIPE_API_KEY or STRIPE_WEBHOOK_SECRET is not set."
        )
    signature = request.headers.get("Stripe-Signature", "")
    if not any(_is_signed(request.body, signature, secret) for secret in settings.STRIPE_WEBHOOK_SECRETS):
        raise WebhookRefused("signature", "It is not signed with a secret of ours, or is too old.")
    return json.loads(request.body)


def _is_signed(body: bytes, signature: str, secret: str) -> bool:
    try:
        return bool(stripe.WebhookSignature.verify_header(force_str(body), signature, secret, TOLERANCE_S))
    except (stripe.SignatureVerificationError, ValueError):
        return False


def _after_commit(row: StripeEvent) -> None:
    """Where the broker is away, the sweep finds it."""
    if row.state == StripeEventState.WAITING:
        transaction.on_commit(lambda: process_stripe_event.delay(row.pk), robust=True)
    elif row.state == StripeEventState.REFUSED:
        raise_alert(
            kind=ALERT,
            subject="mode",
            message=f"{row.event_id} ({row.type}) is {row.reason}. Was the other mode's webhook set up here?",
        )


def _refuse(refusal: WebhookRefused) -> HttpResponse:
    log.warning("stripe_webhook_refused", why=refusal.subject)
    raise_alert(kind=ALERT, subject=refusal.subject, message=refusal.message)
    return HttpResponse(status=400)
