"""The vendors of the run: a model of each, and how its double is told what to answer."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Manner:
    """How one double is spoken to. `served` is what its log says was used: prompt and completion tokens."""

    tools: Callable[[list[tuple[str, Json]]], Json]
    filtered: Json
    cached: Json
    thoughtful: Json
    broken: Json
    served: Callable[[Json], tuple[int, int]]


def _served_by_openai(record: Json) -> tuple[int, int]:
    return record["prompt_tokens"], record["completion_tokens"]


def _served_by_anthropic(record: Json) -> tuple[int, int]:
    usage = record["usage"]
    cached = usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"]
    return usage["input_tokens"] + cached, usage["output_tokens"]


def _served_by_gemini(record: Json) -> tuple[int, int]:
    usage = record["usage"]
    written = usage.get("candidatesTokenCount", 0) + usage.get("thoughtsTokenCount", 0)
    return usage["promptTokenCount"], written


def _named(name: str) -> Callable[[list[tuple[str, Json]]], Json]:
    return lambda calls: {"tools": [{"name": tool, name: given} for tool, given in calls]}


OPENAI_SHAPED = Manner(
    tools=lambda calls: {
        "tool_calls": [{"name": tool, "arguments": json.dumps(given)} for tool, given in calls]
    },
    filtered={"finish_reason": "content_filter"},
    cached={"prompt_tokens": 100, "cached_tokens": 40},
    thoughtful={"reasoning": 3, "reasoning_tokens": 12, "completion_tokens": 20},
    broken={"status": 500},
    served=_served_by_openai,
)
ANTHROPIC = Manner(
    tools=_named("input"),
    filtered={"stop_reason": "refusal"},
    cached={"usage": {"input_tokens": 60, "cache_read_input_tokens": 40}},
    thoughtful={"thinking": True},
    broken={"status": 529, "error": {"type": "overloaded_error", "message": "Overloaded"}},
    served=_served_by_anthropic,
)
GEMINI = Manner(
    tools=_named("args"),
    filtered={"finish_reason": "SAFETY"},
    cached={"usage": {"promptTokenCount": 100, "cachedContentTokenCount": 40}},
    thoughtful={"thinking": True},
    broken={"status": 503},
    served=_served_by_gemini,
)


@dataclass(frozen=True)
class Vendor:
    """`double` is which of the doubles plays it; `profile` whom the OpenAI-shaped one plays."""

    name: str
    model: str
    variables: str
    double: str
    manner: Manner
    profile: str = ""
    reports_cache: bool = True
    thinker: str = ""  # asked where reasoning is asked for, if `model` has none


VENDORS = (
    Vendor("OpenAI", "gpt-4o", "OPENAI", "vendor", OPENAI_SHAPED, thinker="gpt-6-luna"),
    Vendor("Anthropic", "claude-sonnet-4-6", "ANTHROPIC", "anthropic", ANTHROPIC),
    Vendor("Gemini", "gemini-3.5-flash", "GEMINI", "gemini", GEMINI),
    Vendor("DeepSeek", "deepseek-flash", "DEEPSEEK", "vendor", OPENAI_SHAPED, "deepseek"),
    Vendor("xAI", "grok-4.7", "XAI", "vendor", OPENAI_SHAPED, "xai"),
    Vendor("Qwen", "qwen3.8-flash", "DASHSCOPE", "vendor", OPENAI_SHAPED, "qwen"),
    Vendor("Llama", "llama-3.3-70b-instruct", "LLAMA", "vendor", OPENAI_SHAPED, "llama", reports_cache=False),
)


def variables(base_urls: Mapping[str, str]) -> dict[str, str]:
    """What an installation needs to find the doubles: `base_urls` by vendor."""
    keys = {f"{vendor.variables}_API_KEY": "sk-conformance-double" for vendor in VENDORS}
    places = {f"{vendor.variables}_BASE_URL": base_urls[vendor.name] for vendor in VENDORS}
    return {**keys, **places}
