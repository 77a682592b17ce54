"""Requests as vendors with an accent take them: each was held against a double that refuses what they do."""

import copy
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from relay.capabilities import ModelTraits
from relay.errors import InvalidRequest, UpstreamUnavailable
from relay.protocols.openai_chat.request import parse_request
from relay.routing import Target
from relay.vendors.openai_shaped import DIALECTS, build_request, request_headers
from tests.doubles.process import VendorDouble
from tests.doubles.vendor_profiles import PROFILES
from tests.relay.vendors.openai_shaped.talk import HELLO, USER, ask, body_of, build

ALL = sorted(DIALECTS)
PLAYED = sorted(PROFILES)
IMAGE = {"type": "image_url", "image_url": {"url": "https://a.example/a.png"}}
FUNCTION = {"type": "function", "function": {"name": "f", "strict": True, "parameters": {"type": "object"}}}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
BY_SCHEMA = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "14 degrees"}
# What the official SDK makes of an answer that a client puts back into its messages as it is.
ECHO = {
    "role": "assistant",
    "content": None,
    "refusal": None,
    "annotations": [],
    "audio": None,
    "function_call": None,
    "reasoning_content": "It is cold there.",
    "thinking_blocks": [{"type": "thinking", "thinking": "x", "signature": "y"}],
    "tool_calls": [{**CALL, "index": 0, "extra_content": {"google": {"thought_signature": "z"}}}],
}
LOOP = [*HELLO, ECHO, RESULT]
EVERYTHING: dict[str, Any] = {
    "messages": [
        {"role": "developer", "content": [{"type": "text", "text": "Be brief."}], "name": "ops"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        ECHO,
        RESULT,
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}], "tool_calls": None},
        {"role": "user", "content": "Then as JSON.", "name": "ann"},
    ],
    "temperature": 2,
    "top_p": 0,
    "seed": -5,
    "logit_bias": {"1": 1},
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "tools": [FUNCTION],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "reasoning_effort": "high",
    "verbosity": "low",
    "prompt_cache_key": "k",
    "user": "ann@example.com",
    "top_k": 5,
    "enable_thinking": False,
    "thinking": {"type": "enabled"},
    "store": True,
    "metadata": {"a": "b"},
    "response_format": {"type": "json_object"},
}


@pytest.fixture(scope="module")
def double() -> Iterator[VendorDouble]:
    with VendorDouble() as double:
        yield double


