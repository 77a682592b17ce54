"""Settings for Stripe that cannot be right are found at start, with what to do about them."""

from collections.abc import Callable
from typing import Any

import pytest

from billing.checks import check_stripe_settings
from billing.stripe.client import (
    StripeMissing,
    StripeUnknown,
    asking_stripe,
    is_test_mode,
    key_trouble,
    payments_are_on,
    stripe_client,
)
from config.engines.errors import ConfigurationError
from config.env import read_env
from config.supervisor.payments import check_payments
from tests.doubles.stripe.double import StripeDouble

LIVE, TEST = "sk_live_0123456789", "sk_test_0123456789"
BASE = "https://api.stripe.com"
Setter = Callable[..., None]


@pytest.fixture
def set_stripe(settings: Any) -> Setter:
    def put(
        key: str | None = TEST, secrets: tuple[str, ...] = ("whsec_1",), base: str = BASE, debug: bool = False
    ) -> None:
        settings.STRIPE_API_KEY, settings.STRIPE_WEBHOOK_SECRETS = key, secrets
        settings.STRIPE_API_BASE, settings.DEBUG = base, debug

    return put


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, []),
        ({"key": None, "secrets": ()}, []),
        ({"secrets": ("whsec_1", "whsec_2")}, []),
        ({"key": LIVE}, []),
        ({"key": "rk_live_0123456789"}, []),
        ({"base": "http://127.0.0.1:1234"}, []),
        ({"key": None}, ["billing.W002"]),
        ({"secrets": ()}, ["billing.W001"]),
        ({"key": "pk_test_0123456789"}, ["billing.E001"]),
        ({"key": "sk_test_"}, ["billing.E001"]),
        ({"key": "sk_test_0123 456789"}, ["billing.E001"]),
        ({"secrets": ("whsec_1", "sk_test_1")}, ["billing.E002"]),
        ({"key": LIVE, "debug": True}, ["billing.E003"]),
        ({"base": "http://example.com"}, ["billing.E004"]),
        ({"base": "stripe"}, ["billing.E004"]),
        ({"key": LIVE, "base": "http://127.0.0.1:1234"}, ["billing.E005"]),
    ],
)
def test_what_is_wrong_has_a_number_and_a_way_out(
    set_stripe: Setter, given: dict[str, Any], found: list[str]
) -> None:
    set_stripe(**given)
    messages = check_stripe_settings()
    assert [message.id for message in messages] == found
    assert all(message.hint for message in messages)


def test_no_message_shows_a_secret(set_stripe: Setter) -> None:
    set_stripe(key="pk_live_verysecret", secrets=("verysecret",), base="http://verysecret.example")
    assert "verysecret" not in "".join(str(message) for message in check_stripe_settings())


def test_the_installation_does_not_start_with_a_key_that_is_none(set_stripe: Setter) -> None:
    set_stripe(key="pk_test_0123456789")
    with pytest.raises(ConfigurationError, match="publishable key"):
        check_payments(lambda _line: None)


def test_a_key_that_stripe_refuses_is_said_at_start(stripe: StripeDouble, settings: Any) -> None:
    settings.STRIPE_API_KEY = TEST
    said: list[str] = []
    check_payments(said.append)
    assert len(said) == 1
    assert "Stripe refuses STRIPE_API_KEY (401)" in said[0]
    assert TEST not in said[0]


def test_a_key_that_is_good_is_no_news(stripe: StripeDouble) -> None:
    assert key_trouble() == ""


def test_that_stripe_is_away_is_said_and_stops_nobody(stripe: StripeDouble) -> None:
    stripe.control("settings", down=True)
    assert "could not be asked" in key_trouble()


def test_without_a_key_payments_are_off(set_stripe: Setter) -> None:
    set_stripe(key=None)
    assert (payments_are_on(), key_trouble()) == (False, "")


@pytest.mark.parametrize(("key", "is_test"), [(TEST, True), ("rk_test_1", True), (LIVE, False)])
def test_the_key_says_the_mode(set_stripe: Setter, key: str, is_test: bool) -> None:
    set_stripe(key=key)
    assert is_test_mode() is is_test


def test_secrets_come_parted_by_commas_and_are_never_shown() -> None:
    env = read_env({"STRIPE_API_KEY": " sk_test_x ", "STRIPE_WEBHOOK_SECRET": "whsec_1, whsec_2,"})
    assert (env.stripe_api_key, env.stripe_webhook_secrets) == ("sk_test_x", ("whsec_1", "whsec_2"))
    assert env.stripe_api_base == BASE
    assert "whsec" not in repr(env)
    assert "sk_test" not in repr(env)


def test_an_empty_key_is_no_key() -> None:
    assert read_env({"STRIPE_API_KEY": " "}).stripe_api_key is None


def test_what_stripe_does_not_have_is_missing(stripe: StripeDouble) -> None:
    with pytest.raises(StripeMissing), asking_stripe():
        stripe_client().v1.payment_intents.retrieve("pi_x")


def test_what_stripe_does_not_say_is_unknown(stripe: StripeDouble) -> None:
    stripe.control("settings", down=True)
    with pytest.raises(StripeUnknown), asking_stripe():
        stripe_client().v1.payment_intents.retrieve("pi_x")
