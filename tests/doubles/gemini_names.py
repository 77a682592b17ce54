"""Both spellings of the vendor's field names: the API takes `thinking_budget` for `thinkingBudget`."""

from typing import Any

# What lies below these is the caller's own, and stays as it is.
_FREE = frozenset({"args", "response", "parametersJsonSchema", "responseJsonSchema"})
_OF_NAMES = frozenset({"properties"})  # the keys are the caller's, what they lead to is not


def in_camel_case(value: Any) -> Any:
    if isinstance(value, list):
        return [in_camel_case(each) for each in value]
    if not isinstance(value, dict):
        return value
    spelt = {_camel(name): each for name, each in value.items()}
    return {name: _below(name, each) for name, each in spelt.items()}


def _below(name: str, value: Any) -> Any:
    if name in _FREE:
        return value
    if name in _OF_NAMES and isinstance(value, dict):
        return {key: in_camel_case(each) for key, each in value.items()}
    return in_camel_case(value)


def _camel(name: str) -> str:
    first, *more = name.split("_")
    return first + "".join(each.capitalize() for each in more)
