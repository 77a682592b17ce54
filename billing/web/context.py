"""What every page knows about payments."""

from django.http import HttpRequest

from billing.stripe.client import is_test_mode, payments_are_on


def payments(_request: HttpRequest) -> dict[str, bool]:
    return {"pays_in_test_mode": payments_are_on() and is_test_mode()}
