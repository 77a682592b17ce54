"""What the errors of vendors with OpenAI's endpoint mean, in the many shapes they have there.

Our account's troubles are never the customer's. Messages are shown without ids and secrets.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import orjson

from common.redaction import HIDDEN, redact_text
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
CONTENT = frozenset({"content_filter", "content_policy_violation", "data_inspection_failed"})
CONTENT_IN_WORDS = re.compile(
    r"violates? (our |the )?usage (guidelines|policies)|safety_check", re.IGNORECASE
)
TOO_LONG = "context_length_exceeded"
TOO_LONG_IN_WORDS = re.compile(
    r"maximum (context|prompt) length|range of input length|context window"
    r"|`inputs` tokens \+ `max_new_tokens` must be",
    re.IGNORECASE,
)
# Ids of our organization and projects there and of its own requests, and what is left of a masked key.
VENDOR_IDS = re.compile(
    r"\b(?:org-|proj_|acct_|req_|user_)\w{4,}|\S*\*{3,}\S*|(?<=\bteam )[\w-]{6,}"
    r"|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-z]{4,12}\b"
)
MESSAGE_LIMIT = 1_000  # characters
UNAVAILABLE = "The model is not available right now. Nothing was charged."

_NOTHING: dict[str, Any] = {}
_ABOUT_THE_REQUEST = frozenset({400, 413, 422})


def vendor_refusal(status: int, headers: Mapping[str, str], body: bytes) -> RelayError:
    """What a vendor's error answer means for the customer. Our troubles with a vendor are not theirs."""
    details = _details(body)
    kind = _classify(status, details)
    if kind is RetryClass.CLIENT:
        return _their_mistake(status, details)
    if kind is RetryClass.CONTENT:
        return InvalidRequest(
            "The model's vendor refused the request for its content.", reason="content_filter"
        )
    if kind is RetryClass.RATE:
        return UpstreamLimited(
            "The model is at its limit right now; try again shortly.", headers=_retry_after(headers)
        )
    if status in {408, 504}:
        return UpstreamTimedOut("The model's vendor did not answer in time. Nothing was charged.")
    if kind is RetryClass.TRANSIENT and status not in {503, 529}:
        return UpstreamFailed("The model's vendor answered with an error. Nothing was charged.")
    waits = status in {401, 402, 403, 404, 503, 529}
    return UpstreamUnavailable(UNAVAILABLE, headers=_retry_after(headers) if waits else None)


def retry_class(status: int, body: bytes) -> RetryClass:
    return _classify(status, _details(body))


def _classify(status: int, details: Mapping[str, Any]) -> RetryClass:
    """The content of a request can be refused with 403 too, and some hosts say so of its length."""
    if status in {*_ABOUT_THE_REQUEST, 429} and _is_about_us(details):
        return RetryClass.KEY_BAD
    if status in {*_ABOUT_THE_REQUEST, 403}:
        if _is_about_content(details):
            return RetryClass.CONTENT
        if status != 403 or _is_too_long(details):
            return RetryClass.CLIENT
    if status in {401, 402, 403}:
        return RetryClass.KEY_BAD
    if status == 404:
        return RetryClass.MODEL_GONE
    return RetryClass.RATE if status == 429 else RetryClass.TRANSIENT


def _their_mistake(status: int, details: Mapping[str, Any]) -> RelayError:
    shown = _without_secrets(_message(details))[:MESSAGE_LIMIT]
    shown = shown or "The model's vendor refused the request as invalid."
    if _is_too_long(details):
        return InvalidRequest(shown, param="messages", reason=TOO_LONG)
    if status == 413:
        return RequestTooLarge("The request is larger than the model's vendor takes. Nothing was charged.")
    param, code = details.get("param"), details.get("code")
    return InvalidRequest(
        shown,
        param=param if isinstance(param, str) else None,
        reason=code if isinstance(code, str) and _is_code(code) else None,
    )


def _is_code(code: str) -> bool:
    """xAI's codes are sentences, DeepSeek's repeat the type."""
    return " " not in code and code != "invalid_request_error"


def _is_about_us(details: Mapping[str, Any]) -> bool:
    if not OUR_ACCOUNT.isdisjoint(_words(details, "code", "type")):
        return True
    return OUR_ACCOUNT_IN_WORDS.search(_message(details)) is not None


def _is_about_content(details: Mapping[str, Any]) -> bool:
    inner, metadata = details.get("innererror"), details.get("metadata")
    if isinstance(inner, dict) and inner.get("code") == "ResponsibleAIPolicyViolation":
        return True
    if isinstance(metadata, dict) and "flagged_input" in metadata:  # OpenRouter
        return True
    is_coded = not CONTENT.isdisjoint(_words(details, "code", "type"))
    return is_coded or CONTENT_IN_WORDS.search(_message(details)) is not None


def _is_too_long(details: Mapping[str, Any]) -> bool:
    return details.get("code") == TOO_LONG or TOO_LONG_IN_WORDS.search(_message(details)) is not None


def _words(details: Mapping[str, Any], *names: str) -> set[str]:
    return {value for name in names if isinstance(value := details.get(name), str)}


def _message(details: Mapping[str, Any]) -> str:
    """FastAPI's hosts have a `detail`, which may be a list of them."""
    for name in ("message", "detail"):
        said = details.get(name)
        if isinstance(said, list) and said and isinstance(said[0], dict):
            said = said[0].get("msg")
        if isinstance(said, str):
            return said
    return ""


def _without_secrets(message: str) -> str:
    return VENDOR_IDS.sub(HIDDEN, redact_text(message))


def _retry_after(headers: Mapping[str, str]) -> dict[str, str]:
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        seconds = 1
    return {"retry-after": str(math.ceil(seconds)) if 0 <= seconds < 86_400 else "1"}


def _details(body: bytes) -> Mapping[str, Any]:
    """The error object of an answer, in the shapes vendors use; empty for anything else."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _plain_text(body)
    if not isinstance(parsed, dict):
        return _NOTHING
    error = parsed.get("error")
    if isinstance(error, dict):
        return error
    return {**parsed, "message": error} if isinstance(error, str) else parsed


def _plain_text(body: bytes) -> Mapping[str, Any]:
    """DeepSeek says in a sentence what it could not read. A page of HTML says nothing."""
    text = body[: 4 * MESSAGE_LIMIT].decode(errors="replace").strip()
    return {"message": text} if text and "<" not in text else _NOTHING
