"""Traits of the vendor's models as a catalogue writes them, and short ways to build a request."""

from collections.abc import Mapping
from typing import Any

import orjson

from relay.capabilities import ModelTraits, read_traits
from relay.contracts import UpstreamRequest
from relay.protocols.openai_chat.request import parse_request
from relay.vendors.anthropic import DEFAULT_TRAITS, build_request
from tests.doubles.anthropic_rules import check_request

_NEWER = {
    "max_output": 128_000,
    "sampling": "none",
    "reasoning": "effort",
    "reasoning_efforts": ["low", "medium", "high", "xhigh", "max"],
    "prefill": False,
    "system_mid_conversation": True,
}
_ROWS: Mapping[str, Mapping[str, Any]] = {
    "claude-3-5-haiku-20241022": {
        "sampling": "full",
        "max_output": 8_192,
        "default_max_tokens": 4_096,
        "reasoning": "none",
        "json_schema": "tool_trick",
        "prefill": True,
    },
    "claude-sonnet-4-5-20250929": {"prefill": True},
    "claude-opus-4-5-20251101": {"prefill": True},
    "claude-sonnet-4-6": {
        **_NEWER,
        "sampling": "temp_xor_top_p",
        "reasoning_efforts": ["low", "medium", "high", "max"],
        "system_mid_conversation": False,
    },
    "claude-opus-4-7": {**_NEWER, "system_mid_conversation": False},
    "claude-opus-5": _NEWER,
    "claude-opus-5-5": {**_NEWER, "reasoning_can_disable": False, "forced_tool_choice": False},
    "claude-sonnet-5-5": {**_NEWER, "reasoning_off": "between_tools", "forced_tool_choice": False},
}
TRAITS: Mapping[str, ModelTraits] = {name: read_traits(row, DEFAULT_TRAITS) for name, row in _ROWS.items()}

HAIKU_3_5 = "claude-3-5-haiku-20241022"
SONNET_4_5 = "claude-sonnet-4-5-20250929"
OPUS_4_5 = "claude-opus-4-5-20251101"
SONNET_4_6 = "claude-sonnet-4-6"
OPUS_5 = "claude-opus-5"
OPUS_5_5 = "claude-opus-5-5"
SONNET_5_5 = "claude-sonnet-5-5"

HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Hello"}]
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PDF = "JVBERi0xLjQKJeLjz9MKMSAwIG9iago8PD4+CmVuZG9iagp0cmFpbGVyCjw8Pj4KJSVFT0YK"


def tool(name: str = "f", **more: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"a": {"type": "integer"}}}
    return {"type": "function", "function": {"name": name, "parameters": parameters, **more}}


def calls(*ids: str, name: str = "f", arguments: str = '{"a":1}', **more: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    called = [{"id": each, "type": "function", "function": function} for each in ids]
    return {"role": "assistant", "content": None, "tool_calls": called, **more}


def result(call_id: str, content: Any = "42") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def build(
    messages: list[dict[str, Any]] = HELLO,
    *,
    model: str = SONNET_4_5,
    memory: Mapping[str, Any] | None = None,
    user_id: str | None = None,
    limit: int | None = None,
    **fields: Any,
) -> UpstreamRequest:
    """The vendor's request for a customer's body, which must be one the vendor takes."""
    request = build_unchecked(messages, model=model, memory=memory, user_id=user_id, limit=limit, **fields)
    assert check_request(orjson.loads(request.body)) is None
    return request


def build_unchecked(
    messages: list[dict[str, Any]],
    *,
    model: str,
    memory: Mapping[str, Any] | None = None,
    user_id: str | None = None,
    limit: int | None = None,
    **fields: Any,
) -> UpstreamRequest:
    chat = parse_request(orjson.dumps({"model": "alias", "messages": messages, **fields}))
    return build_request(
        chat,
        upstream_model=model,
        traits=TRAITS[model],
        max_output_tokens=limit,
        memory=memory or {},
        user_id=user_id,
    )


def sent(messages: list[dict[str, Any]] = HELLO, **fields: Any) -> dict[str, Any]:
    """What the vendor reads."""
    body: dict[str, Any] = orjson.loads(build(messages, **fields).body)
    return body
