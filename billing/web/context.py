"""What every page knows about payments."""

from django.http import HttpRequest
from django.utils.translation import gettext

from billing.stripe.client import is_test_mode, payments_are_on


def payments(_request: HttpRequest) -> dict[str, bool]:
    return {"pays_in_test_mode": payments_are_on() and is_test_mode()}


def environment(_request: HttpRequest) -> tuple[str, str] | None:
    """What the operators' pages show at their top: a text, and how bright."""
    return (gettext("Test mode"), "warning") if payments_are_on() and is_test_mode() else None
