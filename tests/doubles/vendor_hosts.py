"""Hosts of others' models that speak OpenAI's protocol: Llama hosts, Azure OpenAI, OpenRouter."""

import re
from typing import Any

from tests.doubles import vendor_rules as rules
from tests.doubles.vendor_profile import Answer, Json, Profile, envelope, map_choices, without
from tests.doubles.vendor_rules import Mistake

# A host of open models, on vLLM behind FastAPI


def _vllm_error(message: str, kind: str = "BadRequestError", code: int = 400) -> Json:
    return {"object": "error", "message": message, "type": kind, "param": None, "code": code}


def _llama_mistake(mistake: Mistake) -> Answer:
    if mistake.is_unreadable:
        return 422, {"detail": [{"type": "value_error", "loc": ["body"], "msg": mistake.message}]}
    return 400, _vllm_error(mistake.message)


def _llama_choice(choice: Json) -> Json:
    """The role in every delta, and nothing of log probabilities."""
    delta = {"role": "assistant", **without(choice["delta"], "refusal")}
    return {**without(choice, "logprobs"), "delta": delta}


def _llama_message(message: Json, _thought: str) -> Json:
    message = without(message, "refusal", "annotations")
    if "tool_calls" in message:
        message["tool_calls"] = [without(call, "id", "type") for call in message["tool_calls"]]
    return message


LLAMA = Profile(
    name="llama",
    base_path="/llama/v1",
    chunk=lambda chunk: without(map_choices(chunk, _llama_choice), "system_fingerprint", "service_tier"),
    message=_llama_message,
    whole=lambda answer: without(answer, "system_fingerprint", "service_tier"),
    usage=lambda usage: {name: usage[name] for name in ("prompt_tokens", "completion_tokens")},
    tool_fragment=lambda fragment: without(fragment, "index", "id", "type"),
    finish_reasons={"stop": "eos_token", "tool_calls": "stop"},
    wrong_key=(401, {"detail": "Invalid API key"}),
    rules=(
        rules.only_roles(
            *("system", "user", "assistant", "tool"),
            words="messages.{index}.role: Input should be one of {known}",
            is_unreadable=True,
        ),
        rules.only_message_fields("role", "content", "name", "tool_calls", "tool_call_id"),
        rules.llama_text_only,
        rules.without("logit_bias", "logit_bias is not supported"),
        rules.without("parallel_tool_calls", "parallel_tool_calls is not supported"),
        rules.llama_context,
    ),
    mistake=_llama_mistake,
    error=lambda status, message: _vllm_error(message, "InternalServerError", status),
    stream_error=lambda _chunk, message: _vllm_error(message, "InternalServerError", 500),
    refusals={
        "limit": (429, {"detail": "Model busy, retry later"}),
        "balance": (402, {"error": "You have exceeded your spend limit."}),
        "context": (
            400,
            _vllm_error(
                "This model's maximum context length is 131072 tokens. However, your request has 140011 input"
                " tokens. Please reduce the length of the input messages."
            ),
        ),
        "context_forbidden": (
            403,
            {
                "error": {
                    "message": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193"
                }
            },
        ),
    },
)


# Azure OpenAI: the same models behind content filters

_SAFE = {
    name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")
}
_AZURE_PATH = re.compile(r"/azure/openai/(v1|deployments/(?P<deployment>[^/]+))/chat/completions")


def _azure_path(path: str, query: str, fields: Json) -> Answer | None:
    """A deployment in the path needs the API's version beside it; `/openai/v1` takes the model."""
    match = _AZURE_PATH.fullmatch(path)
    if match is None or (match["deployment"] and "api-version=" not in query):
        return 404, {"error": {"code": "404", "message": "Resource not found"}}
    if (match["deployment"] or fields.get("model")) == "missing":
        message = (
            "The API deployment for this resource does not exist. If you created the deployment within the"
            " last 5 minutes, please wait a moment and try again."
        )
        return 404, {"error": {"code": "DeploymentNotFound", "message": message}}
    return None


def _azure_filter_error() -> Json:
    error = envelope(
        "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
        " Please modify your prompt and retry.",
        None,
        "content_filter",
        "prompt",
    )["error"]
    result = {**_SAFE, "violence": {"filtered": True, "severity": "medium"}}
    inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": result}
    return {"error": {**error, "status": 400, "innererror": inner}}


def _azure_nothing(**more: Any) -> Json:
    return {"id": "", "object": "", "created": 0, "model": "", **more}


