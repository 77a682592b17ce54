"""Building blocks for tables that say what a JSON value may be.

A check takes a value and returns nothing, or raises Violation. Whoever descends into a value adds
its step to the path when a violation passes by, so a valid request never pays for paths.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NoReturn

from relay.errors import InvalidRequest

Check = Callable[[Any], None]

_TYPE_NAMES: Mapping[type, str] = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal number",
    list: "an array",
    dict: "an object",
    type(None): "null",
}
_LONGEST_ECHO = 64


class Violation(Exception):
    """A value that is not allowed. `opening`, the quoted path and `problem` make the sentence.

    It never leaves this package: InvalidRequest does.
    """

    def __init__(self, reason: str | None, problem: str, *, opening: str = "Invalid", path: str = "") -> None:
        super().__init__(reason, problem)
        self.reason = reason
        self.problem = problem
        self.opening = opening
        self.path = path

    def under(self, step: str) -> "Violation":
        self.path = step + self.path
        return self

    def as_invalid_request(self) -> InvalidRequest:
        param = self.path.removeprefix(".")
        message = f"{self.opening} '{param}'{self.problem}"
        return InvalidRequest(message, param=param, reason=self.reason)


def reject_type(expected: str, value: object) -> NoReturn:
    raise Violation(
        "invalid_type",
        f": expected {expected}, but got {_TYPE_NAMES[type(value)]}.",
        opening="Invalid type for",
    )


def reject_value(problem: str, *, path: str = "") -> NoReturn:
    raise Violation("invalid_value", f": {problem}", path=path)


def missing(name: str) -> Violation:
    return Violation(
        "missing_required_parameter", ".", opening="Missing required parameter:", path=f".{name}"
    )


def boolean(value: Any) -> None:
    if type(value) is not bool:
        reject_type("a boolean", value)


def anything(_value: Any) -> None:
    """For values that only the vendor can judge."""


def json_object(value: Any) -> None:
    if type(value) is not dict:
        reject_type("an object", value)


def string(value: Any) -> None:
    if type(value) is not str:
        reject_type("a string", value)


def limited_string(*, longest: int, pattern: str | None = None) -> Check:
    matches = re.compile(pattern).fullmatch if pattern else None

    def check(value: Any) -> None:
        string(value)
        if len(value) > longest:
            raise Violation(
                "string_above_max_length",
                f": expected at most {longest} characters, but got {len(value)}.",
            )
        if matches is not None and not matches(value):
            reject_value(f"the string does not match the pattern {pattern}.")

    return check


def one_of(*allowed: str) -> Check:
    values = frozenset(allowed)
    listed = ", ".join(f"'{value}'" for value in allowed)

    def check(value: Any) -> None:
        string(value)
        if value not in values:
            reject_value(f"'{value[:_LONGEST_ECHO]}' is not one of {listed}.")

    return check


def decimal(low: float, high: float) -> Check:
    """A number from `low` to `high`; a boolean is not a number."""

    def check(value: Any) -> None:
        if type(value) is not float and type(value) is not int:
            reject_type("a number", value)
        if not low <= value <= high:
            _reject_range("decimal", value, low, high)

    return check


def integer(low: int, high: int) -> Check:
    def check(value: Any) -> None:
        if type(value) is not int:
            reject_type("an integer", value)
        if not low <= value <= high:
            _reject_range("integer", value, low, high)

    return check


def whole_number(low: int, high: int) -> Check:
    """An integer, which some clients write as `1024.0`."""
    check_integer = integer(low, high)

    def check(value: Any) -> None:
        if type(value) is float and value.is_integer():
            value = int(value)
        check_integer(value)

    return check


def _reject_range(kind: str, value: float, low: float, high: float) -> NoReturn:
    if value > high:
        raise Violation(f"{kind}_above_max_value", f": expected a value <= {high}, but got {value}.")
    raise Violation(f"{kind}_below_min_value", f": expected a value >= {low}, but got {value}.")


def array(item: Check, *, shortest: int = 0, longest: int | None = None) -> Check:
    def check(value: Any) -> None:
        if type(value) is not list:
            reject_type("an array", value)
        if len(value) < shortest:
            raise Violation("empty_array", ": expected at least one element, but the array is empty.")
        if longest is not None and len(value) > longest:
            raise Violation(
                "array_above_max_length",
                f": expected at most {longest} elements, but got {len(value)}.",
            )
        check_each(value, item)

    return check


def check_each(values: list[Any], item: Check) -> None:
    index = 0
    try:
        for index, value in enumerate(values):  # noqa: B007  the handler needs the last index
            item(value)
    except Violation as violation:
        raise violation.under(f"[{index}]") from None


def mapping(value_check: Check, *, longest: int | None = None, longest_key: int = 512) -> Check:
    """An object with keys of the client's choice."""

    def check(value: Any) -> None:
        json_object(value)
        if longest is not None and len(value) > longest:
            raise Violation(
                "object_above_max_properties",
                f": expected at most {longest} properties, but got {len(value)}.",
            )
        for key, entry in value.items():
            if len(key) > longest_key:
                reject_value(f"a key is longer than {longest_key} characters.")
            check_entry(key, entry, value_check)

    return check


def check_entry(name: str, value: Any, check: Check) -> None:
    try:
        check(value)
    except Violation as violation:
        raise violation.under(f".{name[:_LONGEST_ECHO]}") from None


def record(fields: Mapping[str, Check], *, required: Collection[str] = ()) -> Check:
    """An object. Unknown keys are left alone; null counts as absent unless a field is required."""

    def check(value: Any) -> None:
        if type(value) is not dict:
            reject_type("an object", value)
        for name in required:
            if name not in value:
                raise missing(name)
        name = ""
        try:
            for name, entry in value.items():
                field = fields.get(name)
                if field is not None and (entry is not None or name in required):
                    field(entry)
        except Violation as violation:
            raise violation.under(f".{name}") from None

    return check


def variant(tag: str, kinds: Mapping[str, Check], *, default: str | None = None) -> Check:
    """An object whose `tag` says which check applies."""
    known = one_of(*kinds)

    def check(value: Any) -> None:
        if type(value) is not dict:
            reject_type("an object", value)
        kind: Any = value.get(tag)
        if kind is None:
            kind = default
        if type(kind) is not str or kind not in kinds:
            if tag not in value:
                raise missing(tag)
            check_entry(tag, kind, known)
        kinds[kind](value)

    return check


def string_or(shape: type, other: Check, *, text: Check = anything) -> Check:
    """A string that `text` allows, or a value of another shape that `other` allows."""
    expected = f"a string or {_TYPE_NAMES[shape]}"

    def check(value: Any) -> None:
        if type(value) is str:
            text(value)
        elif type(value) is shape:
            other(value)
        else:
            reject_type(expected, value)

    return check
