from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import InvalidRequest, envelope
from relay.protocols.openai_chat.request import parse_request
from relay.protocols.openai_chat.validation import FIELDS

HELLO = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "f"}}


def refusal(**fields: Any) -> InvalidRequest:
    body = {"model": "gpt-4o", "messages": HELLO, **fields}
    with pytest.raises(InvalidRequest) as caught:
        parse_request(orjson.dumps({key: body[key] for key in body if body[key] is not ...}))
    return caught.value


def accept(**fields: Any) -> None:
    parse_request(orjson.dumps({"model": "gpt-4o", "messages": HELLO, **fields}))


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b'{"a":NaN}', b"[" * 3000, b"<html>"])
def test_broken_json_names_no_parameter(raw: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_request(raw)
    error = envelope(caught.value)["error"]
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", None, None)
    assert "JSON" in error["message"]


@pytest.mark.parametrize("raw", [b"[]", b"null", b'"text"', b"1"])
def test_a_body_that_is_no_object_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_request(raw)
    assert caught.value.wire_code is None


@pytest.mark.parametrize("name", ["model", "messages"])
def test_a_required_parameter_is_missed(name: str) -> None:
    error = refusal(**{name: ...})
    assert (error.reason, error.param) == ("missing_required_parameter", name)


@pytest.mark.parametrize("name", ["model", "messages"])
def test_null_is_not_a_value_of_a_required_parameter(name: str) -> None:
    error = refusal(**{name: None})
    assert (error.reason, error.param) == ("invalid_type", name)


def test_a_message_says_what_was_expected() -> None:
    assert refusal(temperature=3).message == "Invalid 'temperature': expected a value <= 2, but got 3."
    assert refusal(model=...).message == "Missing required parameter: 'model'."
    assert refusal(n="1").message == ("Invalid type for 'n': expected an integer, but got a string.")


RANGES = [
    ("temperature", 0, 2, "decimal"),
    ("top_p", 0, 1, "decimal"),
    ("presence_penalty", -2, 2, "decimal"),
    ("frequency_penalty", -2, 2, "decimal"),
    ("n", 1, 128, "integer"),
    ("max_tokens", 1, 10**9, "integer"),
    ("max_completion_tokens", 1, 10**9, "integer"),
    ("seed", -(2**63), 2**63 - 1, "integer"),
]


@pytest.mark.parametrize(("name", "low", "high", "kind"), RANGES)
def test_both_ends_of_a_range_are_allowed_and_nothing_beyond(
    name: str, low: int, high: int, kind: str
) -> None:
    accept(**{name: low})
    accept(**{name: high})
    assert refusal(**{name: high + 1}).reason == f"{kind}_above_max_value"
    assert refusal(**{name: high + 1}).param == name
    if low > -(2**63):
        assert refusal(**{name: low - 1}).reason == f"{kind}_below_min_value"


def test_top_logprobs_has_a_range_and_needs_logprobs() -> None:
    accept(logprobs=True, top_logprobs=20)
    assert refusal(logprobs=True, top_logprobs=21).reason == "integer_above_max_value"
    assert refusal(top_logprobs=2).param == "top_logprobs"
    assert refusal(logprobs=False, top_logprobs=0).param == "top_logprobs"


@pytest.mark.parametrize("value", [True, "1", [], {}])
@pytest.mark.parametrize("name", [name for name, *_ in RANGES])
def test_only_numbers_are_numbers(name: str, value: object) -> None:
    error = refusal(**{name: value})
    assert (error.reason, error.param) == ("invalid_type", name)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_limit_may_be_a_decimal_without_a_fraction(name: str) -> None:
    accept(**{name: 1024.0})
    assert refusal(**{name: 10.5}).reason == "invalid_type"
    assert refusal(**{name: 0.0}).reason == "integer_below_min_value"


@pytest.mark.parametrize("value", [1.0, 1.5])
def test_a_count_is_an_integer(value: float) -> None:
    assert refusal(n=value).reason == "invalid_type"


@pytest.mark.parametrize(
    ("fields", "reason", "param"),
    [
        ({"model": 5}, "invalid_type", "model"),
        ({"messages": []}, "empty_array", "messages"),
        ({"messages": {}}, "invalid_type", "messages"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "array_above_max_length", "stop"),
        ({"stop": []}, "empty_array", "stop"),
        ({"stop": 5}, "invalid_type", "stop"),
        ({"stop": ["a", 5]}, "invalid_type", "stop[1]"),
        ({"tools": [TOOL] * 129}, "array_above_max_length", "tools"),
        ({"tools": [5]}, "invalid_type", "tools[0]"),
        ({"tools": [{}]}, "missing_required_parameter", "tools[0].type"),
        ({"tools": [{"type": "search"}]}, "invalid_value", "tools[0].type"),
        ({"tools": [{"type": 1}]}, "invalid_type", "tools[0].type"),
        (
            {"tools": [{"type": "function"}]},
            "missing_required_parameter",
            "tools[0].function",
        ),
        (
            {"tools": [TOOL, {"type": "function", "function": {}}]},
            "missing_required_parameter",
            "tools[1].function.name",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "a.b"}}]},
            "invalid_value",
            "tools[0].function.name",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": ""}}]},
            "invalid_value",
            "tools[0].function.name",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "a" * 65}}]},
            "string_above_max_length",
            "tools[0].function.name",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]},
            "invalid_type",
            "tools[0].function.parameters",
        ),
        ({"tool_choice": "required"}, "invalid_value", "tool_choice"),
        ({"tools": [TOOL], "tool_choice": "f"}, "invalid_value", "tool_choice"),
        ({"tools": [TOOL], "tool_choice": 1}, "invalid_type", "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {}}, "missing_required_parameter", "tool_choice.type"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {}}},
            "missing_required_parameter",
            "tool_choice.function.name",
        ),
        ({"functions": []}, "empty_array", "functions"),
        ({"functions": [{}]}, "missing_required_parameter", "functions[0].name"),
        ({"function_call": "required"}, "invalid_value", "function_call"),
        ({"response_format": "json"}, "invalid_type", "response_format"),
        ({"response_format": {"type": "xml"}}, "invalid_value", "response_format.type"),
        (
            {"response_format": {"type": "json_schema"}},
            "missing_required_parameter",
            "response_format.json_schema",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
            "missing_required_parameter",
            "response_format.json_schema.name",
        ),
        ({"stream": "true"}, "invalid_type", "stream"),
        ({"stream": 1}, "invalid_type", "stream"),
        ({"stream_options": {"include_usage": True}}, "invalid_value", "stream_options"),
        (
            {"stream": False, "stream_options": {"include_usage": True}},
            "invalid_value",
            "stream_options",
        ),
        (
            {"stream": True, "stream_options": {"include_usage": 1}},
            "invalid_type",
            "stream_options.include_usage",
        ),
        ({"logit_bias": {"50256": 101}}, "decimal_above_max_value", "logit_bias.50256"),
        ({"logit_bias": []}, "invalid_type", "logit_bias"),
        ({"logprobs": 3}, "invalid_type", "logprobs"),
        ({"user": 5}, "invalid_type", "user"),
        ({"metadata": {"a": 1}}, "invalid_type", "metadata.a"),
        ({"metadata": {"a": "b" * 513}}, "string_above_max_length", "metadata.a"),
        ({"metadata": {"a" * 65: "b"}}, "invalid_value", "metadata"),
        (
            {"metadata": {str(number): "x" for number in range(17)}},
            "object_above_max_properties",
            "metadata",
        ),
        ({"reasoning_effort": "huge"}, "invalid_value", "reasoning_effort"),
        ({"verbosity": "loud"}, "invalid_value", "verbosity"),
        ({"modalities": ["text", "video"]}, "invalid_value", "modalities[1]"),
        ({"modalities": ["audio"]}, "invalid_value", "modalities"),
        ({"parallel_tool_calls": "no"}, "invalid_type", "parallel_tool_calls"),
        ({"service_tier": "fastest"}, "invalid_value", "service_tier"),
        ({"web_search_options": {}}, "unsupported_parameter", "web_search_options"),
        ({"enable_search": True}, "unsupported_parameter", "enable_search"),
        ({"prediction": {"content": "x"}}, "missing_required_parameter", "prediction.type"),
        ({"thinking": True}, "invalid_type", "thinking"),
        (
            {"chat_template_kwargs": {"chat_template": "{{ 1 }}"}},
            "invalid_type",
            "chat_template_kwargs.chat_template",
        ),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], reason: str, param: str) -> None:
    error = refusal(**fields)
    assert (error.reason, error.param) == (reason, param)


