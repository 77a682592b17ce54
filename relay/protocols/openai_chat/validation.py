"""What a chat request may hold, field by field, and what of it may go on to a vendor.

Only fields named here go on. Unknown keys are ignored, so nothing a client invents (`api_base`,
`extra_headers`, …) can steer an outgoing call.
"""

from collections.abc import Callable, Mapping
from typing import Any

from relay.protocols.openai_chat.checks import (
    Check,
    Violation,
    anything,
    array,
    boolean,
    check_entry,
    decimal,
    integer,
    json_object,
    limited_string,
    mapping,
    one_of,
    record,
    reject_value,
    string,
    string_or,
    variant,
    whole_number,
)
from relay.protocols.openai_chat.messages import TEXT_CONTENT, TOOL_NAME, check_messages

# Far above any model's limit; keeps sums and products within 64 bits.
MOST_OUTPUT_TOKENS = 1_000_000_000

_NAMED = record({"name": TOOL_NAME}, required=("name",))
_FUNCTION = record(
    {"name": TOOL_NAME, "description": string, "parameters": json_object, "strict": boolean},
    required=("name",),
)
_CUSTOM = record({"name": TOOL_NAME, "description": string, "format": json_object}, required=("name",))
_TOOL = variant(
    "type",
    {
        "function": record({"function": _FUNCTION}, required=("function",)),
        "custom": record({"custom": _CUSTOM}, required=("custom",)),
    },
)
_ALLOWED_TOOLS = record(
    {"mode": one_of("auto", "required"), "tools": array(json_object)}, required=("mode", "tools")
)
_FORCED_TOOL = variant(
    "type",
    {
        "function": record({"function": _NAMED}, required=("function",)),
        "custom": record({"custom": _NAMED}, required=("custom",)),
        "allowed_tools": record({"allowed_tools": _ALLOWED_TOOLS}, required=("allowed_tools",)),
    },
)
_JSON_SCHEMA = record(
    {"name": TOOL_NAME, "description": string, "schema": json_object, "strict": boolean},
    required=("name",),
)
_RESPONSE_FORMAT = variant(
    "type",
    {
        "text": anything,
        "json_object": anything,
        "json_schema": record({"json_schema": _JSON_SCHEMA}, required=("json_schema",)),
    },
)
_VOICE = string_or(dict, record({"id": string}, required=("id",)))


def _unpriced(value: Any) -> None:
    """Vendors bill these by the call. Dropping them would change the answer without a word."""
    if value is not False:
        raise Violation("unsupported_parameter", " is not offered here.", opening="Unsupported parameter:")


# Documented by OpenAI and passed on to every OpenAI-compatible vendor.
_OPENAI: Mapping[str, Check] = {
    "model": limited_string(longest=256),
    "messages": check_messages,
    "max_tokens": whole_number(1, MOST_OUTPUT_TOKENS),
    "max_completion_tokens": whole_number(1, MOST_OUTPUT_TOKENS),
    "temperature": decimal(0, 2),
    "top_p": decimal(0, 1),
    "presence_penalty": decimal(-2, 2),
    "frequency_penalty": decimal(-2, 2),
    "n": integer(1, 128),
    "stop": string_or(list, array(string, shortest=1, longest=4)),
    "seed": integer(-(2**63), 2**63 - 1),
    "logprobs": boolean,
    "top_logprobs": integer(0, 20),
    "logit_bias": mapping(decimal(-100, 100)),
    "stream": boolean,
    "stream_options": record({"include_usage": boolean, "include_obfuscation": boolean}),
    "tools": array(_TOOL, longest=128),
    "tool_choice": string_or(dict, _FORCED_TOOL, text=one_of("none", "auto", "required")),
    "parallel_tool_calls": boolean,
    "functions": array(_FUNCTION, shortest=1, longest=128),
    "function_call": string_or(dict, _NAMED, text=one_of("none", "auto")),
    "response_format": _RESPONSE_FORMAT,
    "reasoning_effort": one_of("none", "minimal", "low", "medium", "high", "xhigh", "max"),
    "verbosity": one_of("low", "medium", "high"),
    "modalities": array(one_of("text", "audio"), shortest=1),
    "audio": record(
        {"voice": _VOICE, "format": one_of("wav", "aac", "mp3", "flac", "opus", "pcm16")},
        required=("voice", "format"),
    ),
    "prediction": variant("type", {"content": record({"content": TEXT_CONTENT}, required=("content",))}),
    "prompt_cache_options": json_object,
    "prompt_cache_retention": string,
}

# What a customer calls its own users. It goes on as it is; whatever shall happen to it on the way
# (hashing, a prefix) is the vendor's adapter's to do.
_END_USER: Mapping[str, Check] = {
    "user": string,
    "safety_identifier": limited_string(longest=128),
    "prompt_cache_key": string,
}

# Well known extras of other vendors that cost nothing but tokens.
VENDOR_EXTRAS: Mapping[str, Check] = {
    "enable_thinking": boolean,  # Qwen
    "thinking_budget": integer(0, MOST_OUTPUT_TOKENS),  # Qwen
    "vl_high_resolution_images": boolean,  # Qwen
    "thinking": json_object,  # DeepSeek
    "reasoning": json_object,  # OpenRouter
    # vLLM, SGLang: switches only, since a template or a tokenizer setting would be theirs to run.
    "chat_template_kwargs": mapping(boolean, longest=8),
    "top_k": integer(-1, 2**31 - 1),
    "min_p": decimal(0, 1),
    "repetition_penalty": decimal(0, 10),
}

# Checked for the client's sake and kept here. `store` and `metadata` would leave customers' data in
# our account at the vendor; a service tier other than the default has other prices.
_KEPT: Mapping[str, Check] = {
    "store": boolean,
    "metadata": mapping(limited_string(longest=512), longest=16, longest_key=64),
    "service_tier": one_of("auto", "default", "flex", "priority"),
    "web_search_options": _unpriced,  # OpenAI
    "search_parameters": _unpriced,  # xAI
    "enable_search": _unpriced,  # Qwen
}

FIELDS: Mapping[str, Check] = {**_OPENAI, **_END_USER, **VENDOR_EXTRAS, **_KEPT}
FORWARDED = frozenset({*_OPENAI, *_END_USER, *VENDOR_EXTRAS})

_BODY = record(FIELDS, required=("model", "messages"))


def validate_body(body: dict[str, Any]) -> None:
    """Raises Violation with OpenAI's code and the path of the first thing that is wrong."""
    _BODY(body)
    for name, rule in _RULES.items():
        if body.get(name) is not None:
            check_entry(name, body, rule)


def _needs_stream(body: dict[str, Any]) -> None:
    if not body.get("stream"):
        reject_value("it is allowed only when 'stream' is true.")


def _needs_logprobs(body: dict[str, Any]) -> None:
    if not body.get("logprobs"):
        reject_value("it is allowed only when 'logprobs' is true.")


def _needs_tools(body: dict[str, Any]) -> None:
    choice = body["tool_choice"]
    if choice not in ("none", "auto") and not body.get("tools"):
        reject_value("it is allowed only when 'tools' are given.")


def _needs_audio(body: dict[str, Any]) -> None:
    if "audio" in body["modalities"] and body.get("audio") is None:
        reject_value("'audio' must say which voice and format to answer in.")


# Rules between fields; each runs when its field is there.
_RULES: Mapping[str, Callable[[dict[str, Any]], None]] = {
    "stream_options": _needs_stream,
    "top_logprobs": _needs_logprobs,
    "tool_choice": _needs_tools,
    "modalities": _needs_audio,
}
