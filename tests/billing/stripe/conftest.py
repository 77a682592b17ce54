"""The platform with the Stripe double for Stripe, and what its webhooks bring."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import NoReverseMatch, reverse

from tests.doubles.stripe.double import StripeDouble
from tests.factories.money import Payer, make_payer
from tests.factories.stripe import Post


@pytest.fixture(autouse=True)
def return_page(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        reverse("top_up", args=[uuid4()])
    except NoReverseMatch:
        monkeypatch.setattr("billing.top_ups.reverse", lambda *_args, **_kwargs: "/credit/")


@pytest.fixture
def stripe(settings: Any) -> Iterator[StripeDouble]:
    with StripeDouble() as double:
        settings.STRIPE_API_KEY = double.api_key
        settings.STRIPE_API_BASE = double.url
        settings.STRIPE_WEBHOOK_SECRETS = (double.secret,)
        yield double


@pytest.fixture
def payer() -> Payer:
    return make_payer()


@pytest.fixture
def post(stripe: StripeDouble, client: Client) -> Post:
    return Post(stripe, client)
