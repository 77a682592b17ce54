"""Parameters of a customer's request as Gemini takes them, or refused by name."""

from typing import Any

import orjson
import pytest

from relay.errors import InvalidRequest
from relay.protocols.openai_chat.media import remote_parts
from relay.protocols.openai_chat.request import parse_request
from relay.vendors.gemini import DEFAULT_TRAITS, build_request, headers
from tests.relay.vendors.gemini.families import (
    FLASH_2_0,
    FLASH_2_5,
    FLASH_3_8,
    HELLO,
    LITE_2_5,
    LITE_3_5,
    PRO_2_5,
    PRO_3_1,
    TRAITS,
    build,
    config,
    sent,
    tool,
)

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": ["integer", "null"], "exclusiveMinimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def by_schema(schema: dict[str, Any] = SCHEMA) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "person", "schema": schema, "strict": True}}


def refused(**fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        build(**fields)
    return caught.value


# Paths and headers


def test_the_path_says_whether_to_stream() -> None:
    assert build().path == "/models/gemini-3.1-pro-preview:generateContent"
    assert build(stream=True).path == "/models/gemini-3.1-pro-preview:streamGenerateContent?alt=sse"


def test_a_tuned_model_keeps_its_own_path_and_nothing_in_a_name_can_change_it() -> None:
    chat = parse_request(orjson.dumps({"model": "m", "messages": HELLO}))
    for model, path in (
        ("tunedModels/mine-1", "/tunedModels/mine-1:generateContent"),
        ("x?key=a#b", "/models/x%3Fkey%3Da%23b:generateContent"),
    ):
        request = build_request(
            chat, upstream_model=model, traits=DEFAULT_TRAITS, max_output_tokens=None, memory={}, user_id=None
        )  # fmt: skip
        assert request.path == path


def test_the_key_travels_in_a_header() -> None:
    assert ("x-goog-api-key", "AIza1") in headers("AIza1")


# What is refused, and what is left out


@pytest.mark.parametrize(
    ("fields", "param", "reason"),
    [
        ({"n": 2}, "n", "unsupported_value"),
        ({"logprobs": True}, "logprobs", "unsupported_parameter"),
        (
            {"modalities": ["text", "audio"], "audio": {"voice": "a", "format": "wav"}},
            "modalities",
            "unsupported_value",
        ),
        (
            {"tools": [{"type": "custom", "custom": {"name": "c"}}]},
            "tools[0].type",
            "unsupported_value",
        ),
        (
            {"tools": [tool()], "tool_choice": {"type": "custom", "custom": {"name": "f"}}},
            "tool_choice",
            "unsupported_value",
        ),
        (
            {"tools": [tool()], "tool_choice": {"type": "function", "function": {"name": "g"}}},
            "tool_choice",
            "invalid_value",
        ),
        ({"tools": [tool(), tool()]}, "tools", "invalid_value"),
    ],
)
def test_what_would_change_the_answer_is_refused(fields: dict[str, Any], param: str, reason: str) -> None:
    error = refused(**fields)
    assert (error.param, error.wire_code) == (param, reason)


def test_what_only_asks_nicely_is_left_out_and_named() -> None:
    request = build(
        presence_penalty=1, frequency_penalty=-1.0, logit_bias={"1": 5}, verbosity="low", user="u",
        tools=[tool(strict=True)], parallel_tool_calls=False, metadata={"a": "b"}, store=True, stop=["", "x"],
    )  # fmt: skip
    assert set(request.dropped) == {
        "presence_penalty", "frequency_penalty", "logit_bias", "verbosity", "user", "metadata", "store",
        "tools[].function.strict", "parallel_tool_calls", "stop",
    }  # fmt: skip


def test_values_that_change_nothing_are_not_worth_a_word() -> None:
    request = build(
        model=LITE_3_5, n=1, presence_penalty=0, frequency_penalty=0.0, logit_bias={}, logprobs=False,
        top_p=1, temperature=1, modalities=["text"], response_format={"type": "text"}, store=False, seed=None,
        parallel_tool_calls=True, user="",
    )  # fmt: skip
    assert request.dropped == ()
    assert orjson.loads(request.body) == {
        "contents": [{"role": "user", "parts": [{"text": "Hello"}]}],
        "generationConfig": {"thinkingConfig": {"includeThoughts": True}},
    }


def test_nothing_says_who_the_customers_user_is() -> None:
    assert b"anna" not in build(user="anna@example.org", safety_identifier="anna").body


def test_the_request_of_the_customer_stays_as_it_is() -> None:
    raw = {
        "model": "m",
        "messages": [
            {"role": "system", "content": "S"},
            *HELLO,
            {"role": "system", "content": [{"type": "text", "text": "late"}]},
        ],
        "tools": [tool()],
        "response_format": by_schema(),
    }
    chat = parse_request(orjson.dumps(raw))
    for model in (FLASH_2_0, PRO_3_1):
        build_request(
            chat, upstream_model=model, traits=TRAITS[model], max_output_tokens=None, memory={}, user_id=None
        )  # fmt: skip
        assert orjson.dumps(chat.body) == orjson.dumps(raw)


# Limits and sampling


def test_both_names_of_the_limit_count_and_the_holds_before_them() -> None:
    assert config(max_tokens=77) == config(max_completion_tokens=77) == {"maxOutputTokens": 77}
    assert config(max_tokens=500, limit=50) == {"maxOutputTokens": 50}
    assert config() == {}


def test_max_tokens_above_the_models_limit_is_lowered() -> None:
    assert config(model=FLASH_2_0, max_tokens=100_000) == {"maxOutputTokens": 8_192}


def test_sampling_goes_on_as_it_is_where_the_model_takes_it() -> None:
    assert config(temperature=2, top_p=1, top_k=5) == {"temperature": 2, "topP": 1, "topK": 5}
    assert config(temperature=0, top_k=-1) == {"temperature": 0}
    request = build(model=FLASH_3_8, temperature=0.2, top_p=0.5)
    assert request.dropped == ("temperature", "top_p")


def test_penalties_stay_below_two() -> None:
    given = config(model=PRO_2_5, presence_penalty=2, frequency_penalty=-2)
    assert given == {"presencePenalty": 1.99, "frequencyPenalty": -2}


@pytest.mark.parametrize(("seed", "folded"), [(7, 7), (-5, -5), (2**31 - 1, 2**31 - 1), (2**31, None)])
def test_seeds_of_64_bits_are_folded_to_32(seed: int, folded: int | None) -> None:
    given = config(seed=seed)["seed"]
    assert folded is None or given == folded
    assert -(2**31) <= given < 2**31
    assert config(seed=seed)["seed"] == given


def test_seeds_that_differ_in_high_bits_stay_different() -> None:
    seeds = [2**40 + 1, 2**41 + 1, 2**62 + 1, -(2**40)]
    assert len({config(seed=seed)["seed"] for seed in seeds}) == len(seeds)


def test_one_stop_or_many() -> None:
    assert config(stop="END") == {"stopSequences": ["END"]}
    assert config(stop=["a", "b", "\n", "d"]) == {"stopSequences": ["a", "b", "\n", "d"]}
    assert config(stop="") == {}


def test_several_choices_and_log_probabilities_where_the_model_has_them() -> None:
    given = config(model=FLASH_2_0, n=3, logprobs=True, top_logprobs=2)
    assert given == {"candidateCount": 3, "responseLogprobs": True, "logprobs": 2}
    assert config(model=FLASH_2_0, logprobs=True, top_logprobs=0) == {"responseLogprobs": True}


@pytest.mark.parametrize(("tier", "told"), [("flex", "flex"), ("priority", "priority"), ("auto", None)])
def test_service_tiers(tier: str, told: str | None) -> None:
    assert sent(service_tier=tier).get("serviceTier") == told


# Thinking

THINKING = [
    (FLASH_2_0, None, None, ()),
    (FLASH_2_0, "none", None, ()),
    (FLASH_2_0, "low", None, ("reasoning_effort",)),
    (PRO_2_5, None, {"includeThoughts": True}, ()),
    (PRO_2_5, "low", {"thinkingBudget": 1_024, "includeThoughts": True}, ()),
    (PRO_2_5, "high", {"thinkingBudget": 4_096, "includeThoughts": True}, ()),
    (PRO_2_5, "none", {"thinkingBudget": 128}, ("reasoning_effort",)),
    (FLASH_2_5, "none", {"thinkingBudget": 0}, ()),
    (LITE_2_5, "none", {"thinkingBudget": 0}, ()),
    (PRO_3_1, None, {"includeThoughts": True}, ()),
    (PRO_3_1, "minimal", {"thinkingLevel": "LOW", "includeThoughts": True}, ()),
    (PRO_3_1, "medium", {"thinkingLevel": "HIGH", "includeThoughts": True}, ()),
    (PRO_3_1, "max", {"thinkingLevel": "HIGH", "includeThoughts": True}, ()),
    (PRO_3_1, "none", {"thinkingLevel": "LOW"}, ("reasoning_effort",)),
    (LITE_3_5, "minimal", {"thinkingLevel": "MINIMAL", "includeThoughts": True}, ()),
    (LITE_3_5, "none", {"thinkingLevel": "MINIMAL"}, ("reasoning_effort",)),
]


@pytest.mark.parametrize(("model", "effort", "told", "dropped"), THINKING)
def test_reasoning_effort_as_each_model_takes_it(
    model: str, effort: str | None, told: dict[str, Any] | None, dropped: tuple[str, ...]
) -> None:
    request = build(model=model, reasoning_effort=effort)
    given = orjson.loads(request.body).get("generationConfig", {}).get("thinkingConfig")
    assert (given, request.dropped) == (told, dropped)


@pytest.mark.parametrize(
    ("model", "limit", "budget"),
    [(PRO_2_5, 2_000, 1_500), (PRO_2_5, 100, 128), (LITE_2_5, 200, 512), (PRO_2_5, 60_000, 16_384)],
)
def test_a_budget_to_think_leaves_room_for_the_answer(model: str, limit: int, budget: int) -> None:
    given = sent(model=model, max_tokens=limit, reasoning_effort="max")["generationConfig"]
    assert given["thinkingConfig"]["thinkingBudget"] == budget


def test_the_thinking_of_other_vendors_is_understood() -> None:
    given = sent(model=PRO_2_5, thinking={"type": "enabled", "budget_tokens": 3_000})["generationConfig"]
    assert given["thinkingConfig"]["thinkingBudget"] == 3_000
    given = sent(model=FLASH_2_5, thinking={"type": "disabled"})["generationConfig"]
    assert given["thinkingConfig"] == {"thinkingBudget": 0}


# Formats


def test_json_object() -> None:
    assert config(response_format={"type": "json_object"}) == {"responseMimeType": "application/json"}


def test_json_schema_standard_or_in_the_vendors_subset() -> None:
    standard = config(response_format=by_schema())
    assert standard["responseMimeType"] == "application/json"
    assert standard["responseJsonSchema"] == {k: v for k, v in SCHEMA.items() if k != "$schema"}
    subset = config(model=FLASH_2_0, response_format=by_schema())
    assert subset["responseSchema"] == {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "age": {"type": "integer", "nullable": True, "minimum": 0},
        },
        "required": ["name", "age"],
    }