AZURE = Profile(
    name="azure",
    base_path="/azure/openai/v1",
    chunk=lambda chunk: without(
        map_choices(chunk, lambda choice: {**choice, "content_filter_results": {}}), "service_tier"
    ),
    whole=lambda answer: {
        **map_choices(answer, lambda choice: {**choice, "content_filter_results": _SAFE}),
        "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": _SAFE}],
    },
    first_chunk=_azure_nothing(
        choices=[], prompt_filter_results=[{"prompt_index": 0, "content_filter_results": _SAFE}]
    ),
    last_chunk=_azure_nothing(
        choices=[
            {
                "index": 0,
                "finish_reason": None,
                "content_filter_results": _SAFE,
                "content_filter_offsets": {"check_offset": 44, "start_offset": 44, "end_offset": 198},
            }
        ]
    ),
    key_header="api-key",
    path_rule=_azure_path,
    wrong_key=(
        401,
        {
            "error": {
                "code": "401",
                "message": "Access denied due to invalid subscription key or wrong API endpoint. Make sure to"
                " provide a valid key for an active subscription.",
            }
        },
    ),
    rules=(
        rules.only_message_fields(
            *("role", "content", "name", "refusal", "audio", "tool_calls", "tool_call_id", "function_call")
        ),
    ),
    refusals={
        "filter": (400, _azure_filter_error()),
        "limit": (
            429,
            {
                "error": {
                    "code": "429",
                    "message": "Requests have exceeded call rate limit of your current tier.",
                }
            },
        ),
        "context": (
            400,
            envelope(
                "This model's maximum context length is 128000 tokens. However, your messages resulted in"
                " 140011 tokens. Please reduce the length of the messages.",
                "invalid_request_error",
                "context_length_exceeded",
                "messages",
            ),
        ),
    },
)


# OpenRouter: many hosts behind one address


def _openrouter_error(message: str, code: int, **metadata: Any) -> Json:
    return {"error": {"message": message, "code": code, "metadata": metadata}, "user_id": "user_2double"}


def _openrouter_choice(choice: Json) -> Json:
    """Every delta says everything again, reasoning as null."""
    delta = {"role": "assistant", "content": "", "reasoning": None, **without(choice["delta"], "refusal")}
    return {**choice, "delta": delta, "native_finish_reason": choice["finish_reason"]}


def _openrouter_thought(text: str) -> Json:
    detail = {"type": "reasoning.text", "text": text, "format": "unknown", "index": 0}
    return {"reasoning": text, "reasoning_details": [detail]}


def _openrouter_message(message: Json, thought: str) -> Json:
    return {
        **without(message, "annotations"),
        "reasoning": None,
        **(_openrouter_thought(thought) if thought else {}),
    }


def _openrouter_stream_error(chunk: Json, message: str) -> Json:
    """An ordinary chunk with an error beside it."""
    choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "error", "native_finish_reason": "error"}
    return {**chunk, "error": {"code": 502, "message": message}, "choices": [choice]}


OPENROUTER = Profile(
    name="openrouter",
    base_path="/openrouter/api/v1",
    chunk=lambda chunk: {
        **without(map_choices(chunk, _openrouter_choice), "system_fingerprint", "service_tier"),
        "provider": "DeepInfra",
    },
    message=_openrouter_message,
    whole=lambda answer: {
        **without(answer, "service_tier"),
        "provider": "DeepInfra",
        "choices": [{**each, "native_finish_reason": each["finish_reason"]} for each in answer["choices"]],
    },
    usage=lambda usage: {
        **usage,
        "cost": 0.00014,
        "is_byok": False,
        "cost_details": {"upstream_inference_cost": None},
    },
    usage_choices=(
        {
            "index": 0,
            "delta": {"role": "assistant", "content": ""},
            "finish_reason": None,
            "native_finish_reason": None,
            "logprobs": None,
        },
    ),
    reasoning_delta=_openrouter_thought,
    comment=b": OPENROUTER PROCESSING\n\n",
    wrong_key=(401, {"error": {"message": "No auth credentials found", "code": 401}}),
    mistake=lambda mistake: (400, _openrouter_error(mistake.message, 400)),
    error=lambda status, message: _openrouter_error(message, status, provider_name="DeepInfra"),
    stream_error=_openrouter_stream_error,
    refusals={
        "balance": (402, _openrouter_error("Insufficient credits. Add more at https://openrouter.ai", 402)),
        "filter": (
            403,
            _openrouter_error(
                'DeepInfra requires moderation. Your input was flagged for "violence".',
                403,
                reasons=["violence"],
                flagged_input="...",
                provider_name="DeepInfra",
                model_slug="m",
            ),
        ),
        "limit": (429, _openrouter_error("Rate limit exceeded: free-models-per-min.", 429)),
        "context": (
            400,
            _openrouter_error(
                "This endpoint's maximum context length is 131072 tokens. However, you requested about 140011"
                " tokens (131819 of text input, 8192 in the output).",
                400,
                provider_name=None,
            ),
        ),
        "inside_200": (200, _openrouter_error("Provider returned error", 502, provider_name="DeepInfra")),
        "timeout": (408, _openrouter_error("Request timed out", 408)),
    },
)
