"""Whether customers will be able to pay, said while the installation starts."""

from collections.abc import Callable

from django.core.checks import ERROR, CheckMessage

from billing.checks import check_stripe_settings
from billing.stripe.client import key_trouble
from config.engines.errors import ConfigurationError


def check_payments(say: Callable[[str], None]) -> None:
    """Raises ConfigurationError for settings that cannot be right; what only Stripe can tell is said."""
    for found in check_stripe_settings():
        if found.level >= ERROR:
            raise ConfigurationError(_as_line(found))
        say(_as_line(found))
    trouble = key_trouble()
    if trouble:
        say(trouble)


def _as_line(found: CheckMessage) -> str:
    return f"{found.msg} {found.hint}"
