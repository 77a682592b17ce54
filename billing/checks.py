"""Whether the settings for Stripe can be right, found at start instead of by the first customer."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, register

KEYS = ("sk_test_", "rk_test_", "sk_live_", "rk_live_")
LIVE_KEYS = ("sk_live_", "rk_live_")
SECRET = "whsec_"  # noqa: S105 - how one begins
LOOPBACK = ("127.0.0.1", "localhost", "::1")
PAGE = "https://dashboard.stripe.com/apikeys"


@register(checks.Tags.security)
def check_stripe_settings(_app_configs: Sequence[Any] | None = None, **_kwargs: Any) -> list[CheckMessage]:
    """No key is no mistake: payment by card is off then."""
    key = settings.STRIPE_API_KEY or ""
    secrets = settings.STRIPE_WEBHOOK_SECRETS
    if not key:
        return [_secret_alone()] if secrets else []
    return [*_of_key(key), *_of_secrets(secrets), *_of_base(key, settings.STRIPE_API_BASE)]


def _of_key(key: str) -> list[CheckMessage]:
    if not key.startswith(KEYS) or key in KEYS or any(sign.isspace() for sign in key):
        kind = " This is the publishable key." if key.startswith("pk_") else ""
        return [
            Error(
                f"STRIPE_API_KEY is no secret key of Stripe's.{kind}",
                hint=f"It begins with sk_test_ or sk_live_ (rk_… if it is restricted): copy it from {PAGE}.",
                id="billing.E001",
            )
        ]
    if key.startswith(LIVE_KEYS) and settings.DEBUG:
        return [
            Error(
                "DEBUG is on with a live key of Stripe's: error pages show what customers must not see.",
                hint="Set DEBUG=false, or use a key that begins with sk_test_.",
                id="billing.E003",
            )
        ]
    return []


def _of_secrets(secrets: Sequence[str]) -> list[CheckMessage]:
    if not secrets:
        return [
            checks.Warning(
                "STRIPE_API_KEY is set, STRIPE_WEBHOOK_SECRET is not: payments show up to a minute late.",
                hint="Make a webhook endpoint for /stripe/webhook at Stripe and set its signing secret.",
                id="billing.W001",
            )
        ]
    if not all(secret.startswith(SECRET) and len(secret) > len(SECRET) for secret in secrets):
        return [
            Error(
                "STRIPE_WEBHOOK_SECRET is no signing secret of a webhook endpoint.",
                hint="It begins with whsec_: copy it from the endpoint's page at Stripe. While one replaces "
                "another, set both with a comma between them.",
                id="billing.E002",
            )
        ]
    return []


def _of_base(key: str, base: str) -> list[CheckMessage]:
    address = urlsplit(base)
    is_near = address.hostname in LOOPBACK
    if not address.hostname or (address.scheme != "https" and not (is_near and address.scheme == "http")):
        return [
            Error(
                "STRIPE_API_BASE would send the key unencrypted, or is no address.",
                hint="Leave it out to use Stripe itself; else it is https://…, or http:// on this machine.",
                id="billing.E004",
            )
        ]
    if is_near and key.startswith(LIVE_KEYS):
        return [
            Error(
                "STRIPE_API_BASE is this machine, but STRIPE_API_KEY is a live key.",
                hint="Leave STRIPE_API_BASE out, or use a key that begins with sk_test_.",
                id="billing.E005",
            )
        ]
    return []


def _secret_alone() -> CheckMessage:
    return checks.Warning(
        "STRIPE_WEBHOOK_SECRET is set, STRIPE_API_KEY is not: payment by card is off.",
        hint=f"Set STRIPE_API_KEY too: {PAGE}.",
        id="billing.W002",
    )
