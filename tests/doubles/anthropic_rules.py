"""What Anthropic's Messages API refuses, so that the double refuses it too.

`check_request` gives the message of the 400 a request would get, or None. Models are told apart by the
families the vendor documents; an unknown model is of the newest one that takes everything but sampling.
"""

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

SAMPLING = ("temperature", "top_p", "top_k")
_TOP_LEVEL = frozenset(
    {
        "model", "max_tokens", "messages", "system", "stop_sequences", "stream", "thinking", "output_config",
        "tools", "tool_choice", "metadata", "service_tier", "cache_control", *SAMPLING,
    }
)  # fmt: skip
_IMAGES = {
    "image/jpeg": b"\xff\xd8\xff",
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/gif": b"GIF8",
    "image/webp": b"RIFF",
}
_TOLD_IN_WORDS = frozenset(
    {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength"}
)
_CALL_ID = re.compile(r"[a-zA-Z0-9_-]+")
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_FORCED = ("any", "tool")


@dataclass(frozen=True, slots=True)
class Family:
    sampling: str = "none"  # both | xor | none
    thinking: tuple[str, ...] = ("adaptive", "disabled")
    always_thinks: bool = False
    prefill: bool = False
    formats: bool = True
    efforts: tuple[str, ...] = ("low", "medium", "high", "xhigh", "max")
    forced: bool = True
    system_inside: bool = True
    most_output: int = 128_000


_BUDGET = ("enabled", "disabled")
_ALL_BUT_XHIGH = ("low", "medium", "high", "max")
_FAMILY_4_5 = Family("xor", _BUDGET, prefill=True, efforts=(), system_inside=False, most_output=64_000)
FAMILIES: Mapping[str, Family] = {
    "claude-3-5-haiku": replace(_FAMILY_4_5, sampling="both", thinking=(), formats=False, most_output=8_192),
    "claude-sonnet-4-5": _FAMILY_4_5,
    "claude-haiku-4-5": _FAMILY_4_5,
    "claude-opus-4-5": replace(_FAMILY_4_5, efforts=("low", "medium", "high")),
    "claude-sonnet-4-6": Family("xor", ("adaptive", *_BUDGET), efforts=_ALL_BUT_XHIGH, system_inside=False),
    "claude-opus-4-6": Family("xor", ("adaptive", *_BUDGET), efforts=_ALL_BUT_XHIGH, system_inside=False),
    "claude-opus-4-7": Family(system_inside=False),
    "claude-opus-5-5": Family(thinking=("adaptive",), always_thinks=True, forced=False),
    "claude-sonnet-5-5": Family(thinking=("adaptive", "between_tools"), always_thinks=True, forced=False),
}


def family_of(model: str) -> Family:
    for prefix, family in FAMILIES.items():
        if model.startswith(prefix):
            return family
    return Family()


class Refused(Exception):
    """The message of the vendor's 400."""


def check_request(body: Any) -> str | None:
    try:
        _check(body)
    except Refused as refused:
        return str(refused)
    return None


def sign(model: str, thinking: str) -> str:
    """The double's signature under what a model thought; it holds for that model and text only."""
    digest = hashlib.sha256(f"{model}\n{thinking}".encode()).digest()
    return base64.b64encode(digest * 2).decode()


def _need(condition: object, message: str) -> None:
    if not condition:
        raise Refused(message)


def _check(body: Any) -> None:
    _need(type(body) is dict, "Input should be a valid dictionary")
    for name in body:
        _need(name in _TOP_LEVEL, f"{name}: Extra inputs are not permitted")
    for name in ("model", "max_tokens", "messages"):
        _need(name in body, f"{name}: Field required")
    family = family_of(str(body["model"]))
    limit = body["max_tokens"]
    _need(type(limit) is int and limit >= 1, "max_tokens: must be greater than or equal to 1")
    _need(
        limit <= family.most_output,
        f"max_tokens: {limit} > {family.most_output}, which is the maximum allowed number of output tokens"
        f" for {body['model']}",
    )
    _check_system(body.get("system"))
    _check_tools(body)
    _check_thinking(body, family)
    _check_choice(body, family)
    _check_sampling(body, family)
    _check_output_config(body.get("output_config", {}), family)
    _check_small_fields(body)
    _check_messages(body, family)
    _check_cache_control(body)


def _check_system(system: Any) -> None:
    if system is None or isinstance(system, str):
        return
    _need(isinstance(system, list) and system, "system: Input should be a valid list")
    for index, block in enumerate(system):
        _need(block.get("type") == "text", f"system.{index}.type: Input should be 'text'")
        _check_text(block, f"system.{index}")


def _check_text(block: Mapping[str, Any], where: str) -> None:
    _need(isinstance(block.get("text"), str), f"{where}.text: Field required")
    _need(block["text"], f"{where}: text content blocks must be non-empty")
    _need(block["text"].strip(), f"{where}: text content blocks must contain non-whitespace text")
    _need(set(block) <= {"type", "text", "cache_control"}, f"{where}: Extra inputs are not permitted")


def _check_tools(body: Mapping[str, Any]) -> None:
    names = set()
    for index, tool in enumerate(body.get("tools", ())):
        where = f"tools.{index}.custom"
        _need(_TOOL_NAME.fullmatch(tool.get("name", "")), f"{where}.name: String should match pattern")
        _need(tool["name"] not in names, "tools: Tool names must be unique.")
        names.add(tool["name"])
        schema = tool.get("input_schema")
        _need(isinstance(schema, dict), f"{where}.input_schema: Field required")
        _need(schema.get("type") == "object", f"{where}.input_schema.type: Input should be 'object'")
        unions = {"anyOf", "oneOf", "allOf"} & schema.keys()
        _need(
            not unions,
            f"{where}.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level",
        )
        known = {"name", "description", "input_schema", "cache_control", "strict", "type"}
        _need(set(tool) <= known, f"{where}: Extra inputs are not permitted")


def _check_thinking(body: Mapping[str, Any], family: Family) -> None:
    thinking = body.get("thinking")
    if thinking is None:
        return
    kind = thinking.get("type")
    _need(kind in family.thinking, f"thinking.type: '{kind}' is not supported on this model")
    if kind == "enabled":
        budget = thinking.get("budget_tokens", 0)
        _need(budget >= 1024, "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
        _need(budget < body["max_tokens"], "`max_tokens` must be greater than `thinking.budget_tokens`")


def thinks(body: Mapping[str, Any]) -> bool:
    thinking = body.get("thinking") or {}
    return thinking.get("type") in ("enabled", "adaptive") or family_of(str(body["model"])).always_thinks


def _check_choice(body: Mapping[str, Any], family: Family) -> None:
    choice = body.get("tool_choice")
    if choice is None:
        return
    kind = choice.get("type")
    _need(kind in ("auto", "any", "tool", "none"), "tool_choice: Input tag does not match")
    _need(body.get("tools"), "tool_choice: may only be specified while providing tools")
    _need(kind != "none" or set(choice) == {"type"}, "tool_choice.none: Extra inputs are not permitted")
    if kind in _FORCED:
        _need(family.forced, f"tool_choice.type: '{kind}' is not supported on this model")
        _need(not thinks(body), "Thinking may not be enabled when tool_choice forces tool use.")
    if kind == "tool":
        names = {tool["name"] for tool in body["tools"]}
        _need(choice.get("name") in names, f"Tool '{choice.get('name')}' not found in provided tools")


def _check_sampling(body: Mapping[str, Any], family: Family) -> None:
    temperature, top_p = body.get("temperature"), body.get("top_p")
    _need(temperature is None or 0 <= temperature <= 1, "temperature: range: 0..1")
    _need(top_p is None or 0 <= top_p <= 1, "top_p: range: 0..1")
    if family.sampling == "none":
        _need(temperature in (None, 1), "temperature: not supported on this model")
        _need(top_p is None and body.get("top_k") is None, "top_p: not supported on this model")
    if family.sampling == "xor":
        _need(temperature is None or top_p is None, "`temperature` and `top_p` cannot both be specified")
    if thinks(body):
        _need(temperature in (None, 1), "`temperature` may only be set to 1 when thinking is enabled.")
        _need(body.get("top_k") is None, "`top_k` must be unset when thinking is enabled.")
        _need(top_p is None or top_p >= 0.95, "`top_p` must be >= 0.95 or unset when thinking is enabled.")


def _check_output_config(config: Mapping[str, Any], family: Family) -> None:
    _need(set(config) <= {"effort", "format"}, "output_config: Extra inputs are not permitted")
    effort = config.get("effort")
    _need(effort is None or effort in family.efforts, f"output_config.effort: '{effort}' is not supported")
    wanted = config.get("format")
    if wanted is not None:
        _need(family.formats, "output_config.format: not supported on this model")
        _need(wanted.get("type") == "json_schema", "output_config.format.type: Input should be 'json_schema'")
        _check_schema(wanted.get("schema"), "output_config.format.schema")


def _check_schema(schema: Any, where: str) -> None:
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "object":
        strict = schema.get("additionalProperties") is False
        _need(strict, f"{where}: For 'object' type, 'additionalProperties' must be explicitly set to false")
    for name in schema:
        _need(name not in _TOLD_IN_WORDS, f"{where}: For this type, property '{name}' is not supported")
        _need(name not in ("oneOf", "$schema"), f"{where}: Schema type '{name}' is not supported")
    for name in ("properties", "$defs"):
        for key, value in schema.get(name, {}).items():
            _check_schema(value, f"{where}.{name}.{key}")
    for value in (schema.get("items"), *schema.get("anyOf", ()), *schema.get("allOf", ())):
        _check_schema(value, where)


def _check_small_fields(body: Mapping[str, Any]) -> None:
    for stop in body.get("stop_sequences", ()):
        _need(stop.strip(), "stop_sequences: each stop sequence must contain non-whitespace")
    metadata = body.get("metadata", {})
    _need(set(metadata) <= {"user_id"}, "metadata: Extra inputs are not permitted")
    _need(
        "@" not in metadata.get("user_id", ""),
        "metadata.user_id: user_id appears to contain an email address",
    )
    _need(
        body.get("service_tier", "auto") in ("auto", "standard_only"), "service_tier: Input should be 'auto'"
    )


def _check_messages(body: Mapping[str, Any], family: Family) -> None:
    messages = body["messages"]
    _need(isinstance(messages, list), "messages: Input should be a valid list")
    spoken = [message for message in messages if message.get("role") != "system"]
    _need(spoken, "messages: at least one message is required")
    _need(spoken[0]["role"] == "user", 'messages: first message must use the "user" role')
    _need(family.system_inside or len(spoken) == len(messages), 'messages: Unexpected role "system"')
    for index, message in enumerate(messages):
        _check_message(message, index, body)
    _check_tool_pairs(messages)
    has_tool_blocks = any(block["type"] in ("tool_use", "tool_result") for _, block in _blocks(messages))
    _need(
        not has_tool_blocks or body.get("tools"),
        "Requests which include `tool_use` or `tool_result` blocks must define tools",
    )
    if spoken[-1]["role"] == "assistant":
        _check_prefill(spoken[-1], body, family)
    _check_open_loop(messages, body)


def _blocks(messages: list[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    for index, message in enumerate(messages):
        if isinstance(message["content"], list):
            yield from ((index, block) for block in message["content"])


def _check_message(message: Mapping[str, Any], index: int, body: Mapping[str, Any]) -> None:
    where = f"messages.{index}"
    role, content = message.get("role"), message.get("content")
    _need(role in ("user", "assistant", "system"), f"{where}.role: Input should be 'user' or 'assistant'")
    _need(set(message) == {"role", "content"}, f"{where}: Extra inputs are not permitted")
    _need(content, f"{where}: all messages must have non-empty content")
    if isinstance(content, list):
        for at, block in enumerate(content):
            _check_block(block, f"{where}.content.{at}", str(role), body)


_ALLOWED = {
    "user": ("text", "image", "document", "tool_result"),
    "assistant": ("text", "thinking", "redacted_thinking", "tool_use"),
    "system": ("text",),
}


def _check_block(block: Mapping[str, Any], where: str, role: str, body: Mapping[str, Any]) -> None:
    kind = block.get("type")
    _need(kind in _ALLOWED[role], f"{where}: Input tag '{kind}' is not allowed for the role {role}")
    if kind == "text":
        _check_text(block, where)
    elif kind in ("image", "document"):
        _check_source(block.get("source", {}), where, str(kind))
    elif kind == "tool_use":
        _need(_CALL_ID.fullmatch(block.get("id", "")), f"{where}.tool_use.id: String should match pattern")
        _need(
            _TOOL_NAME.fullmatch(block.get("name", "")), f"{where}.tool_use.name: String should match pattern"
        )
        _need(
            isinstance(block.get("input"), dict),
            f"{where}.tool_use.input: Input should be a valid dictionary",
        )
    elif kind == "tool_result":
        inner = block.get("content", "x")
        for at, part in enumerate(inner if isinstance(inner, list) else ()):
            _check_block(part, f"{where}.content.{at}", "user", body)
    elif kind == "thinking":
        good = block.get("signature") == sign(str(body["model"]), block.get("thinking", ""))
        _need(good, f"{where}: Invalid `signature` in `thinking` block")


def _check_source(source: Mapping[str, Any], where: str, kind: str) -> None:
    if source.get("type") == "url":
        _need(
            source["url"].startswith("https://"), f"{where}.{kind}.source.url: Only HTTPS URLs are supported."
        )
    elif source.get("type") == "text":
        _need(kind == "document" and source.get("data"), f"{where}: text sources must be non-empty")
    elif kind == "document":
        _need(
            source.get("media_type") == "application/pdf",
            f"{where}.document.source.media_type: Input should be 'application/pdf'",
        )
        _need(
            _decode(source.get("data", ""), where).startswith(b"%PDF"),
            f"{where}: The PDF specified was not valid.",
        )
    else:
        magic = _IMAGES.get(str(source.get("media_type")))
        _need(
            magic,
            f"{where}.image.source.base64.media_type: Input should be 'image/jpeg', 'image/png',"
            " 'image/gif' or 'image/webp'",
        )
        start = _decode(source.get("data", ""), where)
        _need(
            start.startswith(magic or b"?"),
            f"{where}.image.source.base64.data: The image does not match the provided media type",
        )


def _decode(data: str, where: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except ValueError:
        raise Refused(f"{where}.source.base64: invalid base64 data") from None


def _check_tool_pairs(messages: list[dict[str, Any]]) -> None:
    used: set[str] = set()
    for index, message in enumerate(messages):
        calls = [block["id"] for at, block in _blocks([message]) if block["type"] == "tool_use"]
        _need(
            len(set(calls)) == len(calls) and not used & set(calls), "messages: `tool_use` ids must be unique"
        )
        used.update(calls)
        following = messages[index + 1] if index + 1 < len(messages) else {"content": []}
        kinds = [block["type"] for _, block in _blocks([following])]
        results = [
            block["tool_use_id"] for _, block in _blocks([following]) if block["type"] == "tool_result"
        ]
        _need(
            set(calls) <= set(results),
            f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: "
            + ", ".join(sorted(set(calls) - set(results))),
        )
        _need(
            set(results) <= set(calls),
            f"messages.{index + 1}: unexpected `tool_use_id` found in `tool_result` blocks",
        )
        _need(len(set(results)) == len(results), "each tool_use must have a single result")
        _need(
            all(kind == "tool_result" for kind in kinds[: len(results)]), "tool_result blocks must come first"
        )
    first = [block for _, block in _blocks(messages[:1]) if block["type"] == "tool_result"]
    _need(not first, "messages.0: unexpected `tool_use_id` found in `tool_result` blocks")


def _check_prefill(message: Mapping[str, Any], body: Mapping[str, Any], family: Family) -> None:
    _need(family.prefill, "This model does not support assistant message prefill.")
    _need(not thinks(body), "Assistant prefill is not supported while thinking is enabled.")
    content = message["content"]
    text = content if isinstance(content, str) else content[-1].get("text", "")
    _need(text == text.rstrip(), "messages: final assistant content cannot end with trailing whitespace")


def _check_open_loop(messages: list[dict[str, Any]], body: Mapping[str, Any]) -> None:
    """With a budget for thinking, a turn in a tool loop must begin with what was thought."""
    if (body.get("thinking") or {}).get("type") != "enabled":
        return
    first = None
    for message in reversed(messages):
        kinds = [block["type"] for _, block in _blocks([message])]
        if message["role"] == "assistant" and "tool_use" in kinds:
            first = kinds[0]
        elif message["role"] == "assistant" or (first is not None and "tool_result" not in kinds):
            break
    _need(
        first in (None, "thinking", "redacted_thinking"),
        "messages: Expected `thinking` or `redacted_thinking`, but found `tool_use`. When `thinking` is"
        " enabled, a final `assistant` message must start with a thinking block",
    )


def _check_cache_control(body: Mapping[str, Any]) -> None:
    """In the order the vendor reads: tools, system, messages."""
    places = [*body.get("tools", ())]
    places += body["system"] if isinstance(body.get("system"), list) else []
    for _, block in _blocks(body["messages"]):
        inner = block.get("content")
        places += [block, *(inner if isinstance(inner, list) else ())]
    found = [place["cache_control"] for place in places if "cache_control" in place]
    _need(len(found) <= 4, f"A maximum of 4 blocks with cache_control may be provided. Found {len(found)}.")
    lifetimes = [control.get("ttl", "5m") for control in found]
    _need(lifetimes == sorted(lifetimes), "a ttl='1h' cache_control block must not come after a ttl='5m' one")
