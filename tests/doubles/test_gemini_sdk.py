"""The Gemini double, seen by the vendor's own SDK."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.doubles.gemini_process import GeminiDouble

genai = pytest.importorskip("google.genai", reason="the vendor's SDK is not installed")

MODEL = "gemini-3.1-pro-preview"
OLDER = "gemini-2.0-flash"
TOOLS = [
    {
        "function_declarations": [
            {
                "name": "f",
                "parameters_json_schema": {"type": "object", "properties": {"a": {"type": "integer"}}},
            }
        ]
    }
]
WITH_TOOLS = {"tools": TOOLS, "automatic_function_calling": {"disable": True}}
THINKS = {"thinking_config": {"include_thoughts": True, "thinking_level": "LOW"}}


@pytest.fixture(scope="module")
def double() -> Iterator[GeminiDouble]:
    with GeminiDouble() as double:
        yield double


@pytest.fixture
def models(double: GeminiDouble) -> Iterator[Any]:
    client = genai.Client(api_key="AIza-a1b2", http_options={"base_url": double.origin})
    yield client.models
    client.close()


def told(**directive: Any) -> str:
    return json.dumps(directive)


def test_a_plain_answer(models: Any) -> None:
    answer = models.generate_content(model=MODEL, contents=told(chunks=3))
    assert answer.text == "w0 w1 w2 "
    assert answer.candidates[0].finish_reason == "STOP"
    assert answer.usage_metadata.candidates_token_count == 3
    assert answer.model_version == MODEL


@pytest.mark.parametrize("split", ["events", "bytes", "random:1"])
def test_a_stream(models: Any, split: str) -> None:
    chunks = list(models.generate_content_stream(model=MODEL, contents=told(chunks=3, split=split)))
    assert "".join(chunk.text or "" for chunk in chunks) == "w0 w1 w2 "
    assert chunks[-1].candidates[0].finish_reason == "STOP"
    assert chunks[-1].usage_metadata.thoughts_token_count == 20


def test_thoughts_are_marked(models: Any) -> None:
    answer = models.generate_content(model=MODEL, contents=told(chunks=1), config=THINKS)
    assert [part.thought for part in answer.candidates[0].content.parts] == [True, None]


def test_parallel_tools_streamed(models: Any) -> None:
    wanted = [{"name": "f", "args": {"a": 1}}, {"name": "f"}]
    chunks = models.generate_content_stream(model=MODEL, contents=told(tools=wanted), config=WITH_TOOLS)
    calls = [call for chunk in chunks for call in chunk.function_calls or ()]
    assert [call.args for call in calls] == [{"a": 1}, {}]
    assert len({call.id for call in calls}) == 2


def test_a_tool_loop_with_a_signature(models: Any) -> None:
    types = genai.types
    asked = types.Content(role="user", parts=[types.Part(text=told(tools=[{"name": "f"}]))])
    first = models.generate_content(model=MODEL, contents=[asked], config=WITH_TOOLS)
    called = first.candidates[0].content
    assert called.parts[0].thought_signature
    reply = types.Part(
        function_response=types.FunctionResponse(
            id=first.function_calls[0].id, name="f", response={"output": "42"}
        )
    )
    loop = [asked, called, types.Content(role="user", parts=[reply])]
    assert models.generate_content(model=MODEL, contents=loop, config=WITH_TOOLS).text
    called.parts[0].thought_signature = None
    with pytest.raises(genai.errors.ClientError, match="thought_signature"):
        models.generate_content(model=MODEL, contents=loop, config=WITH_TOOLS)


def test_a_forced_call(models: Any) -> None:
    calling = {"function_calling_config": {"mode": "ANY", "allowed_function_names": ["f"]}}
    answer = models.generate_content(
        model=MODEL, contents="Go", config={**WITH_TOOLS, "tool_config": calling}
    )
    assert answer.function_calls[0].args == {"a": 1}


def test_json_by_schema(models: Any) -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    for field in ("response_schema", "response_json_schema"):
        answer = models.generate_content(
            model=MODEL,
            contents="Who?",
            config={"response_mime_type": "application/json", field: schema},
        )
        assert json.loads(answer.text) == {"name": "w0"}


def test_choices_and_log_probabilities(models: Any) -> None:
    answer = models.generate_content(
        model=OLDER,
        contents=told(chunks=2),
        config={"candidate_count": 2, "response_logprobs": True, "logprobs": 1},
    )
    assert len(answer.candidates) == 2
    chosen = answer.candidates[0].logprobs_result.chosen_candidates
    assert [each.token for each in chosen] == ["w0 ", "w1 "]


@pytest.mark.parametrize("status", [400, 403, 404, 429])
def test_errors_of_the_caller(models: Any, status: int) -> None:
    with pytest.raises(genai.errors.ClientError) as caught:
        models.generate_content(model=MODEL, contents=told(status=status))
    assert caught.value.code == status


@pytest.mark.parametrize("status", [500, 503, 504])
def test_errors_of_the_vendor(models: Any, status: int) -> None:
    with pytest.raises(genai.errors.ServerError) as caught:
        list(models.generate_content_stream(model=MODEL, contents=told(status=status)))
    assert caught.value.code == status


def test_an_error_inside_a_stream(models: Any) -> None:
    with pytest.raises(genai.errors.APIError, match="overloaded"):
        list(models.generate_content_stream(model=MODEL, contents=told(error_in_stream_after=2)))


def test_a_blocked_prompt(models: Any) -> None:
    answer = models.generate_content(model=MODEL, contents=told(block_reason="PROHIBITED_CONTENT"))
    assert answer.prompt_feedback.block_reason == "PROHIBITED_CONTENT"
    assert not answer.candidates


def test_a_request_that_breaks_the_rules(models: Any) -> None:
    with pytest.raises(genai.errors.ClientError, match="thinking level"):
        models.generate_content(
            model=MODEL,
            contents="x",
            config={"thinking_config": {"thinking_level": "LOW", "thinking_budget": 5}},
        )


def test_models_and_token_counts(models: Any) -> None:
    assert any(model.name == f"models/{MODEL}" for model in models.list())
    assert models.count_tokens(model=MODEL, contents="x").total_tokens > 0
