"""What the vendor's errors say to customers, and to whoever decides about another try."""

from typing import Any

import orjson
import pytest

from relay.contracts import RetryClass
from relay.errors import InvalidRequest, RelayError
from relay.vendors.gemini import refusal, refuses_thoughts, retry_class

TYPE = "type.googleapis.com/google.rpc."


def body(code: int, message: str = "m", status: str = "X", *details: dict[str, Any]) -> bytes:
    return orjson.dumps({"error": {"code": code, "message": message, "status": status, "details": details}})


def info(kind: str, **fields: Any) -> dict[str, Any]:
    return {"@type": TYPE + kind, **fields}


KEY_INVALID = body(400, "API key not valid.", "INVALID_ARGUMENT", info("ErrorInfo", reason="API_KEY_INVALID"))
QUOTA = info("QuotaFailure", violations=[{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel"}])
DAILY = info("QuotaFailure", violations=[{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}])
RATE_MESSAGE = "You exceeded your current quota, please check your plan and billing details."
EXPIRED = body(400, "API key expired. Please renew the API key.")
REGION = body(400, "User location is not supported for the API use.", "FAILED_PRECONDITION")
RATE = body(429, RATE_MESSAGE, "RESOURCE_EXHAUSTED", QUOTA)
CREDITS = body(429, "Your prepayment credits are depleted.", "RESOURCE_EXHAUSTED")
AWAY = "upstream_unavailable"
CASES = [
    (400, body(400, "Invalid value", "INVALID_ARGUMENT"), (RetryClass.CLIENT, 400, None)),
    (400, KEY_INVALID, (RetryClass.KEY_BAD, 503, AWAY)),
    (400, EXPIRED, (RetryClass.KEY_BAD, 503, AWAY)),
    (400, REGION, (RetryClass.KEY_BAD, 503, AWAY)),
    (401, body(401), (RetryClass.KEY_BAD, 503, AWAY)),
    (402, body(402), (RetryClass.KEY_BAD, 503, AWAY)),
    (403, body(403, status="PERMISSION_DENIED"), (RetryClass.KEY_BAD, 503, AWAY)),
    (404, body(404, status="NOT_FOUND"), (RetryClass.MODEL_GONE, 503, AWAY)),
    (413, b"<html>", (RetryClass.CLIENT, 413, "request_too_large")),
    (429, RATE, (RetryClass.RATE, 429, "upstream_rate_limited")),
    (429, CREDITS, (RetryClass.KEY_BAD, 503, AWAY)),
    (429, body(429, RATE_MESSAGE, "RESOURCE_EXHAUSTED"), (RetryClass.RATE, 429, "upstream_rate_limited")),
    (400, body(400, "This API method requires billing to be enabled."), (RetryClass.KEY_BAD, 503, AWAY)),
    (429, b"", (RetryClass.RATE, 429, "upstream_rate_limited")),
    (499, body(499, status="CANCELLED"), (RetryClass.TRANSIENT, 502, "upstream_error")),
    (500, body(500, status="INTERNAL"), (RetryClass.TRANSIENT, 502, "upstream_error")),
    (502, b"<html>Bad Gateway</html>", (RetryClass.TRANSIENT, 502, "upstream_error")),
    (503, body(503, status="UNAVAILABLE"), (RetryClass.TRANSIENT, 503, AWAY)),
    (504, body(504, status="DEADLINE_EXCEEDED"), (RetryClass.TRANSIENT, 504, "upstream_timeout")),
]


@pytest.mark.parametrize(("status", "raw", "told"), CASES)
def test_each_error(status: int, raw: bytes, told: tuple[RetryClass, int, str | None]) -> None:
    error = refusal(status, {}, raw)
    assert (retry_class(status, raw), error.http_status, error.wire_code) == told


def test_our_account_is_never_the_customers_trouble() -> None:
    for status in (400, 401, 402, 403, 429):
        for raw in (KEY_INVALID, body(status, "Billing is disabled", "FAILED_PRECONDITION")):
            assert refusal(status, {}, raw).http_status == 503


@pytest.mark.parametrize(
    ("details", "headers", "seconds"),
    [
        ((), {}, "1"),
        ((info("RetryInfo", retryDelay="37s"),), {}, "37"),
        ((info("RetryInfo", retryDelay="37.2s"),), {"retry-after": "5"}, "38"),
        ((info("RetryInfo", retryDelay="2s"),), {"retry-after": "50"}, "50"),
        ((QUOTA,), {}, "1"),
        ((DAILY, info("RetryInfo", retryDelay="20s")), {}, "3600"),
        ((info("RetryInfo", retryDelay="x"), info("RetryInfo")), {"retry-after": "Mon"}, "1"),
        ((info("RetryInfo", retryDelay="999999999s"),), {}, "86400"),
    ],
)
def test_how_long_to_wait(details: tuple[dict[str, Any], ...], headers: dict[str, str], seconds: str) -> None:
    error = refusal(429, headers, body(429, "m", "RESOURCE_EXHAUSTED", *details))
    assert (error.headers or {})["retry-after"] == seconds


@pytest.mark.parametrize(
    "message",
    [
        "The input token count (2000000) exceeds the maximum number of tokens allowed (1048576).",
        "The input token count exceeds the maximum number of tokens allowed 1048575.",
    ],
)
def test_a_prompt_that_is_too_long(message: str) -> None:
    error = refusal(400, {}, body(400, message, "INVALID_ARGUMENT"))
    assert (error.wire_code, error.param) == ("context_length_exceeded", "messages")


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("* GenerateContentRequest.generation_config.temperature: must be in the range", "temperature"),
        ("Unknown name \"$ref\" at 'tools[0].function_declarations[0].parameters'", "tools"),
        ("Multiple candidates: candidate_count is not enabled for this model", "n"),
        ("The thinking budget: thinking_budget 5 is invalid", "reasoning_effort"),
        ("* GenerateContentRequest.generation_config.response_schema.type: missing", "response_format"),
        ("* GenerateContentRequest.contents[0].parts: contents.parts must not be empty.", "messages"),
        ("Unable to process input image.", "messages"),
        ("Logprobs is not enabled for models/gemini-x", "logprobs"),
        ("Something else", None),
    ],
)
def test_the_customers_field_is_named(message: str, param: str | None) -> None:
    assert refusal(400, {}, body(400, message)).param == param


def test_the_field_in_the_details_goes_before_the_message() -> None:
    details = info("BadRequest", fieldViolations=[{"field": "generation_config.top_p", "description": "x"}])
    assert refusal(400, {}, body(400, "temperature", "INVALID_ARGUMENT", details)).param == "top_p"


def test_content_that_was_refused() -> None:
    error = refusal(400, {}, body(400, "The prompt violates our prohibited use policy."))
    assert error.wire_code == "content_policy_violation"


def test_nothing_of_our_house_is_shown() -> None:
    message = (
        "Project number 123456789012 in projects/our-project-7 with key AIzaSyA1234567890abcdef may not:"
        " see https://console.cloud.google.com/apis?project=123456789012 of gen-lang-client-0123456789"
    )
    shown = refusal(400, {}, body(400, message)).message
    for secret in ("123456789012", "our-project-7", "AIzaSy", "console.cloud", "gen-lang-client-0123"):
        assert secret not in shown
    assert isinstance(refusal(400, {}, body(400, message)), InvalidRequest)


def test_an_error_in_a_list_is_read_too() -> None:
    assert retry_class(400, b"[" + KEY_INVALID + b"]") is RetryClass.KEY_BAD


@pytest.mark.parametrize(
    ("status", "message", "refuses"),
    [
        (400, "Function call is missing a thought_signature in functionCall parts.", True),
        (400, "Thought signature is not valid.", True),
        (400, "Corrupted thought signature.", True),
        (400, "Invalid value", False),
        (500, "Thought signature is not valid.", False),
    ],
)
def test_signatures_the_vendor_does_not_know_again(status: int, message: str, refuses: bool) -> None:
    assert refuses_thoughts(status, body(status, message)) is refuses


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b'{"error":"x"}', b'{"error":{"details":7}}', b"\xff"])
def test_nonsense_is_an_error_like_any_other(raw: bytes) -> None:
    for status in (400, 404, 429, 500, 503):
        assert isinstance(refusal(status, {}, raw), RelayError)
