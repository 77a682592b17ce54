"""The subset of OpenAPI's schemas that Gemini takes, and what it says about everything else."""

from collections.abc import Mapping
from typing import Any

_TYPES = frozenset({"string", "number", "integer", "boolean", "array", "object", "null"})
_KEYS = frozenset(
    {
        "type", "format", "title", "description", "nullable", "enum", "items", "minItems", "maxItems",
        "properties", "required", "minProperties", "maxProperties", "propertyOrdering", "minimum", "maximum",
        "minLength", "maxLength", "pattern", "anyOf",
    }
)  # fmt: skip
_FORMATS: Mapping[str, tuple[str, ...]] = {
    "string": ("enum", "date-time"),
    "number": ("float", "double"),
    "integer": ("int32", "int64"),
}


class Refused(Exception):
    """The message of the vendor's 400."""


def need(condition: object, message: str) -> None:
    if not condition:
        raise Refused(message)


def check_schema(schema: Any, where: str) -> None:
    need(isinstance(schema, dict), f"Invalid value at '{where}'")
    for name in schema:
        need(
            name in _KEYS,
            f"Invalid JSON payload received. Unknown name \"{name}\" at '{where}': Cannot find field.",
        )
    kind = schema.get("type")
    kind = kind.lower() if isinstance(kind, str) else kind  # the API takes both
    if "anyOf" not in schema:
        need(isinstance(kind, str), f"* GenerateContentRequest.{where}.type: schema type should be specified")
        need(kind in _TYPES, f"Invalid value at '{where}.type'")
    _check_enum(schema, where)
    if "format" in schema:
        need(
            schema["format"] in _FORMATS.get(str(kind), ()),
            f"* GenerateContentRequest.{where}.format: only 'enum' and 'date-time' are supported for STRING",
        )
    if kind == "array":
        need("items" in schema, f"* GenerateContentRequest.{where}.items: missing field.")
        check_schema(schema["items"], f"{where}.items")
    for index, branch in enumerate(schema.get("anyOf", ())):
        check_schema(branch, f"{where}.any_of[{index}]")
    _check_properties(schema, where)


def _check_enum(schema: Mapping[str, Any], where: str) -> None:
    if "enum" not in schema:
        return
    need(str(schema.get("type")).lower() == "string", f"* {where}.enum: only allowed for STRING type")
    for value in schema["enum"]:
        need(isinstance(value, str) and value, f"Invalid value at '{where}.enum' (TYPE_STRING), {value}")


def _check_properties(schema: Mapping[str, Any], where: str) -> None:
    properties = schema.get("properties")
    if properties is not None:
        need(
            properties,
            f"* GenerateContentRequest.{where}.properties: should be non-empty for OBJECT type",
        )
        for name, inner in properties.items():
            check_schema(inner, f"{where}.properties[{name}]")
    for name in schema.get("required", ()):
        need(
            name in (properties or {}),
            f"* GenerateContentRequest.{where}.required[0]: property is not defined",
        )


def check_arguments(schema: Any, where: str) -> None:
    """A standard schema, of which the vendor refuses a few keys wherever they are keywords."""
    need(isinstance(schema, dict), f"Invalid value at '{where}'")
    need(schema.get("type") == "object", f"{where}: schema type should be 'object'")
    for name in ("$schema", "strict"):
        need(name not in schema, f"Unknown name \"{name}\" at '{where}': Cannot find field.")
