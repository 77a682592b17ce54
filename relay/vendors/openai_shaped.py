"""Talking to a vendor that has OpenAI's chat endpoint: the request's head, and what its errors mean."""

from collections.abc import Mapping
from typing import Any

import orjson

from common.redaction import redact_text
from relay.errors import (
    InvalidRequest,
    RelayError,
    UpstreamFailed,
    UpstreamLimited,
    UpstreamTimedOut,
    UpstreamUnavailable,
)
from relay.routing import Target

PATH = "/chat/completions"
# A vendor's 429 that is about our account, not about the moment.
OUR_ACCOUNT = frozenset(
    {
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "billing_not_active",
    }
)
MESSAGE_LIMIT = 1_000


def request_url(target: Target) -> str:
    return target.base_url + PATH


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
    if status in {400, 413, 422}:
        return _their_mistake(details)
    if status == 429:
        return _limited(details, headers)
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
    shown = redact_text(message)[:MESSAGE_LIMIT] if isinstance(message, str) else ""
    return InvalidRequest(
        shown or "The model's vendor refused the request as invalid.",
        param=param if isinstance(param, str) else None,
        reason=code if isinstance(code, str) else None,
    )


def _limited(details: Mapping[str, Any], headers: Mapping[str, str]) -> RelayError:
    if details.get("code") in OUR_ACCOUNT or details.get("type") in OUR_ACCOUNT:
        return UpstreamUnavailable("The model is not available right now. Nothing was charged.")
    return UpstreamLimited(
        "The model is at its limit right now; try again shortly.", headers=_retry_after(headers)
    )


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
