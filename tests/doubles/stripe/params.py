"""Requests as Stripe reads them: form fields into values, refused where the SDK's own types know them not."""

import sys
import typing
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from functools import cache
from types import UnionType
from typing import Any, Literal, NotRequired, Union, get_args, get_origin

import stripe
from typing_extensions import is_typeddict

Json = dict[str, Any]
_OF_OPTIONS = {
    "StripeContext": stripe.StripeContext,
    "Mapping": Mapping,
}  # what RequestOptions is written with
_OPTIONS = frozenset(stripe.RequestOptions.__annotations__)
MOST_METADATA, LONGEST_NAME, LONGEST_VALUE = 50, 40, 500
_GONE = {"payment_method_types": "payment_method_types_no_longer_supported"}


class StripeError(Exception):
    """An error in Stripe's shape; `more` are further fields of it."""

    def __init__(self, status: int, kind: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body: Json = {"error": {"type": kind, "message": message, **more}}


def invalid(message: str, *, param: str | None = None, code: str | None = None) -> StripeError:
    more = {name: value for name, value in (("param", param), ("code", code)) if value}
    return StripeError(400, "invalid_request_error", message, **more)


def missing(kind: str, wanted: str, param: str = "id") -> StripeError:
    error = invalid(f"No such {kind}: '{wanted}'", param=param, code="resource_missing")
    error.status = 404 if param == "id" else 400
    return error


def decode(fields: Iterable[tuple[str, str]]) -> Json:
    """`a[b][0]=x` is {"a": {"b": ["x"]}}."""
    root: Json = {}
    for name, value in fields:
        first, *rest = name.replace("]", "").split("[")
        place = root
        for this, following in zip([first, *rest], rest, strict=False):
            del following
            place = place.setdefault(this, {})
        place[rest[-1] if rest else first] = value
    return {name: _lists(value) for name, value in root.items()}


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and all(name.isdigit() for name in value):
        return [_lists(value[name]) for name in sorted(value, key=int)]
    return {name: _lists(inner) for name, inner in value.items()}


def check(params: Json, known: type) -> Json:
    """The values typed as the SDK has them. Raises StripeError."""
    return _record(params, known, "")


def _record(given: Any, known: type, path: str) -> Json:
    if not isinstance(given, dict):
        raise invalid("Invalid object", param=path)
    hints = _hints(known)
    for name in given:
        if name not in hints:
            place = f"{path}[{name}]" if path else name
            if name in _GONE:
                raise invalid(f"The parameter {name} is no longer supported.", param=place, code=_GONE[name])
            raise invalid(f"Received unknown parameter: {place}", param=place, code="parameter_unknown")
    for name in _required(known):
        if name not in given:
            place = f"{path}[{name}]" if path else name
            raise invalid(f"Missing required param: {place}.", param=place, code="parameter_missing")
    return {
        name: _value(value, hints[name], f"{path}[{name}]" if path else name) for name, value in given.items()
    }


@cache
def _hints(known: type) -> dict[str, Any]:
    scope = {**vars(sys.modules[known.__module__]), **_OF_OPTIONS}
    hints = typing.get_type_hints(known, globalns=scope, include_extras=True)
    return {name: hint for name, hint in hints.items() if name not in _OPTIONS}


@cache
def _required(known: type) -> frozenset[str]:
    return frozenset(
        name
        for name, hint in _hints(known).items()
        if get_origin(hint) is not NotRequired and name in known.__required_keys__  # type: ignore[attr-defined]
    )


def _value(given: Any, hint: Any, path: str) -> Any:
    origin, parts = get_origin(hint), get_args(hint)
    if origin is NotRequired:
        return _value(given, parts[0], path)
    if origin in (Union, UnionType):
        return _first_that_fits(given, parts, path)
    if origin is Literal:
        if given not in parts:
            raise invalid(f"Invalid {path}: must be one of {', '.join(map(str, parts))}", param=path)
        return given
    if origin is list:
        if not isinstance(given, list):
            raise invalid("Invalid array", param=path)
        return [_value(one, parts[0], f"{path}[{place}]") for place, one in enumerate(given)]
    if origin is dict:
        return _mapping(given, parts[1], path)
    return _record(given, hint, path) if is_typeddict(hint) else _plain(given, hint, path)


def _mapping(given: Any, hint: Any, path: str) -> Json:
    pairs = _need_dict(given, path)
    if path.endswith(("metadata", "metadata]")):
        _check_metadata(pairs, path)
    return {name: _value(one, hint, f"{path}[{name}]") for name, one in pairs.items()}


def _check_metadata(given: Json, path: str) -> None:
    if len(given) > MOST_METADATA:
        raise invalid(f"Metadata can have up to {MOST_METADATA} keys.", param=path)
    for name, value in given.items():
        if len(name) > LONGEST_NAME or len(str(value)) > LONGEST_VALUE:
            raise invalid(
                f"Metadata names have up to {LONGEST_NAME} characters, values up to {LONGEST_VALUE}.",
                param=f"{path}[{name}]",
            )


def _first_that_fits(given: Any, hints: tuple[Any, ...], path: str) -> Any:
    """Of a list of words and `str` only the words: the SDK leaves room for words to come, Stripe does not."""
    problem: StripeError | None = None
    words = [word for hint in hints if get_origin(hint) is Literal for word in get_args(hint) if word]
    for hint in (hint for hint in hints if hint is not str or not words):
        try:
            return _value(given, hint, path)
        except StripeError as error:
            problem = error if problem is None or is_typeddict(hint) else problem
    assert problem is not None
    raise problem


def _need_dict(given: Any, path: str) -> Json:
    if not isinstance(given, dict):
        raise invalid("Invalid object", param=path)
    return given


def _plain(given: Any, hint: Any, path: str) -> Any:
    if not isinstance(given, str):
        raise invalid(f"Invalid {getattr(hint, '__name__', hint)}", param=path)
    if hint is bool:
        if given not in ("true", "false"):
            raise invalid(f"Invalid boolean: {given}", param=path)
        return given == "true"
    try:
        return hint(given) if hint in (int, Decimal, float) else given
    except (ValueError, InvalidOperation):
        raise invalid(f"Invalid {hint.__name__}: {given}", param=path) from None
