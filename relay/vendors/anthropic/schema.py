"""JSON Schemas as Anthropic takes them: for the arguments of tools, and for whole answers."""

from collections.abc import Mapping
from typing import Any

import orjson

from relay.errors import InvalidRequest

Schema = dict[str, Any]

_DEEPEST = 64  # levels; the vendor refuses far less
_UNIONS = ("anyOf", "oneOf", "allOf")
_NEVER_SENT = frozenset({"$schema", "$id", "$comment", "strict"})
_KEPT = frozenset(
    {"type", "title", "description", "enum", "const", "default", "required", "$ref", "additionalProperties"}
)
_MAPS = frozenset({"properties", "$defs", "definitions"})  # of schemas by names of the customer's
_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)


def tool_schema(parameters: object) -> Schema:
    """The arguments of a tool: an object, and no union at its top."""
    if not isinstance(parameters, dict):
        return {"type": "object", "properties": {}}
    schema = {name: value for name, value in parameters.items() if name not in _NEVER_SENT}
    for union in _UNIONS:
        branches = schema.pop(union, None)
        if isinstance(branches, list):
            _merge(schema, [each for each in branches if isinstance(each, dict)], needs_all=union == "allOf")
    schema["type"] = "object"
    schema.setdefault("properties", {})
    return schema


def _merge(schema: Schema, branches: list[Schema], *, needs_all: bool) -> None:
    """A union of objects as one object that takes what any of them takes."""
    properties: Schema = {}
    for branch in branches:
        properties.update(_mapping(branch.get("properties")))
    schema["properties"] = {**properties, **_mapping(schema.get("properties"))}
    required = [_names(branch.get("required")) for branch in branches]
    if not required:
        return
    common = set().union(*required) if needs_all else set(required[0]).intersection(*required[1:])
    wanted = sorted(common | _names(schema.get("required")))
    if wanted:
        schema["required"] = wanted


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _names(value: object) -> set[str]:
    return {name for name in value if isinstance(name, str)} if isinstance(value, list) else set()


def answer_schema(schema: object) -> Any:
    """What an answer must fulfil, in the subset the vendor enforces; the rest is told to the model in words.

    Raises InvalidRequest for a schema that is nested too deeply.
    """
    return _clean(schema, _DEEPEST)


def is_open(schema: object) -> bool:
    """Whether it lets in objects with keys of the model's choice, which the enforced subset does not have.

    Closing such an object would leave nothing but `{}`. Only for schemas that `answer_schema` took.
    """
    if not isinstance(schema, dict):
        return False
    more = schema.get("additionalProperties")
    if more is True or isinstance(more, dict):
        return True
    if schema.get("type") == "object" and more is None and not schema.get("properties"):
        return "$ref" not in schema
    inner = [each for name in _MAPS for each in _mapping(schema.get(name)).values()]
    inner += [each for name in _UNIONS if isinstance(schema.get(name), list) for each in schema[name]]
    return any(map(is_open, [*inner, schema.get("items")]))


def _clean(schema: object, levels: int) -> Any:
    if levels == 0:
        raise InvalidRequest(
            "Invalid 'response_format': the schema is nested too deeply.",
            param="response_format",
            reason="invalid_value",
        )
    if not isinstance(schema, dict):
        return schema
    cleaned: Schema = {}
    told: Schema = {}
    for name, value in schema.items():
        if name not in _NEVER_SENT:
            _place(name, value, (cleaned, told), levels - 1)
    if "properties" in cleaned or cleaned.get("type") == "object":
        cleaned["additionalProperties"] = False
    if told:
        cleaned["description"] = _tell(cleaned.get("description"), told)
    return cleaned


def _place(name: str, value: Any, places: tuple[Schema, Schema], levels: int) -> None:
    cleaned, told = places
    if name in _KEPT or (name == "format" and value in _FORMATS) or (name == "minItems" and value in (0, 1)):
        cleaned[name] = value
    elif name == "items":
        cleaned[name] = _clean(value, levels)
    elif name in _UNIONS and isinstance(value, list):
        union = "anyOf" if name == "oneOf" else name
        cleaned[union] = [*cleaned.get(union, ()), *(_clean(each, levels) for each in value)]
    elif name in _MAPS and isinstance(value, dict):
        cleaned[name] = {key: _clean(each, levels) for key, each in value.items()}
    else:
        told[name] = value


def _tell(description: object, told: Schema) -> str:
    said = f"{description}\n\n" if isinstance(description, str) and description else ""
    return said + "Must also fulfil: " + orjson.dumps(told).decode()
