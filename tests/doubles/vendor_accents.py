"""Model makers that speak OpenAI's protocol with an accent of their own: DeepSeek, xAI, Qwen."""

from tests.doubles import vendor_rules as rules
from tests.doubles.vendor_profile import (
    Json,
    Profile,
    envelope,
    map_choices,
    openai_mistake,
    unreadable_or,
    with_reasoning_content,
    without,
)

# DeepSeek


def _deepseek_choice(choice: Json) -> Json:
    delta = without(choice["delta"], "refusal")
    if "role" in delta or "content" in delta or not delta:
        delta = {"content": "", **delta}
        delta.setdefault("reasoning_content", None)
    return {**choice, "delta": delta}


def _deepseek_usage(usage: Json) -> Json:
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    reasoning = usage["completion_tokens_details"]["reasoning_tokens"]
    return {
        **without(usage, "completion_tokens_details"),
        "prompt_tokens_details": {"cached_tokens": cached},
        **({"completion_tokens_details": {"reasoning_tokens": reasoning}} if reasoning else {}),
        "prompt_cache_hit_tokens": cached,
        "prompt_cache_miss_tokens": usage["prompt_tokens"] - cached,
    }


DEEPSEEK = Profile(
    name="deepseek",
    base_path="/deepseek",
    chunk=lambda chunk: without(map_choices(chunk, _deepseek_choice), "service_tier"),
    message=with_reasoning_content,
    whole=lambda answer: without(answer, "service_tier"),
    usage=_deepseek_usage,
    reasoning_delta=lambda text: {"content": None, "reasoning_content": text},
    usage_in_last_chunk=True,
    comment=b": keep-alive\n\n",
    leading=b"\n\n\n",
    wrong_key=(
        401,
        envelope(
            "Authentication Fails, Your api key: ****77se is invalid",
            "authentication_error",
            "invalid_request_error",
        ),
    ),
    rules=(
        rules.only_roles(
            *("system", "user", "assistant", "tool"),
            words="messages[{index}].role: unknown variant `{role}`, expected one of {known}",
            is_unreadable=True,
        ),
        rules.deepseek_text_only,
        rules.deepseek_functions_only,
        rules.deepseek_response_format,
        rules.deepseek_reasoning,
    ),
    mistake=unreadable_or(422, openai_mistake),
    refusals={
        "balance": (402, envelope("Insufficient Balance", "unknown_error", "invalid_request_error")),
        "limit": (429, envelope("Rate limit reached for concurrent requests", "rate_limit_error", None)),
        "overloaded": (
            503,
            envelope("Service is too busy. Please retry.", "service_unavailable_error", None),
        ),
        "context": (
            400,
            envelope(
                "This model's maximum context length is 131072 tokens. However, you requested 140011 tokens"
                " (131819 in the messages, 8192 in the completion). Please reduce the length of the"
                " messages or completion.",
                "invalid_request_error",
                "invalid_request_error",
            ),
        ),
    },
)


# xAI: errors are flat, with a sentence for a code.


def _xai_error(message: str, code: str = "Client specified an invalid argument") -> Json:
    return {"code": code, "error": message}


def _xai_usage(usage: Json) -> Json:
    """Reasoning stands beside the completion; only the total has both."""
    reasoning = usage["completion_tokens_details"]["reasoning_tokens"]
    prompt = usage["prompt_tokens"]
    details = {
        "text_tokens": prompt,
        "audio_tokens": 0,
        "image_tokens": 0,
        "cached_tokens": usage["prompt_tokens_details"]["cached_tokens"],
    }
    return {
        **usage,
        "completion_tokens": usage["completion_tokens"] - reasoning,
        "prompt_tokens_details": details,
        "num_sources_used": 0,
        "cost_in_usd_ticks": 1_234_500,
    }


