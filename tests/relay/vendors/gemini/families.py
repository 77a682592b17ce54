"""Traits of the vendor's models as a catalogue writes them, and short ways to build a request."""

from collections.abc import Mapping
from typing import Any

import orjson

from relay.capabilities import ModelTraits, read_traits
from relay.contracts import UpstreamRequest
from relay.protocols.openai_chat.request import parse_request
from relay.vendors.gemini import DEFAULT_TRAITS, build_request
from tests.doubles.gemini_rules import check_request

_SECOND = {
    "penalties": True,
    "json_with_tools": False,
    "tool_call_ids": False,
    "signed_tool_calls": False,
    "prefill": True,
    "reasoning": "budget",
    "reasoning_budgets": {"minimal": 1_024, "low": 1_024, "medium": 2_048, "high": 4_096, "xhigh": 8_192,
                          "max": 16_384},
}  # fmt: skip
_ROWS: Mapping[str, Mapping[str, Any]] = {
    "gemini-2.0-flash": {
        **_SECOND,
        "max_output": 8_192,
        "n_max": 8,
        "logprobs": True,
        "schema_dialect": "openapi",
        "reasoning": "none",
        "reasoning_can_disable": True,
    },
    "gemini-2.5-pro": {**_SECOND, "reasoning_budget_range": [128, 32_768]},
    "gemini-2.5-flash": {
        **_SECOND,
        "reasoning_budget_range": [1, 24_576],
        "reasoning_can_disable": True,
    },
    "gemini-2.5-flash-lite": {
        **_SECOND,
        "reasoning_budget_range": [512, 24_576],
        "reasoning_can_disable": True,
    },
    "gemini-3.1-pro-preview": {"reasoning_efforts": ["low", "high"]},
    "gemini-3.5-flash-lite": {
        "reasoning_efforts": ["minimal", "low", "medium", "high"],
        "sampling": "none",
    },
    "gemini-3.8-flash": {"sampling": "none"},
}
TRAITS: Mapping[str, ModelTraits] = {name: read_traits(row, DEFAULT_TRAITS) for name, row in _ROWS.items()}

FLASH_2_0 = "gemini-2.0-flash"
PRO_2_5 = "gemini-2.5-pro"
FLASH_2_5 = "gemini-2.5-flash"
LITE_2_5 = "gemini-2.5-flash-lite"
PRO_3_1 = "gemini-3.1-pro-preview"
LITE_3_5 = "gemini-3.5-flash-lite"
FLASH_3_8 = "gemini-3.8-flash"

HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Hello"}]
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PDF = "JVBERi0xLjQKJeLjz9MKMSAwIG9iago8PD4+CmVuZG9iagp0cmFpbGVyCjw8Pj4KJSVFT0YK"
GIF = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA="


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
    model: str = PRO_3_1,
    memory: Mapping[str, Any] | None = None,
    limit: int | None = None,
    sends_thoughts: bool = True,
    traits: ModelTraits | None = None,
    **fields: Any,
) -> UpstreamRequest:
    """The vendor's request for a customer's body, which must be one the vendor takes."""
    chat = parse_request(orjson.dumps({"model": "alias", "messages": messages, **fields}))
    request = build_request(
        chat,
        upstream_model=model,
        traits=traits or TRAITS[model],
        max_output_tokens=limit,
        memory=memory or {},
        user_id="hashed",
        sends_thoughts=sends_thoughts,
    )
    problem = check_request(model, orjson.loads(request.body))
    assert problem is None, (problem, request.body)
    return request


def sent(messages: list[dict[str, Any]] = HELLO, **fields: Any) -> dict[str, Any]:
    """What the vendor reads."""
    body: dict[str, Any] = orjson.loads(build(messages, **fields).body)
    return body


def config(messages: list[dict[str, Any]] = HELLO, **fields: Any) -> dict[str, Any]:
    """The generationConfig of a request, without what it says about thinking."""
    given = sent(messages, **fields).get("generationConfig", {})
    return {name: value for name, value in given.items() if name != "thinkingConfig"}
