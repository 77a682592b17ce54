"""JSON Schemas as Gemini takes them: its own subset of OpenAPI's, or standard ones with a few keys left out.

Only keys that are keywords are touched: a property may be called `title` or `format` like any other.
"""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from relay.errors import InvalidRequest

Schema = dict[str, Any]

_DEEPEST = 32  # levels, references followed
_LARGEST = 10_000  # subschemas: references inside references multiply
_NEVER_SENT = frozenset({"$schema", "$id", "$comment", "strict"})
_MAPS = frozenset({"properties", "$defs", "definitions", "patternProperties", "dependentSchemas"})
_INNER = frozenset(
    {
        "items", "additionalProperties", "not", "if", "then", "else", "contains",
        "anyOf", "oneOf", "allOf", "prefixItems",
    }
)  # fmt: skip
_TYPES = frozenset({"string", "number", "integer", "boolean", "array", "object", "null"})
# Taken over as they are, where they are of the right kind.
_COPIED: Mapping[str, type | tuple[type, ...]] = {
    "title": str,
    "description": str,
    "nullable": bool,
    "minItems": int,
    "maxItems": int,
    "minProperties": int,
    "maxProperties": int,
    "minLength": int,
    "maxLength": int,
    "minimum": (int, float),
    "maximum": (int, float),
    "pattern": str,
}
_FORMATS: Mapping[str, frozenset[str]] = {
    "string": frozenset({"enum", "date-time"}),
    "number": frozenset({"float", "double"}),
    "integer": frozenset({"int32", "int64"}),
}


def standard_schema(schema: object, where: str) -> Any:
    """A standard schema without what the vendor does not know. `where` is its path, for errors.

    Raises InvalidRequest for one that is nested too deeply.
    """
    return _standard(schema, where, _DEEPEST)


