"""What must never reach a log: credentials, by the name of the field or by the look of the value."""

import re
from collections.abc import Mapping, MutableMapping
from typing import Any

SECRET_NAMES = re.compile(
    r"authorization|api[-_]?key(?!_id)|password|secret|token$|cookie|pepper", re.IGNORECASE
)
SECRET_VALUES = re.compile(r"\b(sk[-_]|rk_|whsec_|xai-|AIza)[A-Za-z0-9_\-]{8,}|\b(?i:bearer)\s+\S+")
URL_PASSWORDS = re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)")
HIDDEN = "[hidden]"


def redact_text(text: str) -> str:
    return URL_PASSWORDS.sub(HIDDEN, SECRET_VALUES.sub(HIDDEN, text))


def redact_event(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor over every field of an event, and over what is inside of it."""
    for name, value in event.items():
        event[name] = _redact_field(name, value)
    return event


def _redact_field(name: object, value: object) -> object:
    return HIDDEN if isinstance(name, str) and SECRET_NAMES.search(name) else _redact(value)


def _redact(value: object) -> object:
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return {name: _redact_field(name, inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_redact(inner) for inner in value]
    return value
