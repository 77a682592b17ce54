"""What a vendor's refusal means for the customer."""

import orjson
import pytest

from relay.errors import (
    InvalidRequest,
    RelayError,
    UpstreamFailed,
    UpstreamLimited,
    UpstreamTimedOut,
    UpstreamUnavailable,
)
from relay.vendors.openai_shaped import vendor_refusal


def refusal(status: int, error: object = None, **headers: str) -> RelayError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return vendor_refusal(status, named, orjson.dumps({"error": error}))


@pytest.mark.parametrize("status", [401, 402, 403, 404, 503, 529])
def test_our_trouble_with_a_vendor_is_not_the_customers(status: int) -> None:
    error = refusal(status, {"message": "Incorrect API key provided: sk-proj-abcdefghijkl"})
    assert isinstance(error, UpstreamUnavailable)
    assert "sk-" not in error.message


def test_an_invalid_request_comes_back_with_its_reason() -> None:
    error = refusal(
        400, {"message": "Too long", "param": "messages", "code": "context_length_exceeded", "type": "x"}
    )
    assert isinstance(error, InvalidRequest)
    assert (error.message, error.param, error.wire_code) == (
        "Too long",
        "messages",
        "context_length_exceeded",
    )


def test_credentials_in_a_vendors_message_are_hidden() -> None:
    error = refusal(400, {"message": "bad header 'Authorization: Bearer sk-live1234567890'"})
    assert "sk-live" not in error.message


@pytest.mark.parametrize("name", ["org-h7Jd92mXq", "proj_a81Bc", "req_0123abcd", "xai-ab***************9z"])
def test_ids_of_our_account_in_a_vendors_message_are_hidden(name: str) -> None:
    error = refusal(400, {"message": f"Invalid value in '{name}', see messages[0]"})
    assert name not in error.message
    assert error.message.endswith("see messages[0]")


@pytest.mark.parametrize(
    "said",
    [
        {"code": "Arrearage", "message": "Access denied, your account is overdue"},
        {"message": "Incorrect API key provided: xa***. Obtain one from https://console.x.ai."},
        {"message": "Your credit balance is too low"},
    ],
)
def test_a_400_about_our_account_is_not_the_customers_mistake(said: dict[str, str]) -> None:
    assert isinstance(refusal(400, said), UpstreamUnavailable)


@pytest.mark.parametrize("seconds", ["7", ""])
def test_a_limit_says_when_to_come_back(seconds: str) -> None:
    error = refusal(429, {"code": "rate_limit_exceeded"}, retry_after=seconds)
    assert isinstance(error, UpstreamLimited)
    assert error.headers["retry-after"] == (seconds or "1")


def test_our_own_quota_at_the_vendor_is_not_a_limit_of_the_customer() -> None:
    assert isinstance(refusal(429, {"code": "insufficient_quota"}), UpstreamUnavailable)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(408, UpstreamTimedOut), (504, UpstreamTimedOut), (500, UpstreamFailed), (302, UpstreamFailed)],
)
def test_other_statuses(status: int, kind: type[RelayError]) -> None:
    assert isinstance(refusal(status), kind)


@pytest.mark.parametrize(
    "body", [b"<html>Bad gateway</html>", b"", b"[]", b'"text"', b'{"error":"text"}', b"\xff"]
)
def test_bodies_that_are_no_error_object(body: bytes) -> None:
    assert isinstance(vendor_refusal(400, {}, body), InvalidRequest)
    assert isinstance(vendor_refusal(502, {}, body), UpstreamFailed)
