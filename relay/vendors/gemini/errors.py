"""What Gemini's errors mean: for the customer, and for whoever decides about another try.

Our account's troubles are never the customer's: a wrong key comes as a 400 here. Messages are shown without
ids and secrets.
"""

import re
from collections.abc import Iterator, Mapping
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
_A_DAY_IS_USED_UP_S = 3_600  # seconds; a daily quota comes back at midnight, Pacific time
_LONGEST_WAIT_S = 86_400  # seconds
_NOTHING: dict[str, Any] = {}
_KEY_TROUBLE = frozenset({401, 402, 403})
_OF_THE_REQUEST = frozenset({400, 413, 422})
_OUR_ACCOUNT = re.compile(
    r"api.?key (not valid|expired|not found)|valid api key|location is not supported"
    r"|has not been used in project|service_disabled|consumer_suspended",
    re.IGNORECASE,
)
# A mere rate mentions "plan and billing details" too.
_UNPAID = re.compile(
    r"prepa(y|id)|credits? (balance|are|is) |billing (account )?(is |has been )?(disabled|closed|not )"
    r"|(enable|requires?) billing|spend(ing)? (cap|limit)",
    re.IGNORECASE,
)
_OUR_REASONS = frozenset(
    {"API_KEY_INVALID", "API_KEY_EXPIRED", "SERVICE_DISABLED", "CONSUMER_SUSPENDED", "BILLING_DISABLED"}
)
_TOO_LONG = re.compile(
    r"input token count.{0,40}exceeds the maximum|exceeds the maximum number of tokens",
    re.IGNORECASE | re.DOTALL,
)
_CONTENT = re.compile(
    r"prohibited use|usage guidelines|violates? .{0,40}polic|blocked (by|due to)", re.IGNORECASE
)
_SIGNATURES = re.compile(r"thought.?signature", re.IGNORECASE)
_VENDOR_IDS = re.compile(
    r"\bprojects?[/ :_]+(?:number[: ]*)?[\w-]+|\bproject_number:\d+|\bgen-lang-client-\d+|\b\d{10,}\b"
)
_OUR_HOUSE = re.compile(r"https?://\S*google(?:apis)?\.\S*|\S+\.googleapis\.com\S*")
_SECONDS = re.compile(r"(\d{1,9})(?:\.(\d+))?s")
# The customer's names for the fields the vendor complains about, in its message or its details.
_CUSTOMER_FIELDS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), param)
    for pattern, param in (
        (r"response_?(json_?)?schema|response_?mime", "response_format"),
        (r"function_?declarations|parameters_?json", "tools"),
        (r"function_?calling_?config|tool_?config|allowed_?function", "tool_choice"),
        (r"thinking_?(budget|level|config)|include_?thoughts", "reasoning_effort"),
        (r"max_?output_?tokens", "max_tokens"),
        (r"candidate_?count", "n"),
        (r"stop_?sequences", "stop"),
        (r"temperature", "temperature"),
        (r"top_?p\b", "top_p"),
        (r"presence_?penalty", "presence_penalty"),
        (r"frequency_?penalty", "frequency_penalty"),
        (r"response_?logprobs|logprobs", "logprobs"),
        (r"\bseed\b", "seed"),
        (r"service_?tier", "service_tier"),
        (r"contents|inline_?data|file_?data|function_?(response|call)|input image", "messages"),
    )
)
_STATUS_OF: Mapping[str, int] = {
    "RESOURCE_EXHAUSTED": 429,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> RelayError:
    """The customer's error for an answer that is none. `headers` have lower-case names."""
    details = _details(body)
    kind = _classify(status, details)
    if kind is RetryClass.RATE:
        return UpstreamLimited(
            "The model is at its limit right now; try again shortly.",
            headers={"retry-after": str(_wait(headers, details))},
        )
    if kind in {RetryClass.CLIENT, RetryClass.CONTENT}:
        return _their_mistake(status, details, kind)
    if kind in {RetryClass.KEY_BAD, RetryClass.MODEL_GONE}:
        return UpstreamUnavailable(_UNAVAILABLE)
    if status in {408, 504}:
        return UpstreamTimedOut("The model's vendor did not answer in time. Nothing was charged.")
    if status == 503:
        return UpstreamUnavailable(_UNAVAILABLE, headers={"retry-after": str(_wait(headers, details))})
    return UpstreamFailed("The model's vendor answered with an error. Nothing was charged.")


def retry_class(status: int, body: bytes) -> RetryClass:
    return _classify(status, _details(body))


def refuses_thoughts(status: int, body: bytes) -> bool:
    """Whether the vendor did not know its own signatures again: after a change of account, for one.

    That is not the customer's mistake. Another try without them helps.
    """
    return status == 400 and _SIGNATURES.search(_message(_details(body))) is not None


def stream_failure(error: object) -> RelayError:
    """An error inside an answer, whose status was 200. Something may have been charged by now."""
    details = error if isinstance(error, dict) else _NOTHING
    status, code = details.get("status"), details.get("code")
    number = _STATUS_OF.get(status) if isinstance(status, str) else None
    if number is None:
        number = code if type(code) is int else 500
    if number == 429:
        return UpstreamLimited("The model reached its limit and broke off this answer.")
    if number == 503:
        return UpstreamUnavailable("The model's vendor is overloaded and broke off this answer.")
    if number == 504:
        return UpstreamTimedOut("The model's vendor took too long and broke off this answer.")
    return UpstreamFailed("The model's vendor broke off this answer with an error.")


def _classify(status: int, details: Mapping[str, Any]) -> RetryClass:
    if status in _KEY_TROUBLE or (status in {400, 422, 429} and _is_about_us(details)):
        return RetryClass.KEY_BAD
    if status in {404, 410}:
        return RetryClass.MODEL_GONE
    if status in _OF_THE_REQUEST:
        return RetryClass.CONTENT if _CONTENT.search(_message(details)) else RetryClass.CLIENT
    return RetryClass.RATE if status == 429 else RetryClass.TRANSIENT


def _is_about_us(details: Mapping[str, Any]) -> bool:
    """A key, a region, an unpaid bill."""
    if any(each.get("reason") in _OUR_REASONS for each in _infos(details, "ErrorInfo")):
        return True
    message = _message(details)
    is_told = _OUR_ACCOUNT.search(message) is not None or _UNPAID.search(message) is not None
    return is_told or details.get("status") == "FAILED_PRECONDITION"


def _their_mistake(status: int, details: Mapping[str, Any], kind: RetryClass) -> RelayError:
    message = _message(details)
    if status == 413 or "payload size exceeds" in message:
        return RequestTooLarge("The request is larger than the model's vendor takes. Nothing was charged.")
    if kind is RetryClass.CONTENT:
        return InvalidRequest(
            "The model's vendor refused the request for its content.", reason="content_policy_violation"
        )
    shown = _presentable(message) or "The model's vendor refused the request as invalid."
    if _TOO_LONG.search(message):
        return InvalidRequest(shown, param="messages", reason="context_length_exceeded")
    return InvalidRequest(shown, param=_param(details, message))


def _param(details: Mapping[str, Any], message: str) -> str | None:
    """The customer's field that is to blame, if the vendor names one."""
    violations = [each.get("fieldViolations") for each in _infos(details, "BadRequest")]
    listed = [each for found in violations if isinstance(found, list) for each in found]
    fields = [
        each["field"] for each in listed if isinstance(each, dict) and isinstance(each.get("field"), str)
    ]
    for text in (*fields, message):
        for pattern, param in _CUSTOMER_FIELDS:
            if pattern.search(text):
                return param
    return None


def _wait(headers: Mapping[str, str], details: Mapping[str, Any]) -> int:
    """Seconds until another try makes sense. The vendor says so in the body, and seldom in a header."""
    told = headers.get("retry-after", "")
    waits = [1, int(told) if told.isdecimal() else 0]
    for info in _infos(details, "RetryInfo"):
        found = _SECONDS.fullmatch(info["retryDelay"]) if isinstance(info.get("retryDelay"), str) else None
        if found is not None:
            waits.append(int(found[1]) + bool(found[2]))
    if b"PerDay" in orjson.dumps([*_infos(details, "QuotaFailure")]):
        waits.append(_A_DAY_IS_USED_UP_S)
    return min(max(waits), _LONGEST_WAIT_S)


def _infos(details: Mapping[str, Any], kind: str) -> Iterator[Mapping[str, Any]]:
    listed = details.get("details")
    for info in listed if isinstance(listed, list) else ():
        if isinstance(info, dict) and str(info.get("@type", "")).endswith(f".{kind}"):
            yield info


def _presentable(message: str) -> str:
    shown = _OUR_HOUSE.sub(HIDDEN, _VENDOR_IDS.sub(HIDDEN, redact_text(message)))
    return shown[:_MESSAGE_LIMIT]


def _message(details: Mapping[str, Any]) -> str:
    message = details.get("message")
    return message if isinstance(message, str) else ""


def _details(body: bytes) -> Mapping[str, Any]:
    """The error object, also inside a list; empty for pages of HTML and other nonsense."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _NOTHING
    if isinstance(parsed, list) and parsed:
        parsed = parsed[0]
    error = parsed.get("error") if isinstance(parsed, dict) else None
    return error if isinstance(error, dict) else _NOTHING