def _standard(schema: object, where: str, levels: int) -> Any:
    if levels == 0:
        raise _too_large(where)
    if isinstance(schema, list):
        return [_standard(each, where, levels - 1) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept: Schema = {}
    for name, value in schema.items():
        if name in _MAPS and isinstance(value, dict):
            kept[name] = {key: _standard(each, where, levels - 1) for key, each in value.items()}
        elif name not in _NEVER_SENT:
            kept[name] = _standard(value, where, levels - 1) if name in _INNER else value
    return kept


def _too_large(where: str) -> InvalidRequest:
    return InvalidRequest(
        f"Invalid '{where}': the schema is nested too deeply or too large.",
        param=where,
        reason="invalid_value",
    )


def openapi_schema(schema: object, where: str) -> Schema:
    """The nearest schema in the vendor's subset: references put in, unions and types in its words.

    Raises InvalidRequest for one that is too large.
    """
    root = schema if isinstance(schema, dict) else {}
    return _Cleaner(root, where).clean(root, _DEEPEST, frozenset())


class _Cleaner:
    """`seen` are the references that led to a schema: one that leads back to itself is cut off."""

    __slots__ = ("_left", "_root", "_where")

    def __init__(self, root: Schema, where: str) -> None:
        self._root = root
        self._where = where
        self._left = _LARGEST

    def clean(self, schema: object, levels: int, seen: frozenset[str]) -> Schema:
        if not isinstance(schema, dict):
            return {"type": "null" if schema is False else "string"}
        schema, seen = self._flatten(schema, levels, seen)
        cleaned = {name: value for name, value in schema.items() if _is_copied(name, value)}
        _note_bounds(schema, cleaned)
        kinds = _kinds(schema) or [_guess(schema)]
        if len(kinds) > 1 and "null" in kinds:
            cleaned["nullable"] = True
            kinds.remove("null")
        branches = self._branches(schema, levels, seen) if "anyOf" in schema or "oneOf" in schema else []
        if branches:
            _put_branches(cleaned, branches)
        elif len(kinds) > 1:
            cleaned["anyOf"] = [self._typed(schema, {"type": kind}, levels, seen) for kind in kinds]
        else:
            cleaned["type"] = kinds[0]
            self._typed(schema, cleaned, levels, seen)
        return cleaned

    def _branches(self, schema: Schema, levels: int, seen: frozenset[str]) -> list[Schema]:
        unions = [schema[name] for name in ("anyOf", "oneOf") if isinstance(schema.get(name), list)]
        return [self.clean(each, levels - 1, seen) for union in unions for each in union]

    def _flatten(self, schema: Schema, levels: int, seen: frozenset[str]) -> tuple[Schema, frozenset[str]]:
        """References and `allOf` put in; what stands beside them goes over what they bring."""
        self._left -= 1
        if levels <= 0 or self._left < 0:
            raise _too_large(self._where)
        if "$ref" not in schema and "allOf" not in schema:
            return schema, seen
        brought: list[Schema] = []
        reference = schema.get("$ref")
        if isinstance(reference, str):
            target = _find(self._root, reference)
            if target is None or reference in seen:
                target = {"type": "object"}
            seen |= {reference}
            brought.append(target)
        listed = schema.get("allOf")
        brought += [each for each in (listed if isinstance(listed, list) else ()) if isinstance(each, dict)]
        flat = [self._flatten(each, levels - 1, seen) for each in brought]
        beside = {name: value for name, value in schema.items() if name not in ("$ref", "allOf")}
        return _merge([*(each for each, _ in flat), beside]), seen.union(*(more for _, more in flat))

    def _typed(self, schema: Schema, cleaned: Schema, levels: int, seen: frozenset[str]) -> Schema:
        """What depends on the type, which `cleaned` has."""
        kind = cleaned["type"]
        if "format" in schema and str(schema["format"]) in _FORMATS.get(kind, ()):
            cleaned["format"] = schema["format"]
        if kind == "array":
            items = schema.get("items", True)
            cleaned["items"] = self.clean(items, levels - 1, seen)
        elif kind == "object":
            self._put_properties(schema, cleaned, levels, seen)
        else:
            _put_enum(schema, cleaned)
        return cleaned

    def _put_properties(self, schema: Schema, cleaned: Schema, levels: int, seen: frozenset[str]) -> None:
        given = schema.get("properties")
        if not isinstance(given, dict) or not given:
            return
        cleaned["properties"] = {name: self.clean(each, levels - 1, seen) for name, each in given.items()}
        for source in ("required", "propertyOrdering"):
            names = schema.get(source)
            listed = [each for each in names if isinstance(each, str)] if isinstance(names, list) else []
            known = dict.fromkeys(name for name in listed if name in given)
            if known:
                cleaned[source] = list(known)


def _find(root: Schema, reference: str) -> Schema | None:
    """What a reference inside the same schema leads to."""
    if not reference.startswith("#"):
        return None
    place: Any = root
    for step in reference[1:].split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        place = place.get(name) if isinstance(place, dict) else None
    return place if isinstance(place, dict) else None


def _merge(parts: list[Schema]) -> Schema:
    """Several schemas that must all hold: properties and required names together, else the last word."""
    merged: Schema = {}
    for part in parts:
        for name, value in part.items():
            merged[name] = _JOINED.get(name, _last)(merged.get(name), value)
    return merged


def _last(_before: Any, value: Any) -> Any:
    return value


def _join_maps(before: Any, value: Any) -> Any:
    return {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value


def _join_lists(before: Any, value: Any) -> Any:
    return [*before, *value] if isinstance(before, list) and isinstance(value, list) else value


_JOINED: Mapping[str, Callable[[Any, Any], Any]] = {"properties": _join_maps, "required": _join_lists}


def _is_copied(name: str, value: Any) -> bool:
    kind = _COPIED.get(name)
    return kind is not None and isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _note_bounds(schema: Schema, cleaned: Schema) -> None:
    """The vendor has no exclusive bounds; the inclusive one is the nearest."""
    for exclusive, inclusive in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        bound = schema.get(exclusive)
        if type(bound) in (int, float):
            cleaned.setdefault(inclusive, bound)


def _kinds(schema: Schema) -> list[str]:
    """The types a schema names, each once, in lower case as JSON Schema has them."""
    named = schema.get("type")
    if isinstance(named, str) and named in _TYPES:
        return [named]
    listed = named if isinstance(named, list) else [named]
    kinds = [each.lower() for each in listed if isinstance(each, str)]
    return list(dict.fromkeys(kind for kind in kinds if kind in _TYPES))


def _guess(schema: Schema) -> str:
    """The type of a schema that names none."""
    if isinstance(schema.get("properties"), dict):
        return "object"
    if "items" in schema:
        return "array"
    return "string" if _choices(schema) or schema.get("pattern") else "object"


def _choices(schema: Schema) -> list[Any]:
    if "const" in schema:
        return [schema["const"]]
    listed = schema.get("enum")
    return listed if isinstance(listed, list) else []


def _put_enum(schema: Schema, cleaned: Schema) -> None:
    """The vendor's enums are of strings only; null among them is a matter of `nullable`."""
    choices = _choices(schema)
    if not choices:
        return
    if None in choices:
        cleaned["nullable"] = True
    written = [
        each if isinstance(each, str) else orjson.dumps(each).decode() for each in choices if each is not None
    ]
    if written and cleaned["type"] != "null":
        cleaned["type"] = "string"
        cleaned["enum"] = list(dict.fromkeys(each for each in written if each))
        cleaned.pop("format", None)
        for bound in ("minimum", "maximum"):
            cleaned.pop(bound, None)


def _put_branches(cleaned: Schema, branches: list[Schema]) -> None:
    """A union with null is one that may be null; of one branch alone it is no union."""
    others = [branch for branch in branches if branch.get("type") != "null"]
    if len(others) < len(branches):
        cleaned["nullable"] = True
    if len(others) == 1:
        merged = {**others[0], **cleaned}
        cleaned.clear()
        cleaned.update(merged)
    elif others:
        cleaned["anyOf"] = others
    else:
        cleaned["type"] = "null"
