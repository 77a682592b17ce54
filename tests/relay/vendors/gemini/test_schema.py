"""JSON Schemas made into what the vendor takes."""

from typing import Any

import pytest

from relay.errors import InvalidRequest
from relay.vendors.gemini.schema import openapi_schema, standard_schema
from tests.doubles.gemini_schemas import check_schema

WHERE = "tools[0].function.parameters"


def cleaned(schema: Any) -> dict[str, Any]:
    """The schema in the vendor's subset, held against what the vendor refuses."""
    result = openapi_schema(schema, WHERE)
    check_schema(result, "parameters")
    return result


def of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def prop(schema: Any) -> Any:
    return cleaned(of(a=schema))["properties"]["a"]


def test_the_golden_file_of_everything_the_vendor_refuses() -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "x",
        "$defs": {"Color": {"enum": ["red", "blue"], "description": "of it"}},
        "type": "object",
        "additionalProperties": False,
        "patternProperties": {"^x": {}},
        "strict": True,
        "properties": {
            "title": {"type": "string", "format": "email", "examples": ["a@b.c"], "readOnly": True},
            "format": {"$ref": "#/$defs/Color"},
            "count": {"type": ["integer", "null"], "exclusiveMinimum": 0, "default": 1},
            "kind": {"const": "fixed"},
            "level": {"type": "integer", "enum": [1, 2]},
            "options": {"type": "object", "additionalProperties": {"type": "string"}},
            "either": {"type": ["string", "number"]},
            "list": {"type": "array"},
        },
        "required": ["title", "gone", "title"],
    }
    assert cleaned(schema) == {
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "format": {"type": "string", "enum": ["red", "blue"], "description": "of it"},
            "count": {"type": "integer", "nullable": True, "minimum": 0},
            "kind": {"type": "string", "enum": ["fixed"]},
            "level": {"type": "string", "enum": ["1", "2"]},
            "options": {"type": "object"},
            "either": {"anyOf": [{"type": "string"}, {"type": "number"}]},
            "list": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["title"],
    }


def test_what_is_beside_a_reference_goes_over_it() -> None:
    schema = {
        **of(a={"$ref": "#/definitions/A", "description": "mine"}),
        "definitions": {"A": {"type": "string"}},
    }
    assert cleaned(schema)["properties"]["a"] == {"type": "string", "description": "mine"}


def test_a_schema_inside_itself_is_cut_off() -> None:
    node = of(value={"type": "integer"}, next={"$ref": "#/$defs/Node"})
    schema = {**of(first={"$ref": "#/$defs/Node"}), "$defs": {"Node": node}}
    first = cleaned(schema)["properties"]["first"]
    assert first["properties"]["next"] == {"type": "object"}
    assert cleaned({**of(a={"$ref": "#"})})["properties"]["a"]["properties"]["a"] == {"type": "object"}


@pytest.mark.parametrize(
    "reference", ["#/$defs/none", "https://a.example/schema", "#", "x", "#/properties/a/b"]
)
def test_a_reference_that_leads_nowhere_takes_any_object(reference: str) -> None:
    assert prop({"$ref": reference})["type"] == "object"


def test_references_with_escapes_in_them() -> None:
    schema = {**of(a={"$ref": "#/$defs/x~1y~0z"}), "$defs": {"x/y~z": {"type": "boolean"}}}
    assert cleaned(schema)["properties"]["a"] == {"type": "boolean"}


def test_all_of_is_one_schema() -> None:
    schema = {
        "$defs": {"A": {**of(x={"type": "string"}), "required": ["x"]}},
        "allOf": [
            {"$ref": "#/$defs/A"},
            {"$ref": "#/$defs/A"},
            {**of(y={"type": "integer"}), "required": ["y"]},
            7,
        ],
        "description": "both",
    }
    assert cleaned(schema) == {
        "type": "object",
        "description": "both",
        "properties": {"x": {"type": "string"}, "y": {"type": "integer"}},
        "required": ["x", "y"],
    }


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"oneOf": [{"type": "string"}, {"type": "null"}]}, {"type": "string", "nullable": True}),
        (
            {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
            {"anyOf": [{"type": "string"}, {"type": "integer"}], "nullable": True},
        ),
        ({"anyOf": [{"type": "null"}]}, {"type": "null", "nullable": True}),
        ({"anyOf": [{"type": "string"}], "description": "d"}, {"type": "string", "description": "d"}),
        ({"anyOf": []}, {"type": "object"}),
        ({"enum": ["a", None]}, {"type": "string", "enum": ["a"], "nullable": True}),
        ({"enum": ["", "a", "a"]}, {"type": "string", "enum": ["a"]}),
        ({"enum": [True, 1.5]}, {"type": "string", "enum": ["true", "1.5"]}),
        ({"type": "null"}, {"type": "null"}),
        ({"type": "STRING"}, {"type": "string"}),
        ({"type": ["array", "null"], "items": {"type": "integer"}},
         {"type": "array", "nullable": True, "items": {"type": "integer"}}),
        ({"items": {"type": "string"}}, {"type": "array", "items": {"type": "string"}}),
        ({"type": "array", "items": [{"type": "string"}]}, {"type": "array", "items": {"type": "string"}}),
        ({"type": "string", "format": "date-time", "minLength": 1}, {"type": "string", "format": "date-time",
                                                                    "minLength": 1}),
        ({"type": "string", "minLength": True, "title": 7}, {"type": "string"}),
        ({"type": "integer", "format": "int64", "minimum": 1, "exclusiveMinimum": 5},
         {"type": "integer", "format": "int64", "minimum": 1}),
        (True, {"type": "string"}),
        (False, {"type": "null"}),
        ({}, {"type": "object"}),
        ({"type": "nonsense"}, {"type": "object"}),
        ({"type": 7}, {"type": "object"}),
    ],
)  # fmt: skip
def test_each_keyword(schema: Any, told: dict[str, Any]) -> None:
    assert prop(schema) == told


def test_a_schema_that_multiplies_is_refused_before_it_fills_the_memory() -> None:
    names = [f"L{n}" for n in range(12)]
    defs: dict[str, Any] = {
        name: of(**{f"p{i}": {"$ref": f"#/$defs/L{n + 1}"} for i in range(8)})
        for n, name in enumerate(names[:-1])
    }
    with pytest.raises(InvalidRequest) as caught:
        cleaned({**of(a={"$ref": "#/$defs/L0"}), "$defs": {**defs, "L11": {"type": "string"}}})
    assert caught.value.param == WHERE


def test_a_schema_that_is_too_deep_is_refused() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(300):
        schema = {"type": "array", "items": schema}
    for clean in (openapi_schema, standard_schema):
        with pytest.raises(InvalidRequest):
            clean(schema, WHERE)


def test_a_standard_schema_loses_only_what_the_vendor_does_not_know() -> None:
    schema = {
        "$schema": "x",
        "type": "object",
        "$defs": {"A": {"$comment": "c", "type": "string"}},
        "properties": {"strict": {"$ref": "#/$defs/A"}, "a": {"anyOf": [{"$id": "y", "const": 1}]}},
        "additionalProperties": False,
        "default": {"$schema": "kept"},
    }
    assert standard_schema(schema, WHERE) == {
        "type": "object",
        "$defs": {"A": {"type": "string"}},
        "properties": {"strict": {"$ref": "#/$defs/A"}, "a": {"anyOf": [{"const": 1}]}},
        "additionalProperties": False,
        "default": {"$schema": "kept"},
    }
