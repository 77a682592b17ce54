"""Talking to a vendor that has OpenAI's chat endpoint: the request's head, and what its errors mean."""

import re
from collections.abc import Mapping
from typing import Any

import orjson

from common.redaction import HIDDEN, redact_text
from relay.errors import (
    InvalidRequest,
    RelayError,
    UpstreamFailed,
    UpstreamLimited,
    UpstreamTimedOut,
    UpstreamUnavailable,
)

PATH = "/chat/completions"
# A vendor's 429 or 400 that is about our account, not about the moment or the request.
OUR_ACCOUNT = frozenset(
    {
        "Arrearage",  # Qwen
        "account_deactivated",
        "billing_hard_limit_reached",
        "invalid_api_key",
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "billing_not_active",
    }
)
# The same where no code says it: xAI answers 400 to a wrong key.
OUR_ACCOUNT_IN_WORDS = re.compile(r"(incorrect|invalid) api key|credit balance|good standing", re.IGNORECASE)
# Ids of our organization and projects there and of its own requests, and what is left of a masked key.
VENDOR_IDS = re.compile(r"\b(org-|proj_|acct_|req_)\w{4,}|\S*\*{3,}\S*")
MESSAGE_LIMIT = 1_000


def request_headers(api_key: str) -> tuple[tuple[str, str], ...]:
    return (
        ("Authorization", f"Bearer {api_key}"),
        ("Content-Type", "application/json"),
        ("Accept-Encoding", "identity"),
        ("User-Agent", "farebox"),
    )


def vendor_refusal(status: int, headers: Mapping[str, str], body: bytes) -> RelayError:
    """What a vendor's error answer means for the customer. Our troubles with a vendor are not theirs."""
    details = _details(body)
    if status in {400, 413, 422, 429} and _is_about_us(details):
        return UpstreamUnavailable("The model is not available right now. Nothing was charged.")
    if status in {400, 413, 422}:
        return _their_mistake(details)
    if status == 429:
        return UpstreamLimited(
            "The model is at its limit right now; try again shortly.", headers=_retry_after(headers)
        )
    if status in {408, 504}:
        return UpstreamTimedOut("The model's vendor did not answer in time. Nothing was charged.")
    if status in {401, 402, 403, 404, 503, 529}:
        return UpstreamUnavailable(
            "The model is not available right now. Nothing was charged.",
            headers=_retry_after(headers),
        )
    return UpstreamFailed("The model's vendor answered with an error. Nothing was charged.")


def _their_mistake(details: Mapping[str, Any]) -> RelayError:
    message, param, code = details.get("message"), details.get("param"), details.get("code")
    shown = _without_secrets(message)[:MESSAGE_LIMIT] if isinstance(message, str) else ""
    return InvalidRequest(
        shown or "The model's vendor refused the request as invalid.",
        param=param if isinstance(param, str) else None,
        reason=code if isinstance(code, str) else None,
    )


def _is_about_us(details: Mapping[str, Any]) -> bool:
    if details.get("code") in OUR_ACCOUNT or details.get("type") in OUR_ACCOUNT:
        return True
    message = details.get("message")
    return isinstance(message, str) and OUR_ACCOUNT_IN_WORDS.search(message) is not None


def _without_secrets(message: str) -> str:
    return VENDOR_IDS.sub(HIDDEN, redact_text(message))


def _retry_after(headers: Mapping[str, str]) -> dict[str, str]:
    seconds = headers.get("retry-after", "")
    return {"retry-after": seconds if seconds.isdecimal() else "1"}


def _details(body: bytes) -> Mapping[str, Any]:
    """The error object of an answer, in the shapes vendors use; empty for anything else."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    error = parsed.get("error") if isinstance(parsed, dict) else None
    if isinstance(error, dict):
        return error
    if isinstance(error, str):
        return {"message": error}
    return parsed if isinstance(parsed, dict) else {}
