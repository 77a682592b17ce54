"""The one connection to Stripe, and what its errors mean to us: refused, declined, or not known yet."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import stripe
from django.conf import settings
from django.utils.translation import gettext as _

from common.errors import AppError

TEST_KEYS = ("sk_test_", "rk_test_")
TIMEOUT_S = 20
RETRIES = 2
START_TIMEOUT_S = 5
HTTP_FAILED = 500
KEY_IS_WRONG = (
    "Stripe refuses STRIPE_API_KEY ({status}): nobody can pay by card. Copy a secret key of the right account"
    " from https://dashboard.stripe.com/apikeys; a restricted one needs to write Checkout Sessions,"
    " Customers, Payment Intents and Refunds, and to read the rest."
)


class PaymentsOff(AppError):
    """There is no key for Stripe: nothing can be paid by card here, and nobody was asked."""

    code = "payments_off"
    http_status = 503


class StripeUnknown(AppError):
    """Stripe did not say what came of the call: it may have happened. Try again later under the same
    idempotency key, or read the object again; never under a new key.

    `key_is_spent`: Stripe failed, and answers the same under this key for a day. Only here a new key is
    right, after a look at what the call may have made.
    """

    code = "stripe_unknown"
    http_status = 503

    def __init__(self, message: str, *, key_is_spent: bool = False) -> None:
        super().__init__(message)
        self.key_is_spent = key_is_spent


class StripeRefused(AppError):
    """Stripe refuses this request and always will: nothing happened. `stripe_code` is its word for why."""

    code = "stripe_refused"
    http_status = 502

    def __init__(self, message: str, *, stripe_code: str = "") -> None:
        super().__init__(message)
        self.stripe_code = stripe_code


class StripeMissing(StripeRefused):
    """Stripe has no such object for our key."""

    code = "stripe_missing"


class StripeKeyRefused(StripeRefused):
    """The key is wrong, revoked, or may not do this."""

    code = "stripe_key_refused"


class StripeKeyReused(StripeRefused):
    """The idempotency key was used before with other parameters: look for what that call made."""

    code = "stripe_key_reused"


class CardDeclined(AppError):
    """The bank said no; nothing was charged. `stripe_code` is `authentication_required` where the bank wants
    to ask the card's owner; `payment_intent_id` is what the attempt left behind."""

    code = "card_declined"
    http_status = 402

    def __init__(
        self, message: str, *, stripe_code: str, decline_code: str = "", payment_intent_id: str | None = None
    ) -> None:
        super().__init__(message)
        self.stripe_code = stripe_code
        self.decline_code = decline_code
        self.payment_intent_id = payment_intent_id


def payments_are_on() -> bool:
    return bool(settings.STRIPE_API_KEY)


def is_test_mode() -> bool:
    """No real money moves."""
    return (settings.STRIPE_API_KEY or "").startswith(TEST_KEYS)


def stripe_client() -> stripe.StripeClient:
    """One per process and key. Use it inside `asking_stripe`. Raises PaymentsOff."""
    if not payments_are_on():
        raise PaymentsOff(_("Payment by card is not set up here."))
    return _client(settings.STRIPE_API_KEY, settings.STRIPE_API_BASE)


@cache
def _client(api_key: str, api_base: str) -> stripe.StripeClient:
    return stripe.StripeClient(
        api_key,
        base_addresses={"api": api_base},
        max_network_retries=RETRIES,
        http_client=stripe.RequestsClient(timeout=TIMEOUT_S),
    )


def key_trouble() -> str:
    """What Stripe says against our key, for the people who start the platform; nothing where all is well.

    Asked once, without patience: that Stripe is away now says nothing about the key.
    """
    if not payments_are_on():
        return ""
    asked = stripe.StripeClient(
        str(settings.STRIPE_API_KEY),
        base_addresses={"api": settings.STRIPE_API_BASE},
        max_network_retries=0,
        http_client=stripe.RequestsClient(timeout=START_TIMEOUT_S),
    )
    try:
        asked.v1.payment_intents.list({"limit": 1})
    except (stripe.AuthenticationError, stripe.PermissionError) as error:
        return KEY_IS_WRONG.format(status=error.http_status)
    except stripe.StripeError as error:
        return f"Stripe could not be asked ({type(error).__name__}). Payment by card works when it answers."
    return ""


@contextmanager
def asking_stripe() -> Iterator[None]:
    """Never inside a database transaction that holds locks.

    Raises StripeUnknown, CardDeclined, StripeRefused and its kinds instead of the SDK's errors.
    """
    try:
        yield
    except stripe.CardError as error:
        raise _declined(error) from error
    except (stripe.APIConnectionError, stripe.RateLimitError, stripe.APIError) as error:
        text = _("Stripe did not answer. Nothing is lost: try again in a moment.")
        raise StripeUnknown(text, key_is_spent=error.http_status == HTTP_FAILED) from error
    except stripe.StripeError as error:
        raise _refused(error) from error


def _declined(error: stripe.CardError) -> CardDeclined:
    intent = getattr(error.error, "payment_intent", None)
    return CardDeclined(
        error.user_message or "",
        stripe_code=error.code or "card_declined",
        decline_code=getattr(error.error, "decline_code", None) or "",
        payment_intent_id=getattr(intent, "id", None),
    )


def _refused(error: stripe.StripeError) -> StripeRefused:
    """Stripe's own words are for our logs; it masks keys in them."""
    kind = StripeRefused
    if error.code == "resource_missing":
        kind = StripeMissing
    elif isinstance(error, stripe.AuthenticationError | stripe.PermissionError):
        kind = StripeKeyRefused
    elif isinstance(error, stripe.IdempotencyError):
        kind = StripeKeyReused
    return kind(error.user_message or "", stripe_code=error.code or type(error).__name__)