@pytest.mark.parametrize("wanted", [{"type": "json_object"}, by_schema()])
def test_json_beside_tools_is_asked_for_where_it_cannot_be_enforced(wanted: dict[str, Any]) -> None:
    request = build(model=PRO_2_5, response_format=wanted, tools=[tool()])
    body = orjson.loads(request.body)
    assert request.json_text
    assert "responseMimeType" not in body["generationConfig"]
    assert "JSON object" in body["systemInstruction"]["parts"][-1]["text"]
    assert not build(response_format=wanted, tools=[tool()]).json_text


def test_a_schema_that_leads_nowhere_is_refused_when_it_is_too_deep() -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {}}
    for _ in range(40):
        schema = {"type": "object", "properties": {"a": schema}}
    for model in (FLASH_2_0, PRO_3_1):
        error = refused(model=model, response_format=by_schema(schema))
        assert error.param == "response_format.json_schema.schema"


# Tools


def test_tools_come_in_one_list_of_declarations() -> None:
    body = sent(tools=[tool("f", description="d"), tool("g")])
    (listed,) = body["tools"]
    assert [each["name"] for each in listed["functionDeclarations"]] == ["f", "g"]
    assert listed["functionDeclarations"][0]["description"] == "d"
    assert "toolConfig" not in body