XAI = Profile(
    name="xai",
    base_path="/xai/v1",
    chunk=lambda chunk: without(chunk, "service_tier"),
    message=with_reasoning_content,
    usage=_xai_usage,
    reasoning_delta=lambda text: {"role": "assistant", "reasoning_content": text},
    whole_tool_calls=True,
    finish_reasons={"tool_calls": ""},
    wrong_key=(
        400,
        _xai_error(
            "Incorrect API key provided: xa***ng. You can obtain an API key from https://console.x.ai."
        ),
    ),
    rules=(rules.xai_reasoning_model, rules.xai_effort, rules.xai_names, rules.xai_strict),
    mistake=lambda mistake: (400, _xai_error(mistake.message)),
    error=lambda _status, message: _xai_error(message, "The service is currently unavailable"),
    stream_error=lambda _chunk, message: _xai_error(message, "Internal error"),
    refusals={
        "balance": (
            403,
            _xai_error(
                "Your team 0b1c-77 has either used all available credits or reached its monthly limit.",
                "The caller does not have permission to execute the specified operation",
            ),
        ),
        "filter": (
            403,
            _xai_error(
                "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO",
                "The caller does not have permission to execute the specified operation",
            ),
        ),
        "context": (
            400,
            _xai_error(
                "This model's maximum prompt length is 131072 but the request contains 140011 tokens."
            ),
        ),
        "limit": (
            429,
            _xai_error(
                "Too many requests for team 0b1c-77 and model grok-4.3.",
                "Some resource has been exhausted",
            ),
        ),
    },
)


# Qwen in DashScope's compatible mode


def _qwen_error(message: str, code: str | None, kind: str | None = "invalid_request_error") -> Json:
    return {**envelope(message, kind, code), "request_id": "9c8f7d2e-0000-9d0a-8f67-double"}


def _qwen_choice(choice: Json) -> Json:
    delta = without(choice["delta"], "refusal")
    if not delta.get("tool_calls"):
        delta = {"content": "", **delta, "reasoning_content": delta.get("reasoning_content")}
    return {**choice, "delta": delta}


def _qwen_fragment(fragment: Json) -> Json:
    """Fragments behind the first have an id and a name too, of no characters."""
    if "id" in fragment:
        return fragment
    function = {"name": "", **fragment["function"]}
    return {**fragment, "id": "", "type": "function", "function": function}


QWEN = Profile(
    name="qwen",
    base_path="/qwen/compatible-mode/v1",
    chunk=lambda chunk: {
        **map_choices(chunk, _qwen_choice),
        "system_fingerprint": None,
        "service_tier": None,
    },
    message=with_reasoning_content,
    usage=lambda usage: {
        **without(usage, "completion_tokens_details"),
        "prompt_tokens_details": {"cached_tokens": usage["prompt_tokens_details"]["cached_tokens"]},
        "completion_tokens_details": {
            "reasoning_tokens": usage["completion_tokens_details"]["reasoning_tokens"],
            "text_tokens": usage["completion_tokens"],
        },
    },
    reasoning_delta=lambda text: {"content": None, "reasoning_content": text},
    tool_fragment=_qwen_fragment,
    wrong_key=(401, _qwen_error("Incorrect API key provided. ", "invalid_api_key")),
    rules=(
        rules.only_roles(
            *("system", "assistant", "user", "tool", "function"),
            words="{role} is not one of {known} - 'messages.{index}.role'",
        ),
        rules.within("temperature", -1, 2, "Temperature should be in [0.0, 2.0)"),
        rules.within("top_p", 0, 1.000001, "Range of top_p should be (0.0, 1.0]"),
        rules.qwen_thinking,
        rules.qwen_tools,
        rules.qwen_json_word,
    ),
    mistake=lambda mistake: (400, _qwen_error(mistake.message, mistake.code or "invalid_parameter_error")),
    error=lambda _status, message: _qwen_error(message, "internal_error", "internal_error"),
    stream_error=lambda _chunk, message: _qwen_error(message, "internal_error", "internal_error"),
    refusals={
        "balance": (
            400,
            _qwen_error(
                "Access denied, please make sure your account is in good standing.", "Arrearage", "Arrearage"
            ),
        ),
        "filter": (
            400,
            _qwen_error(
                "Input data may contain inappropriate content.",
                "data_inspection_failed",
                "data_inspection_failed",
            ),
        ),
        "context": (
            400,
            _qwen_error("Range of input length should be [1, 129024]", "invalid_parameter_error"),
        ),
        "limit": (
            429,
            _qwen_error("You exceeded your current requests list.", "limit_requests", "limit_requests"),
        ),
        "quota": (
            429,
            _qwen_error(
                "You exceeded your current quota, please check your plan and billing details.",
                "insufficient_quota",
                "insufficient_quota",
            ),
        ),
        "gone": (
            404,
            _qwen_error(
                "The model `qwen-max` does not exist or you do not have access to it.", "model_not_found"
            ),
        ),
    },
)
