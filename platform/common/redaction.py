"""What must never reach a log: credentials, by the name of the field or by the look of the value."""

import re
from collections.abc import MutableMapping
from typing import Any

SECRET_NAMES = re.compile(r"authorization|api[-_]?key|password|secret|token$|cookie|pepper", re.IGNORECASE)
SECRET_VALUES = re.compile(r"\b(sk-|rk_|whsec_|xai-|AIza)[A-Za-z0-9_\-]{8,}|Bearer\s+\S+")
HIDDEN = "[hidden]"


def redact_text(text: str) -> str:
    return SECRET_VALUES.sub(HIDDEN, text)


def redact_event(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor over every field of an event."""
    for name, value in event.items():
        if SECRET_NAMES.search(name):
            event[name] = HIDDEN
        elif isinstance(value, str):
            event[name] = redact_text(value)
    return event