@pytest.mark.parametrize("model", [FLASH_2_0, PRO_3_1])
@pytest.mark.parametrize("parameters", [None, {}, {"type": "object"}, {"type": "object", "properties": {}}])
def test_a_function_without_arguments(model: str, parameters: Any) -> None:
    declared = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    build(model=model, tools=[declared])


@pytest.mark.parametrize(
    ("choice", "told", "names"),
    [
        ("none", {"mode": "NONE"}, ["f", "g"]),
        ("auto", {"mode": "AUTO"}, ["f", "g"]),
        ("required", {"mode": "ANY"}, ["f", "g"]),
        (
            {"type": "function", "function": {"name": "g"}},
            {"mode": "ANY", "allowedFunctionNames": ["g"]},
            ["f", "g"],
        ),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": "f"}}],
                },
            },
            {"mode": "ANY", "allowedFunctionNames": ["f"]},
            ["f", "g"],
        ),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "auto",
                    "tools": [{"type": "function", "function": {"name": "f"}}],
                },
            },
            {"mode": "AUTO"},
            ["f"],
        ),
    ],
)
def test_every_form_of_tool_choice(choice: Any, told: dict[str, Any], names: list[str]) -> None:
    body = sent(tools=[tool("f"), tool("g")], tool_choice=choice)
    assert body["toolConfig"]["functionCallingConfig"] == told
    assert [each["name"] for each in body["tools"][0]["functionDeclarations"]] == names


