"""What the vendor's errors become, and whether another try makes sense."""

from typing import Any

import orjson
import pytest

from relay.contracts import RetryClass
from relay.errors import (
    InvalidRequest,
    RelayError,
    RequestTooLarge,
    UpstreamFailed,
    UpstreamLimited,
    UpstreamTimedOut,
    UpstreamUnavailable,
)
from relay.vendors.anthropic import refusal, refuses_thoughts, retry_class


def body(kind: str, message: str = "x", **details: Any) -> bytes:
    error = {"type": kind, "message": message, **({"details": details} if details else {})}
    return orjson.dumps({"type": "error", "error": error, "request_id": "req_011CSHoEeqs"})


TABLE = [
    (400, "invalid_request_error", InvalidRequest, RetryClass.CLIENT),
    (401, "authentication_error", UpstreamUnavailable, RetryClass.KEY_BAD),
    (402, "billing_error", UpstreamUnavailable, RetryClass.KEY_BAD),
    (403, "permission_error", UpstreamUnavailable, RetryClass.KEY_BAD),
    (404, "not_found_error", UpstreamUnavailable, RetryClass.MODEL_GONE),
    (408, "timeout_error", UpstreamTimedOut, RetryClass.TRANSIENT),
    (409, "conflict_error", UpstreamUnavailable, RetryClass.TRANSIENT),
    (413, "request_too_large", RequestTooLarge, RetryClass.CLIENT),
    (429, "rate_limit_error", UpstreamLimited, RetryClass.RATE),
    (500, "api_error", UpstreamFailed, RetryClass.TRANSIENT),
    (502, "api_error", UpstreamFailed, RetryClass.TRANSIENT),
    (503, "api_error", UpstreamUnavailable, RetryClass.TRANSIENT),
    (504, "timeout_error", UpstreamTimedOut, RetryClass.TRANSIENT),
    (529, "overloaded_error", UpstreamUnavailable, RetryClass.TRANSIENT),
]


@pytest.mark.parametrize(("status", "kind", "expected", "retry"), TABLE)
def test_every_status(status: int, kind: str, expected: type[RelayError], retry: RetryClass) -> None:
    error = refusal(status, {}, body(kind))
    assert type(error) is expected
    assert error.http_status not in {401, 402, 403, 529}
    assert retry_class(status, body(kind)) is retry


@pytest.mark.parametrize(("status", "kind", "expected", "retry"), TABLE)
def test_a_page_instead_of_json(
    status: int, kind: str, expected: type[RelayError], retry: RetryClass
) -> None:
    for page in (b"<html><h1>Bad gateway</h1></html>", b"", b"[1]", b'{"error":"x"}', b"\xff"):
        assert type(refusal(status, {}, page)) is expected


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "Your credit balance is too low to access the Anthropic API."),
        (400, "You have reached your specified API usage limits."),
        (400, "This organization has been disabled."),
    ],
)
def test_our_account_is_not_the_customers_trouble(status: int, message: str) -> None:
    raw = body("invalid_request_error", message)
    assert isinstance(refusal(status, {}, raw), UpstreamUnavailable)
    assert retry_class(status, raw) is RetryClass.KEY_BAD


def test_a_spend_limit_is_no_rate_limit() -> None:
    raw = body("rate_limit_error", error_code="enforced_spend_limit_reached")
    assert isinstance(refusal(429, {}, raw), UpstreamUnavailable)
    assert retry_class(429, raw) is RetryClass.KEY_BAD


def test_a_prompt_that_is_too_long_has_openais_code() -> None:
    error = refusal(
        400, {}, body("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum")
    )
    assert (error.http_status, error.wire_code, error.param) == (400, "context_length_exceeded", "messages")
    assert "210000 tokens > 200000 maximum" in error.message


def test_refused_for_its_content() -> None:
    raw = body("invalid_request_error", "Output blocked by content filtering policy")
    error = refusal(400, {}, raw)
    assert error.wire_code == "content_policy_violation"
    assert retry_class(400, raw) is RetryClass.CONTENT


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("max_tokens: 99999 > 64000, which is the maximum allowed", "max_tokens"),
        ("messages.3.content.0.image.source.base64.data: bad", "messages"),
        ("tools.0.custom.input_schema: bad", "tools"),
        ("system.0.text: bad", "messages"),
        ("stop_sequences: bad", "stop"),
        ("something else", None),
        ("strange.0: x", None),
    ],
)
def test_the_field_at_fault_has_the_customers_name(message: str, param: str | None) -> None:
    assert refusal(400, {}, body("invalid_request_error", message)).param == param


@pytest.mark.parametrize(
    "secret",
    [
        "sk-ant-api03-abcdefghij",
        "org_01ABCDEF",
        "req_011CSHoEeqs",
        "wrkspc_01xyz9",
        "0f8fad5b-d9cb-469f-a165-70867728950e",
        "https://console.anthropic.com/settings/keys",
    ],
)
def test_messages_are_shown_without_ids_and_secrets(secret: str) -> None:
    error = refusal(400, {}, body("invalid_request_error", f"tools: bad thing {secret} here"))
    assert secret not in error.message
    assert "bad thing" in error.message


def test_a_message_has_an_end() -> None:
    assert len(refusal(400, {}, body("invalid_request_error", "y" * 10_000)).message) <= 1_000


@pytest.mark.parametrize(("given", "told"), [("37", "37"), ("soon", "1"), (None, "1")])
def test_when_to_come_back(given: str | None, told: str) -> None:
    headers = {} if given is None else {"retry-after": given}
    for status in (429, 529):
        assert refusal(status, headers, body("rate_limit_error")).headers["retry-after"] == told


@pytest.mark.parametrize(
    ("message", "refused"),
    [
        ("messages.1.content.0: Invalid `signature` in `thinking` block", True),
        ("messages.1.content.0: `thinking` blocks in the latest message cannot be modified.", True),
        ("messages.1.content.0.type: Expected `thinking`, but found `tool_use`.", True),
        ("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024", False),
    ],
)
def test_thoughts_the_vendor_does_not_know_again(message: str, refused: bool) -> None:
    assert refuses_thoughts(400, body("invalid_request_error", message)) is refused
    assert not refuses_thoughts(500, body("api_error", message))