def refused(vendor: str, traits: dict[str, Any] | None = None, **fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        build(vendor, traits, **fields)
    return caught.value


@pytest.mark.parametrize("vendor", PLAYED)
@pytest.mark.parametrize("streams", [True, False])
async def test_all_that_may_be_asked_is_taken_or_left_out(
    double: VendorDouble, vendor: str, *, streams: bool
) -> None:
    fields = {**EVERYTHING, "stream": streams}
    before = copy.deepcopy(fields)
    request = build(vendor, **fields)
    assert fields == before
    assert await ask(double, vendor, request)
    body = orjson.loads(request.body)
    gone = {name for name in EVERYTHING if name not in body} - {"user", "store", "metadata"}
    assert gone - {"reasoning_effort"} <= set(request.dropped)
    assert "ann@example.com" not in request.body.decode()


@pytest.mark.parametrize("vendor", PLAYED)
async def test_a_tool_loop_with_an_echoed_answer_goes_on(double: VendorDouble, vendor: str) -> None:
    """A client that sends back whole messages, also those of another vendor's answers."""
    assert await ask(double, vendor, build(vendor, messages=LOOP, tools=[FUNCTION]))


async def test_deepseek_gets_thoughts_back_beside_tool_calls(double: VendorDouble) -> None:
    kept = body_of("deepseek", messages=LOOP)["messages"][1]
    assert kept["reasoning_content"] == "It is cold there."
    lost = [HELLO[0], {**ECHO, "reasoning_content": None}, RESULT]
    assert body_of("deepseek", messages=lost)["messages"][1]["reasoning_content"] == " "
    assert await ask(double, "deepseek", build("deepseek", messages=lost))


@pytest.mark.parametrize("off", [{"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}])
def test_deepseek_gets_no_thoughts_when_it_shall_not_think(off: dict[str, Any]) -> None:
    body = body_of("deepseek", messages=LOOP, **off)
    assert body["thinking"] == {"type": "disabled"}
    assert "reasoning_content" not in body["messages"][1]


@pytest.mark.parametrize("vendor", sorted(set(ALL) - {"deepseek"}))
def test_others_get_no_thoughts_back(vendor: str) -> None:
    (_, echoed, _) = body_of(vendor, messages=LOOP)["messages"]
    assert echoed.keys() == {"role", "content", "tool_calls"}
    assert echoed["tool_calls"] == [CALL]


def test_messages_that_need_no_change_are_the_same_objects() -> None:
    chat = parse_request(orjson.dumps({"model": "m", "messages": HELLO}))
    request = build_request(
        chat,
        upstream_model="gpt",
        traits=ModelTraits(),
        max_output_tokens=9,
        user_id=None,
        dialect=DIALECTS["openai"],
    )
    assert orjson.loads(request.body) == {"model": "gpt", "messages": HELLO, "max_tokens": 9}
    assert request.dropped == ()


@pytest.mark.parametrize("vendor", ALL)
def test_developers_are_called_system_where_nobody_knows_them(vendor: str) -> None:
    messages = [{"role": "developer", "content": "Be brief."}, *HELLO]
    expected = "developer" if vendor in {"openai", "azure", "compatible"} else "system"
    assert body_of(vendor, messages=messages)["messages"][0] == {"role": expected, "content": "Be brief."}


@pytest.mark.parametrize(
    ("vendor", "field"), [("openai", "safety_identifier"), ("azure", "user"), ("deepseek", "user_id")]
)
def test_the_users_name_leaves_hashed_only(vendor: str, field: str) -> None:
    for told in (None, "user", "safety_identifier"):
        body = body_of(vendor, None, **({told: "ann"} if told else {}))
        assert body[field] == USER
        assert "ann" not in body.values()


def test_a_vendor_that_was_told_no_user_gets_none() -> None:
    assert "user" not in body_of("llama")
    assert body_of("llama", user="ann")["user"] == USER


def test_content_in_parts_becomes_text_where_only_text_is_taken() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert body_of("llama", messages=[{"role": "user", "content": parts}])["messages"][0]["content"] == "a\nb"
    kept = body_of("llama", {"vision": True}, messages=[{"role": "user", "content": [*parts, IMAGE]}])
    assert kept["messages"][0]["content"] == [*parts, IMAGE]


def test_cache_breakpoints_go_to_vendors_that_have_them() -> None:
    part = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}
    messages = [{"role": "user", "content": [part]}]
    assert body_of("qwen", messages=messages)["messages"][0]["content"] == [part]
    assert body_of("xai", messages=messages)["messages"][0]["content"] == [{"type": "text", "text": "a"}]


@pytest.mark.parametrize("vendor", ["deepseek", "qwen", "llama"])
async def test_a_schema_is_told_in_words_where_it_cannot_be_given(double: VendorDouble, vendor: str) -> None:
    messages = [{"role": "system", "content": "Be brief."}, *HELLO]
    request = build(vendor, messages=messages, response_format=BY_SCHEMA)
    body = orjson.loads(request.body)
    assert body["response_format"] == {"type": "json_object"}
    assert [message["role"] for message in body["messages"]] == ["system", "system", "user"]
    assert orjson.dumps(SCHEMA).decode() in body["messages"][1]["content"]
    assert await ask(double, vendor, request)


@pytest.mark.parametrize("vendor", ["openai", "azure", "xai", "openrouter"])
def test_a_schema_goes_on_where_it_is_taken(vendor: str) -> None:
    assert body_of(vendor, response_format=BY_SCHEMA)["response_format"] == BY_SCHEMA


@pytest.mark.parametrize(
    ("vendor", "asked", "streams", "expected"),
    [
        ("qwen", {}, False, {"enable_thinking": False}),
        ("qwen", {}, True, {}),
        ("qwen", {"reasoning_effort": "low"}, True, {"enable_thinking": True}),
        ("qwen", {"reasoning_effort": "none"}, True, {"enable_thinking": False}),
        (
            "qwen",
            {"enable_thinking": True, "thinking_budget": 9},
            True,
            {"enable_thinking": True, "thinking_budget": 9},
        ),
        ("deepseek", {}, False, {}),
        ("deepseek", {"reasoning_effort": "high"}, False, {"thinking": {"type": "enabled"}}),
        ("xai", {"reasoning_effort": "max"}, False, {"reasoning_effort": "high"}),
        ("openai", {"reasoning_effort": "minimal"}, False, {"reasoning_effort": "minimal"}),
        ("llama", {"reasoning_effort": "high"}, False, {}),
    ],
)
def test_an_effort_becomes_the_vendors_own_word(
    vendor: str, asked: dict[str, Any], expected: dict[str, Any], *, streams: bool
) -> None:
    body = body_of(vendor, stream=streams, **asked)
    names = {"reasoning_effort", "enable_thinking", "thinking_budget", "thinking", "reasoning"}
    assert {name: body[name] for name in names & body.keys()} == expected


@pytest.mark.parametrize(
    "asked", [{"reasoning_effort": "low"}, {"enable_thinking": True}], ids=["effort", "their own word"]
)
def test_who_thinks_in_streams_only_is_streamed_from(asked: dict[str, Any]) -> None:
    """Also for a whole answer, which is then put together here."""
    request = build("qwen", **asked)
    body = orjson.loads(request.body)
    assert request.stream_answer
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})
    assert body["enable_thinking"] is True
    assert not build("qwen", stream=True, **asked).stream_answer
    assert not build("deepseek", reasoning_effort="low").stream_answer


def test_an_effort_can_become_a_budget() -> None:
    body = body_of("qwen", {"reasoning": "budget"}, stream=True, reasoning_effort="medium")
    assert (body["enable_thinking"], body["thinking_budget"]) == (True, 2_048)


@pytest.mark.parametrize(
    ("sampling", "kept", "dropped"),
    [
        ("full", {"temperature", "top_p"}, ()),
        ("temp_only", {"temperature"}, ("top_p",)),
        ("temp_xor_top_p", {"temperature"}, ("top_p",)),
        ("fixed_1", set(), ("temperature", "top_p")),
        ("none", set(), ("temperature", "top_p")),
    ],
)
def test_sampling_follows_the_models_traits(sampling: str, kept: set[str], dropped: tuple[str, ...]) -> None:
    request = build("openai", {"sampling": sampling}, temperature=0.5, top_p=0.5)
    assert {"temperature", "top_p"} & orjson.loads(request.body).keys() == kept
    assert request.dropped == dropped


def test_what_changes_nothing_is_dropped_without_a_word() -> None:
    fields = {"temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0}
    request = build("xai", {"sampling": "none"}, **fields)
    assert not fields.keys() & orjson.loads(request.body).keys()
    assert request.dropped == ()


def test_the_limit_has_the_name_the_model_knows() -> None:
    assert body_of("openai", max_tokens=5)["max_completion_tokens"] == 256
    assert body_of("openai", {"max_tokens_field": "max_tokens"})["max_tokens"] == 256
    assert body_of("llama")["max_tokens"] == 256


def test_usage_of_streams_is_asked_for_unless_that_is_refused() -> None:
    assert body_of("llama", stream=True)["stream_options"] == {"include_usage": True}
    assert "stream_options" not in body_of("llama", {"stream_usage": False}, stream=True)


@pytest.mark.parametrize(
    ("vendor", "fields", "param", "reason"),
    [
        ("deepseek", {"n": 2}, "n", "unsupported_value"),
        ("deepseek", {"tools": [{"type": "custom", "custom": {"name": "c"}}]}, "tools", "unsupported_value"),
        ("deepseek", {"functions": [{"name": "f"}]}, "functions", "unsupported_parameter"),
        ("xai", {"stop": "x"}, "stop", "unsupported_parameter"),
        ("qwen", {"tools": [FUNCTION], "tool_choice": "required"}, "tool_choice", "unsupported_value"),
        (
            "llama",
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "?"}, IMAGE]}]},
            "messages[0].content[1]",
            "unsupported_value",
        ),
        (
            "xai",
            {"modalities": ["text", "audio"], "audio": {"voice": "v", "format": "wav"}},
            "modalities",
            "unsupported_value",
        ),
    ],
)
def test_what_would_change_the_answer_is_refused(
    vendor: str, fields: dict[str, Any], param: str, reason: str
) -> None:
    error = refused(vendor, **fields)
    assert (error.param, error.reason) == (param, reason)


