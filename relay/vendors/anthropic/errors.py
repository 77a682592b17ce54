"""What Anthropic's errors mean: for the customer, and for whoever decides about another try.

Our account's troubles are never the customer's. Messages are shown without ids and secrets.
"""

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

_UNAVAILABLE = "The model is not available right now. Nothing was charged."
_MESSAGE_LIMIT = 1_000  # characters
_NOTHING: dict[str, Any] = {}
# A self-set spend limit and an empty account come as 400 and 429 too.
_OUR_ACCOUNT = re.compile(
    r"credit balance|api usage limits|spend(ing)? limit|purchase credits|disabled organization|x-api-key"
    r"|organization has been disabled|not allowed to access",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"prompt is too long|exceeds? (the )?context (window|limit)|too many total text", re.IGNORECASE
)
_CONTENT = re.compile(r"content filtering policy|usage policy", re.IGNORECASE)
_VENDOR_IDS = re.compile(
    r"\b(?:org|req|msg|wrkspc|acct|apikey)_\w{4,}|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"
)
_OUR_HOUSE = re.compile(r"https?://\S*(?:anthropic|claude)\.com\S*")
_THOUGHTS = re.compile(
    r"signature.{0,40}thinking|thinking.{0,80}cannot be modified|expected.{0,20}thinking", re.IGNORECASE
)
_FIELD = re.compile(r"([a-z_]+)(?:\.[\w.\[\]-]+)?: ")
# The customer's names for the fields the vendor complains about.
_CUSTOMER_FIELDS: Mapping[str, str] = {
    "messages": "messages",
    "system": "messages",
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "tools": "tools",
    "tool_choice": "tool_choice",
    "stop_sequences": "stop",
    "thinking": "reasoning_effort",
    "output_config": "response_format",
    "metadata": "user",
}
_KEY_TROUBLE = frozenset({401, 402, 403})
_OF_THE_REQUEST = frozenset({400, 413, 422})


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> RelayError:
    """The customer's error for an answer that is none. `headers` have lower-case names."""
    details = _details(body)
    kind = _classify(status, details)
    if kind is RetryClass.RATE:
        return UpstreamLimited(
            "The model is at its limit right now; try again shortly.", headers=_retry_after(headers)
        )
    if kind in {RetryClass.CLIENT, RetryClass.CONTENT}:
        return _their_mistake(status, details, kind)
    if kind in {RetryClass.KEY_BAD, RetryClass.MODEL_GONE}:
        return UpstreamUnavailable(_UNAVAILABLE)
    if status in {408, 504}:
        return UpstreamTimedOut("The model's vendor did not answer in time. Nothing was charged.")
    if status in {409, 503, 529}:
        return UpstreamUnavailable(_UNAVAILABLE, headers=_retry_after(headers))
    return UpstreamFailed("The model's vendor answered with an error. Nothing was charged.")


def retry_class(status: int, body: bytes) -> RetryClass:
    return _classify(status, _details(body))


def refuses_thoughts(status: int, body: bytes) -> bool:
    """Whether the vendor did not know its own thoughts again: after a change of account, for one.

    That is not the customer's mistake. Another try without them helps.
    """
    return status == 400 and _THOUGHTS.search(_message(_details(body))) is not None


def _classify(status: int, details: Mapping[str, Any]) -> RetryClass:
    if status in _KEY_TROUBLE or (status in {400, 422, 429} and _is_about_us(details)):
        return RetryClass.KEY_BAD
    if status == 404:
        return RetryClass.MODEL_GONE
    if status in _OF_THE_REQUEST:
        return RetryClass.CONTENT if _CONTENT.search(_message(details)) else RetryClass.CLIENT
    return RetryClass.RATE if status == 429 else RetryClass.TRANSIENT


def stream_failure(error: object) -> RelayError:
    """An error inside a stream, whose status was 200. Something may have been charged by now."""
    kind = error.get("type") if isinstance(error, dict) else None
    if kind == "overloaded_error":
        return UpstreamUnavailable("The model's vendor is overloaded and broke off this answer.")
    if kind == "rate_limit_error":
        return UpstreamLimited("The model reached its limit and broke off this answer.")
    if kind == "timeout_error":
        return UpstreamTimedOut("The model's vendor took too long and broke off this answer.")
    return UpstreamFailed("The model's vendor broke off this answer with an error.")


def _is_about_us(details: Mapping[str, Any]) -> bool:
    more = details.get("details")
    code = more.get("error_code") if isinstance(more, dict) else None
    if code == "enforced_spend_limit_reached" or details.get("type") == "billing_error":
        return True
    return _OUR_ACCOUNT.search(_message(details)) is not None


def _their_mistake(status: int, details: Mapping[str, Any], kind: RetryClass) -> RelayError:
    message = _message(details)
    if status == 413:
        return RequestTooLarge("The request is larger than the model's vendor takes. Nothing was charged.")
    if kind is RetryClass.CONTENT:
        return InvalidRequest(
            "The model's vendor refused the request for its content.", reason="content_policy_violation"
        )
    shown = _presentable(message) or "The model's vendor refused the request as invalid."
    if _TOO_LONG.search(message):
        return InvalidRequest(shown, param="messages", reason="context_length_exceeded")
    field = _FIELD.match(message)
    return InvalidRequest(shown, param=_CUSTOMER_FIELDS.get(field[1]) if field else None)


def _presentable(message: str) -> str:
    shown = _OUR_HOUSE.sub(HIDDEN, _VENDOR_IDS.sub(HIDDEN, redact_text(message)))
    return shown[:_MESSAGE_LIMIT]


def _message(details: Mapping[str, Any]) -> str:
    message = details.get("message")
    return message if isinstance(message, str) else ""


def _retry_after(headers: Mapping[str, str]) -> dict[str, str]:
    seconds = headers.get("retry-after", "")
    return {"retry-after": seconds if seconds.isdecimal() else "1"}


def _details(body: bytes) -> Mapping[str, Any]:
    """The error object; empty for pages of HTML and other nonsense."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _NOTHING
    error = parsed.get("error") if isinstance(parsed, dict) else None
    return error if isinstance(error, dict) else _NOTHING