@pytest.mark.parametrize(
    "fields",
    [
        {"stop": "END"},
        {"stop": ["a", "b", "c", "d"]},
        {"tools": []},
        {"tools": [TOOL] * 128, "tool_choice": "required", "parallel_tool_calls": False},
        {"tools": [{"type": "custom", "custom": {"name": "c", "format": {"type": "text"}}}]},
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}},
        {
            "tools": [TOOL],
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [TOOL]},
            },
        },
        {"tool_choice": "none"},
        {"functions": [{"name": "f"}], "function_call": {"name": "f"}},
        {"response_format": {"type": "text"}},
        {"response_format": {"type": "json_object"}},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "s", "schema": {"type": "object"}, "strict": True},
            }
        },
        {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}},
        {"stream": True, "stream_options": None},
        {"logit_bias": {"50256": -100, "11": 2.5}},
        {"metadata": {"team": "blue"}, "store": True},
        {"reasoning_effort": "minimal", "verbosity": "low"},
        {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}},
        {"prediction": {"type": "content", "content": [{"type": "text", "text": "x"}]}},
        {"enable_thinking": True, "thinking_budget": 100, "top_k": 20},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"enable_search": False, "service_tier": "auto"},
        {"api_base": "http://evil.example", "extra_headers": {"a": "b"}},
    ],
)
def test_what_is_right_is_accepted(fields: dict[str, Any]) -> None:
    accept(**fields)


def test_null_is_absent_for_every_optional_parameter() -> None:
    names = ["temperature", "stop", "tools", "tool_choice", "stream", "stream_options", "user"]
    accept(**dict.fromkeys([*names, "top_logprobs", "response_format", "modalities", "logit_bias"]))


def test_long_values_are_not_echoed_whole() -> None:
    assert len(refusal(verbosity="x" * 5000).message) < 300


scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-5, 5) | st.just("function")
keys = st.sampled_from(["type", "role", "content", "function", "custom", "name", "tool_calls", "id"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=5,
)


def blamed(fields: dict[str, Any]) -> str | None:
    try:
        accept(**fields)
    except InvalidRequest as error:
        return str(error.param)
    return None


@given(st.dictionaries(st.sampled_from(sorted(FIELDS)), values, min_size=1, max_size=3))
def test_whatever_is_sent_is_accepted_or_blamed_on_a_parameter(fields: dict[str, Any]) -> None:
    param = blamed(fields)
    assert param is None or param.split(".")[0].split("[")[0] in fields