@pytest.mark.parametrize(
    ("traits", "fields", "param"),
    [
        ({"logprobs": False}, {"logprobs": True}, "logprobs"),
        ({"tools": False}, {"tools": [FUNCTION]}, "tools"),
        ({"json_schema": "none"}, {"response_format": BY_SCHEMA}, "response_format"),
        ({"json_object": False}, {"response_format": {"type": "json_object"}}, "response_format"),
        ({"stop_max": 1}, {"stop": ["a", "b"]}, "stop"),
    ],
)
def test_what_a_model_lacks_is_refused(traits: dict[str, Any], fields: dict[str, Any], param: str) -> None:
    assert refused("openai", traits, **fields).param == param


def test_nested_deeper_than_can_be_written_is_refused() -> None:
    nested: dict[str, Any] = {}
    for _ in range(250):
        nested = {"a": nested}
    deep = {"type": "function", "function": {"name": "f", "parameters": nested}}
    chat = parse_request(b'{"model":"m","messages":[{"role":"user","content":"a"}]}')
    chat.body["tools"] = [deep]
    with pytest.raises(InvalidRequest):
        build_request(
            chat,
            upstream_model="m",
            traits=ModelTraits(),
            max_output_tokens=1,
            user_id=None,
            dialect=DIALECTS["openai"],
        )


