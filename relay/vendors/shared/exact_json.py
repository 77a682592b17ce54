"""Arguments of tool calls to the digit: a number read and written again may come out another one."""

import json
import re
from typing import Any

import orjson

from relay.errors import UpstreamFailed

UNREADABLE = "The model's vendor sent an answer that cannot be read."

# Numbers that come out otherwise when they are read and written again.
_INEXACT = re.compile(rb"\d{16}|\d\.\d|\d[eE]")


class _Number(str):
    """A number as it was written."""

    __slots__ = ()


def has_inexact_numbers(payload: bytes) -> bool:
    return _INEXACT.search(payload) is not None


def read_exactly(payload: bytes) -> Any:
    """Like any other reading of JSON, but `write_json` gives its numbers back as they were written.

    `payload` is JSON that could be read. Raises UpstreamFailed when it is nested too deeply.
    """
    try:
        return json.loads(payload, parse_int=_Number, parse_float=_Number)
    except RecursionError:
        raise UpstreamFailed(UNREADABLE) from None


def write_json(value: Any) -> str:
    """Compact, as OpenAI's models write arguments. Raises UpstreamFailed for what cannot be written."""
    try:
        return _write_exact(value)
    except RecursionError:
        raise UpstreamFailed(UNREADABLE) from None


def _write_exact(value: Any) -> str:
    if isinstance(value, _Number):
        return value
    if isinstance(value, dict):
        return "{" + ",".join(f"{_dump(key)}:{_write_exact(value[key])}" for key in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_write_exact, value)) + "]"
    return _dump(value)


def _dump(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        raise UpstreamFailed(UNREADABLE) from None