def test_tool_choice_without_tools_is_no_matter() -> None:
    assert "toolConfig" not in sent(tool_choice="none")


def test_the_deprecated_functions() -> None:
    function = tool()["function"]
    request = build(functions=[function], function_call={"name": "f"})
    body = orjson.loads(request.body)
    assert request.function_form
    assert body["toolConfig"]["functionCallingConfig"] == {"mode": "ANY", "allowedFunctionNames": ["f"]}


def test_names_the_vendor_refuses_are_changed_and_can_be_changed_back() -> None:
    request = build(tools=[tool("1st-tool"), tool("_ok")])
    (changed, kept) = (
        each["name"] for each in orjson.loads(request.body)["tools"][0]["functionDeclarations"]
    )
    assert request.tool_names == {changed: "1st-tool"}
    assert kept == "_ok"


# Media somebody must fetch


def test_what_must_be_fetched_and_put_in_is_told() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": "https://a.example/x.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "file", "file": {"file_data": "https://a.example/x.pdf"}},
    ]
    chat = parse_request(orjson.dumps({"model": "m", "messages": [{"role": "user", "content": parts}]}))
    wanted = [part.url for part in remote_parts(chat, DEFAULT_TRAITS)]
    assert wanted == ["https://a.example/x.png", "https://a.example/x.pdf"]