# Headers and addresses


def test_azure_takes_its_key_in_a_header_of_its_own() -> None:
    headers = dict(request_headers("k", "azure"))
    assert headers["api-key"] == "k"
    assert "Authorization" not in headers
    assert dict(request_headers("k"))["Authorization"] == "Bearer k"


@pytest.mark.parametrize("vendor", PLAYED)
async def test_a_wrong_key_of_ours_is_nobody_elses(double: VendorDouble, vendor: str) -> None:
    """xAI answers 400 to it."""
    with pytest.raises(UpstreamUnavailable) as caught:
        await ask(double, vendor, build(vendor), key="sk-wrong")
    assert "key" not in caught.value.message


async def test_an_azure_deployment_is_reached_with_the_version_behind_the_path(double: VendorDouble) -> None:
    base_url = f"{double.origin}/azure/openai/deployments/gpt-4o"
    assert await ask(double, "azure", build("azure"), base_url=f"{base_url}?api-version=2024-10-21")
    with pytest.raises(UpstreamUnavailable):
        await ask(double, "azure", build("azure"), base_url=base_url)


@pytest.mark.parametrize(
    ("base_url", "path", "expected"),
    [
        ("https://a/v1", "/chat/completions", "https://a/v1/chat/completions"),
        ("https://a/d?api-version=1", "/chat/completions", "https://a/d/chat/completions?api-version=1"),
        ("https://a?k=1", "/m:stream?alt=sse", "https://a/m:stream?alt=sse&k=1"),
    ],
)
def test_a_query_of_the_base_stays_behind_the_path(base_url: str, path: str, expected: str) -> None:
    target = Target(
        channel="c",
        vendor="azure",
        base_url=base_url,
        api_keys=("k",),
        upstream_model="m",
        traits=ModelTraits(),
        priority=1,
        weight=1,
        timeout_first_token_s=1,
    )
    assert target.url(path) == expected
