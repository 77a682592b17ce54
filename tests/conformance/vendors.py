"""The vendors of the run: a model of each, and how its double is told what to answer."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

from tests.doubles import anthropic_rules, anthropic_script, gemini_rules

Json = dict[str, Any]


@dataclass(frozen=True)
class Manner:
    """How one double is spoken to, and how its log is read.

    `served` is what was used: prompt and completion tokens; `counts_early`: its streams tell of usage before
    they end. Of the request that the double received, `pictures` are the data and addresses, `thinks` is
    whether the model was asked to, `thoughts` what it thought beside earlier calls, and `wanted_thoughts`
    what a vendor wants to read there. `refusing` has the model refuse in words, `blocked` the vendor
    refuse the prompt with an error; with `thoughtless` it answers at once.
    """

    tools: Callable[[list[tuple[str, Json]]], Json]
    filtered: Json
    cached: Json
    thoughtful: Json
    broken: Json
    served: Callable[[Json], tuple[int, int]]
    pictures: Callable[[Json], list[str]]
    thinks: Callable[[Json], bool]
    thoughts: Callable[[Json], list[Any]]
    wanted_thoughts: Callable[[Json, str], list[Any]]
    thoughtless: Json = field(default_factory=dict)
    counts_early: bool = False
    refusing: tuple[Json, ...] = ()
    blocked: Json | None = None


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


def _openai_calls(calls: list[tuple[str, Json]]) -> Json:
    made = [{"name": tool, "arguments": json.dumps(given), "id": _new_id()} for tool, given in calls]
    return {"tool_calls": made}


def _named(name: str) -> Callable[[list[tuple[str, Json]]], Json]:
    return lambda calls: {"tools": [{"name": tool, name: given, "id": _new_id()} for tool, given in calls]}


def _new_id() -> str:
    """Of a call of which nothing can be known from before."""
    return f"call_{uuid4().hex[:20]}"


def _blocks(request: Json, *kinds: str) -> list[Json]:
    contents = [message["content"] for message in request["messages"]]
    blocks = [block for content in contents if isinstance(content, list) for block in content]
    return [block for block in blocks if block["type"] in kinds]


def _parts(request: Json, kind: str) -> list[Json]:
    return [part for content in request["contents"] for part in content["parts"] if kind in part]


def _anthropic_pictures(request: Json) -> list[str]:
    sources = [block["source"] for block in _blocks(request, "image")]
    return [one.get("url") or f"data:{one['media_type']};base64,{one['data']}" for one in sources]


def _gemini_pictures(request: Json) -> list[str]:
    inline = [part["inlineData"] for part in _parts(request, "inlineData")]
    return [f"data:{one['mimeType']};base64,{one['data']}" for one in inline]


def _signed_block(request: Json, _model: str) -> list[Json]:
    thought = anthropic_script.THOUGHT
    signature = anthropic_rules.sign(request["model"], thought)
    return [{"type": "thinking", "thinking": thought, "signature": signature}]


def _signature(request: Json, model: str) -> list[str]:
    calls = [part["functionCall"] for part in _parts(request, "functionCall")]
    return [gemini_rules.sign(model, call["name"], call["args"]) for call in calls]


OPENAI_SHAPED = Manner(
    tools=_openai_calls,
    filtered={"finish_reason": "content_filter"},
    cached={"prompt_tokens": 100, "cached_tokens": 40},
    thoughtful={"reasoning": 3, "reasoning_tokens": 12, "completion_tokens": 20},
    broken={"status": 500},
    served=_served_by_openai,
    pictures=lambda request: request["pictures"],
    thinks=lambda request: request.get("reasoning_effort") == "low",
    thoughts=lambda request: request["thoughts"],
    wanted_thoughts=lambda _request, _model: [None],
)
OPENAI = replace(OPENAI_SHAPED, refusing=({"text": "I will not.", "refuses": True},))
XAI = replace(OPENAI_SHAPED, blocked={"refusal": "filter"})
DEEPSEEK = replace(
    OPENAI_SHAPED,
    thinks=lambda request: request.get("thinking") == {"type": "enabled"},
    wanted_thoughts=lambda _request, _model: ["t0 t1 t2 "],
)
QWEN = replace(
    OPENAI_SHAPED,
    thinks=lambda request: request.get("enable_thinking") is True,
    blocked={"refusal": "filter"},
)
ANTHROPIC = Manner(
    tools=_named("input"),
    filtered={"stop_reason": "refusal"},
    cached={"usage": {"input_tokens": 60, "cache_read_input_tokens": 40}},
    thoughtful={},
    broken={"status": 529, "error": {"type": "overloaded_error", "message": "Overloaded"}},
    served=_served_by_anthropic,
    pictures=_anthropic_pictures,
    thinks=anthropic_rules.thinks,
    thoughts=lambda request: _blocks(request, "thinking", "redacted_thinking"),
    wanted_thoughts=_signed_block,
    counts_early=True,
    refusing=({"chunks": 0, "stop_reason": "refusal", "stop_details": {"explanation": "I will not."}},),
)
GEMINI = Manner(
    tools=_named("args"),
    filtered={"finish_reason": "SAFETY"},
    cached={
        "usage": {"promptTokenCount": 100, "cachedContentTokenCount": 40, "totalTokenCount": 103},
        "thinking": False,
    },
    thoughtful={},
    thoughtless={"thinking": False},
    broken={"status": 503},
    served=_served_by_gemini,
    pictures=_gemini_pictures,
    thinks=lambda request: request["generationConfig"]["thinkingConfig"]["thinkingLevel"] == "LOW",
    thoughts=lambda request: [part.get("thoughtSignature") for part in _parts(request, "functionCall")],
    wanted_thoughts=_signature,
    counts_early=True,
    refusing=(
        {"chunks": 0, "thinking": False, "block_reason": "PROHIBITED_CONTENT"},
        {"chunks": 0, "thinking": False, "finish_reason": "SAFETY"},
    ),
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
    thinker: str = ""  # asked where reasoning is asked for, if `model` has none


VENDORS = (
    Vendor("OpenAI", "gpt-4o", "OPENAI", "vendor", OPENAI, thinker="gpt-6-luna"),
    Vendor("Anthropic", "claude-sonnet-4-6", "ANTHROPIC", "anthropic", ANTHROPIC),
    Vendor("Gemini", "gemini-3.5-flash", "GEMINI", "gemini", GEMINI),
    Vendor("DeepSeek", "deepseek-flash", "DEEPSEEK", "vendor", DEEPSEEK, "deepseek"),
    Vendor("xAI", "grok-4.7", "XAI", "vendor", XAI, "xai"),
    Vendor("Qwen", "qwen3.8-flash", "DASHSCOPE", "vendor", QWEN, "qwen"),
    Vendor("Llama", "llama-3.3-70b-instruct", "LLAMA", "vendor", OPENAI_SHAPED, "llama"),
)


def variables(base_urls: Mapping[str, str]) -> dict[str, str]:
    """What an installation needs to find the doubles: `base_urls` by vendor."""
    keys = {f"{vendor.variables}_API_KEY": "sk-conformance-double" for vendor in VENDORS}
    places = {f"{vendor.variables}_BASE_URL": base_urls[vendor.name] for vendor in VENDORS}
    return {**keys, **places}
