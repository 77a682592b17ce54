"""What a customer's parameters become at Anthropic, refused or left out where it has none."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from relay.errors import InvalidRequest
from relay.protocols.openai_chat.request import parse_request
from relay.vendors.anthropic import build_request, headers
from tests.relay.vendors.anthropic.families import (
    HAIKU_3_5,
    HELLO,
    OPUS_4_5,
    OPUS_5,
    OPUS_5_5,
    SONNET_4_5,
    SONNET_4_6,
    SONNET_5_5,
    TRAITS,
    build,
    build_unchecked,
    calls,
    result,
    sent,
    tool,
)

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "title": {"type": "string", "maxLength": 9, "description": "short"},
        "when": {"type": "string", "format": "date"},
        "code": {"type": "string", "format": "credit-card"},
        "tags": {"type": "array", "items": {"oneOf": [{"type": "string"}, {"type": "null"}]}, "minItems": 1},
        "inner": {"type": "object", "properties": {"minimum": {"type": "integer", "minimum": 3}}},
    },
    "required": ["title", "when", "code", "tags", "inner"],
}


def by_schema(schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema or SCHEMA}}


def refused(**fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        build_unchecked(fields.pop("messages", HELLO), **{"model": SONNET_4_5, **fields})
    return caught.value


def test_a_plain_request() -> None:
    request = build()
    assert request.path == "/v1/messages"
    assert orjson.loads(request.body) == {
        "model": SONNET_4_5,
        "max_tokens": 64_000,
        "stream": True,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
    }
    assert (request.dropped, request.stream_answer, request.json_tool) == ((), True, None)


def test_the_version_is_the_one_that_has_sampling() -> None:
    assert ("anthropic-version", "2023-06-01") in headers("k")
    assert ("x-api-key", "k") in headers("k")


@pytest.mark.parametrize(
    ("fields", "param", "reason"),
    [
        ({"n": 2}, "n", "unsupported_value"),
        ({"logprobs": True}, "logprobs", "unsupported_parameter"),
        ({"modalities": ["text", "audio"], "audio": {"voice": "a", "format": "mp3"}}, "modalities", None),
        ({"tools": [{"type": "custom", "custom": {"name": "c"}}]}, "tools[0].type", "unsupported_value"),
    ],
)
def test_what_would_change_the_answer_is_refused(
    fields: dict[str, Any], param: str, reason: str | None
) -> None:
    error = refused(**fields)
    assert (error.param, error.wire_code) == (param, reason or "unsupported_value")


def test_what_only_asks_nicely_is_left_out_and_named() -> None:
    request = build(
        seed=0, presence_penalty=1, frequency_penalty=-1.0, logit_bias={"1": 5}, verbosity="low", user="u"
    )
    assert set(request.dropped) == {
        "seed", "presence_penalty", "frequency_penalty", "logit_bias", "verbosity", "user",
    }  # fmt: skip
    assert set(orjson.loads(request.body)) == {"model", "max_tokens", "messages", "stream"}


def test_values_that_change_nothing_are_not_worth_a_word() -> None:
    request = build(
        n=1, presence_penalty=0, frequency_penalty=0.0, logit_bias={}, logprobs=False, top_p=1, temperature=1,
        modalities=["text"], response_format={"type": "text"}, store=False, seed=None,
    )  # fmt: skip
    assert request.dropped == ()
    assert set(orjson.loads(request.body)) == {"model", "max_tokens", "messages", "stream"}


def test_the_users_hash_is_the_one_handed_in() -> None:
    body = sent(user="anna@example.org", user_id="a1b2")
    assert body["metadata"] == {"user_id": "a1b2"}
    assert b"anna" not in orjson.dumps(body)


def test_the_request_of_the_customer_stays_as_it_is() -> None:
    raw = {
        "model": "m",
        "messages": [{"role": "system", "content": "S"}, calls("a.b"), result("a.b"), *HELLO],
        "tools": [tool()],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": by_schema(),
        "temperature": 2,
    }
    chat = parse_request(orjson.dumps(raw))
    for _ in range(2):
        first = build_request(
            chat, upstream_model=SONNET_4_5, traits=TRAITS[SONNET_4_5], max_output_tokens=None, memory={},
            user_id=None,
        )  # fmt: skip
        assert orjson.dumps(chat.body) == orjson.dumps(raw)
    assert first.tool_names == {}


# Limits


def test_max_tokens_missing_gets_the_models_default() -> None:
    assert sent()["max_tokens"] == 64_000
    assert sent(model=HAIKU_3_5)["max_tokens"] == 4_096


def test_max_tokens_above_the_models_limit_is_lowered() -> None:
    assert sent(model=HAIKU_3_5, max_tokens=100_000)["max_tokens"] == 8_192


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_both_names_of_the_limit_count(field: str) -> None:
    limit: dict[str, Any] = {field: 77}
    assert sent(**limit)["max_tokens"] == 77


def test_the_limit_of_the_hold_counts_before_the_customers() -> None:
    assert sent(max_tokens=500, limit=50)["max_tokens"] == 50


def test_long_whole_answers_are_streamed_from_the_vendor() -> None:
    short, long = build(max_tokens=21_333), build(max_tokens=21_334)
    assert (short.stream_answer, long.stream_answer) == (False, True)
    assert orjson.loads(long.body)["stream"] is True
    streaming = build(max_tokens=30_000, stream=True)
    assert not streaming.stream_answer
    assert orjson.loads(streaming.body)["stream"] is True


# Sampling

SAMPLING = [
    (HAIKU_3_5, {"temperature": 0.2}, {"temperature": 0.2}, ()),
    (HAIKU_3_5, {"temperature": 0.2, "top_p": 0.9}, {"temperature": 0.2, "top_p": 0.9}, ()),
    (HAIKU_3_5, {"temperature": 1.7}, {"temperature": 1}, ()),
    (SONNET_4_5, {"temperature": 0}, {"temperature": 0}, ()),
    (SONNET_4_5, {"top_p": 0.9}, {"top_p": 0.9}, ()),
    (SONNET_4_5, {"temperature": 0.2, "top_p": 0.9}, {"temperature": 0.2}, ("top_p",)),
    (SONNET_4_5, {"temperature": 0.2, "top_p": 1}, {"temperature": 0.2}, ()),
    (SONNET_4_5, {"temperature": 1.7}, {"temperature": 1}, ()),
    (SONNET_4_5, {"top_k": 5}, {"top_k": 5}, ()),
    (SONNET_4_6, {"temperature": 0.2, "top_p": 0.9}, {"temperature": 0.2}, ("top_p",)),
    (OPUS_5, {"temperature": 0.2}, {}, ("temperature",)),
    (OPUS_5, {"temperature": 1, "top_p": 1}, {}, ()),
    (OPUS_5, {"top_p": 0.5, "top_k": 3}, {}, ("top_p", "top_k")),
    (OPUS_5_5, {"temperature": 1.7, "top_p": 0.5}, {}, ("temperature", "top_p")),
]  # fmt: skip


@pytest.mark.parametrize(("model", "wanted", "given", "dropped"), SAMPLING)
def test_temperature_and_top_p_as_each_model_takes_them(
    model: str, wanted: dict[str, Any], given: dict[str, Any], dropped: tuple[str, ...]
) -> None:
    request = build(model=model, **wanted)
    body = orjson.loads(request.body)
    assert {name: body[name] for name in ("temperature", "top_p", "top_k") if name in body} == given
    assert request.dropped == dropped


# Stop


def test_one_stop_or_many() -> None:
    assert sent(stop="END")["stop_sequences"] == ["END"]
    assert sent(stop=["a", "b", "c", "d"])["stop_sequences"] == ["a", "b", "c", "d"]


@pytest.mark.parametrize(("stop", "kept"), [("\n", None), (["\n", "x"], ["x"]), (["  "], None)])
def test_stops_of_white_space_only_are_left_out_and_named(stop: Any, kept: list[str] | None) -> None:
    request = build(stop=stop)
    assert orjson.loads(request.body).get("stop_sequences") == kept
    assert request.dropped == ("stop",)


# Tools


def test_tools_with_and_without_parameters() -> None:
    bare = {"type": "function", "function": {"name": "g"}}
    tools = sent(tools=[tool(description="Does f."), bare])["tools"]
    assert tools == [
        {
            "name": "f",
            "description": "Does f.",
            "input_schema": {"type": "object", "properties": {"a": {"type": "integer"}}},
        },
        {"name": "g", "input_schema": {"type": "object", "properties": {}}},
    ]


def test_a_schema_without_a_type_or_with_a_union_at_its_top_is_made_an_object() -> None:
    branches = [
        {"type": "object", "properties": {"a": {"type": "string"}, "c": {}}, "required": ["a", "c"]},
        {"type": "object", "properties": {"b": {"type": "string"}, "c": {}}, "required": ["b", "c"]},
    ]
    parameters = {"$schema": "x", "anyOf": branches, "properties": {"d": {}}, "required": ["d"]}
    (described,) = sent(tools=[tool(parameters=parameters)])["tools"]
    assert described["input_schema"] == {
        "type": "object",
        "properties": {"a": {"type": "string"}, "c": {}, "b": {"type": "string"}, "d": {}},
        "required": ["c", "d"],
    }


def test_strict_is_left_out_where_the_model_has_none() -> None:
    request = build(tools=[tool(strict=True)])
    assert "strict" not in orjson.loads(request.body)["tools"][0]
    assert request.dropped == ("tools[].function.strict",)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, None),
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ({"type": "function", "function": {"name": "g"}}, {"type": "tool", "name": "g"}),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": "g"}}],
                },
            },
            {"type": "any"},
        ),
    ],
)
def test_every_form_of_tool_choice(choice: Any, expected: dict[str, Any] | None) -> None:
    body = sent(tools=[tool("f"), tool("g")], tool_choice=choice)
    assert body.get("tool_choice") == expected
    limited = isinstance(choice, dict) and choice["type"] == "allowed_tools"
    assert [each["name"] for each in body["tools"]] == (["g"] if limited else ["f", "g"])


def test_a_choice_that_is_not_among_the_tools_is_refused() -> None:
    error = refused(tools=[tool()], tool_choice={"type": "function", "function": {"name": "x"}})
    assert (error.param, error.wire_code) == ("tool_choice", "invalid_value")
    nobody = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}
    assert refused(tools=[tool()], tool_choice=nobody).param == "tool_choice"


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "f"}}])
def test_a_model_that_cannot_be_forced_says_so(choice: Any) -> None:
    error = refused(model=OPUS_5_5, tools=[tool()], tool_choice=choice)
    assert (error.param, error.wire_code) == ("tool_choice", "unsupported_value")


def test_a_custom_tool_cannot_be_chosen() -> None:
    error = refused(tools=[tool()], tool_choice={"type": "custom", "custom": {"name": "f"}})
    assert error.wire_code == "unsupported_value"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, {"type": "auto", "disable_parallel_tool_use": True}),
        ("required", {"type": "any", "disable_parallel_tool_use": True}),
        ("none", {"type": "none"}),
    ],
)
def test_parallel_tool_calls_off(choice: Any, expected: dict[str, Any]) -> None:
    assert sent(tools=[tool()], tool_choice=choice, parallel_tool_calls=False)["tool_choice"] == expected


def test_parallel_tool_calls_without_tools_says_nothing() -> None:
    request = build(parallel_tool_calls=False)
    assert "tool_choice" not in orjson.loads(request.body)
    assert request.dropped == ()


def test_the_deprecated_form_of_tools() -> None:
    functions = [{"name": "f", "parameters": {"type": "object"}}]
    request = build(functions=functions, function_call={"name": "f"})
    body = orjson.loads(request.body)
    assert request.function_form
    assert body["tool_choice"] == {"type": "tool", "name": "f", "disable_parallel_tool_use": True}
    assert [each["name"] for each in body["tools"]] == ["f"]


# JSON


def test_a_schema_goes_natively_in_the_subset_the_vendor_enforces() -> None:
    request = build(response_format=by_schema())
    schema = orjson.loads(request.body)["output_config"]["format"]["schema"]
    assert request.json_tool is None
    assert schema == {
        "type": "object",
        "properties": {
            "title": {"type": "string", "description": 'short\n\nMust also fulfil: {"maxLength":9}'},
            "when": {"type": "string", "format": "date"},
            "code": {"type": "string", "description": 'Must also fulfil: {"format":"credit-card"}'},
            "tags": {
                "type": "array",
                "items": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                "minItems": 1,
            },
            "inner": {
                "type": "object",
                "properties": {
                    "minimum": {"type": "integer", "description": 'Must also fulfil: {"minimum":3}'}
                },
                "additionalProperties": False,
            },
        },
        "required": ["title", "when", "code", "tags", "inner"],
        "additionalProperties": False,
    }


def test_a_model_without_schemas_is_made_to_call_a_tool_that_takes_the_answer() -> None:
    request = build(model=HAIKU_3_5, response_format=by_schema())
    body = orjson.loads(request.body)
    assert request.json_tool == "json_response"
    assert [each["name"] for each in body["tools"]] == ["json_response"]
    assert body["tools"][0]["input_schema"]["required"] == SCHEMA["required"]
    choice = {"type": "tool", "name": "json_response", "disable_parallel_tool_use": True}
    assert body["tool_choice"] == choice


def test_the_json_tool_goes_beside_calls_of_earlier_turns() -> None:
    messages = [*HELLO, calls("c1"), result("c1"), *HELLO]
    body = sent(messages, model=HAIKU_3_5, response_format=by_schema())
    assert body["tool_choice"]["name"] == "json_response"


def test_a_model_without_schemas_takes_none_beside_tools() -> None:
    error = refused(model=HAIKU_3_5, response_format=by_schema(), tools=[tool()])
    assert (error.param, error.wire_code) == ("response_format", "unsupported_value")


def test_tools_and_a_native_schema_go_together() -> None:
    body = sent(response_format=by_schema(), tools=[tool()])
    assert body["output_config"]["format"]["type"] == "json_schema"
    assert [each["name"] for each in body["tools"]] == ["f"]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "object"}}}},
        {"anyOf": [{"type": "object", "additionalProperties": True}]},
    ],
)
def test_a_schema_with_keys_of_the_models_choice_is_told_in_words(schema: dict[str, Any]) -> None:
    """Closed, as the vendor wants it, nothing but an empty object would fulfil it."""
    request = build(response_format=by_schema(schema))
    body = orjson.loads(request.body)
    assert "output_config" not in body
    assert orjson.dumps(schema).decode() in body["system"][-1]["text"]
    assert request.json_text


def test_a_format_without_a_schema_is_any_object() -> None:
    request = build(response_format={"type": "json_schema", "json_schema": {"name": "n"}})
    assert request.json_text


def test_a_schema_of_something_else_needs_a_model_that_enforces_it() -> None:
    error = refused(model=HAIKU_3_5, response_format=by_schema({"type": "array", "items": {}}))
    assert (error.param, error.wire_code) == ("response_format", "unsupported_value")


def test_a_json_object_is_asked_for_in_words() -> None:
    messages = [{"role": "system", "content": "Be brief."}, *HELLO]
    request = build(messages, response_format={"type": "json_object"})
    first, second = orjson.loads(request.body)["system"]
    assert first["text"] == "Be brief."
    assert "JSON" in second["text"]
    assert request.json_text


def test_a_schema_nested_without_end_is_refused() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(100):
        schema = {"type": "object", "properties": {"x": schema}}
    assert refused(response_format=by_schema(schema)).param == "response_format"


# Reasoning


@pytest.mark.parametrize(
    ("effort", "budget"),
    [
        ("minimal", 1_024),
        ("low", 1_024),
        ("medium", 2_048),
        ("high", 4_096),
        ("xhigh", 7_500),
        ("max", 7_500),
    ],
)
def test_effort_becomes_a_budget_that_leaves_room_for_the_answer(effort: str, budget: int) -> None:
    body = sent(reasoning_effort=effort, max_tokens=10_000)
    assert body["thinking"] == {"type": "enabled", "budget_tokens": budget}


def test_a_budget_that_does_not_fit_is_left_out_and_named() -> None:
    request = build(reasoning_effort="high", max_tokens=1_024)
    assert "thinking" not in orjson.loads(request.body)
    assert request.dropped == ("reasoning_effort",)
    assert sent(reasoning_effort="high", max_tokens=1_025)["thinking"]["budget_tokens"] == 1_024


@pytest.mark.parametrize(
    ("model", "effort", "given"),
    [
        (SONNET_4_6, "minimal", "low"),
        (SONNET_4_6, "xhigh", "max"),
        (OPUS_5, "xhigh", "xhigh"),
        (OPUS_5_5, "medium", "medium"),
    ],
)
def test_effort_is_adaptive_where_the_model_has_it(model: str, effort: str, given: str) -> None:
    body = sent(model=model, reasoning_effort=effort)
    assert body["thinking"] == {"type": "adaptive", "display": "summarized"}
    assert body["output_config"] == {"effort": given}


def test_effort_none_turns_thinking_off_as_the_model_spells_it() -> None:
    assert "thinking" not in sent(reasoning_effort="none")
    assert "thinking" not in sent(model=OPUS_5, reasoning_effort="none")
    assert sent(model=SONNET_5_5, reasoning_effort="none")["thinking"] == {"type": "between_tools"}
    assert refused(model=OPUS_5_5, reasoning_effort="none").param == "reasoning_effort"


def test_effort_at_a_model_that_does_not_think_is_left_out() -> None:
    assert build(model=HAIKU_3_5, reasoning_effort="high").dropped == ("reasoning_effort",)
    assert build(model=HAIKU_3_5, reasoning_effort="none").dropped == ()


def test_the_vendors_own_field_is_understood() -> None:
    thinking = {"type": "enabled", "budget_tokens": 3_000}
    assert sent(thinking=thinking)["thinking"] == thinking
    assert "thinking" not in sent(thinking={"type": "disabled"})
    assert sent(model=OPUS_5, thinking={"type": "adaptive"})["output_config"] == {"effort": "high"}


def test_thinking_rules_out_most_sampling() -> None:
    request = build(reasoning_effort="low", temperature=0.3, top_k=4, top_p=0.97)
    body = orjson.loads(request.body)
    assert body["top_p"] == 0.97
    assert request.dropped == ("temperature", "top_k")


@pytest.mark.parametrize("model", [OPUS_4_5, OPUS_5])
def test_a_forced_tool_rules_out_thinking(model: str) -> None:
    request = build(model=model, reasoning_effort="high", tools=[tool()], tool_choice="required")
    assert "thinking" not in orjson.loads(request.body)
    assert request.dropped == ("reasoning_effort",)


@pytest.mark.parametrize(("tier", "given"), [("auto", "auto"), ("default", "standard_only")])
def test_service_tiers(tier: str, given: str) -> None:
    assert sent(service_tier=tier)["service_tier"] == given


@pytest.mark.parametrize("tier", ["flex", "priority"])
def test_tiers_the_vendor_does_not_sell_by_the_request_are_refused(tier: str) -> None:
    chat = parse_request(orjson.dumps({"model": "m", "messages": HELLO}))
    chat = replace(chat, body={**chat.body, "service_tier": tier})
    with pytest.raises(InvalidRequest) as caught:
        build_request(
            chat, upstream_model="m", traits=TRAITS[OPUS_5], max_output_tokens=9, memory={}, user_id=None
        )
    assert (caught.value.param, caught.value.wire_code) == ("service_tier", "unsupported_value")


def test_names_of_speakers_are_left_out_and_named() -> None:
    request = build([{"role": "user", "content": "Hi", "name": "anna"}])
    assert b"anna" not in request.body
    assert request.dropped == ("messages[].name",)
    named_tool = [*HELLO, calls("c1"), {**result("c1"), "name": "f"}]
    assert build(named_tool).dropped == ()


def test_a_breakpoint_for_the_whole_request_goes_on() -> None:
    assert sent(cache_control={"type": "ephemeral"})["cache_control"] == {"type": "ephemeral"}
    assert refused(cache_control={"type": "x"}).param == "cache_control"
