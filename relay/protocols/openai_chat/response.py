"""A vendor's whole answer, made into ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from billing.contracts import TokenUsage
from relay.contracts import ChatAnswer
from relay.errors import UpstreamFailed
from relay.protocols.openai_chat.content import (
    make_call_id,
    read_arguments,
    read_reasoning,
    read_service_tier,
    read_string,
    read_text,
    reports_error,
    utf8_length,
)
from relay.protocols.openai_chat.finish import read_finish_reason, settle_finish_reason
from relay.protocols.openai_chat.usage import read_usage, usage_to_openai

_UNREADABLE = "The model's vendor sent an answer that cannot be read."
_FAILED = "The model's vendor reported an error instead of an answer."

# Everything else a vendor puts into a message or choice is its own business and stays here.
_KEPT_IN_MESSAGE = {"annotations": list, "audio": dict, "function_call": dict}


@dataclass(frozen=True, slots=True)
class _Choice:
    translated: dict[str, Any]
    finish_reason: str
    output_bytes: int


def translate_response(
    payload: bytes, *, completion_id: str, created: int, model_fallback: str
) -> ChatAnswer:
    """`created` is in Unix seconds. Raises UpstreamFailed for anything that is no answer."""
    raw = _read_answer(payload)
    choices = [
        _translate_choice(choice, position, completion_id) for position, choice in enumerate(raw["choices"])
    ]
    report = read_usage(raw.get("usage"))
    answer: dict[str, Any] = {
        "id": completion_id,
        "object": "chat.completion",
        "created": created,
        "model": read_string(raw, "model") or model_fallback,
        **read_service_tier(raw),
        "system_fingerprint": read_string(raw, "system_fingerprint"),
        "choices": [choice.translated for choice in choices],
    }
    if report is not None:
        answer["usage"] = usage_to_openai(report.usage)
    output_bytes = sum(choice.output_bytes for choice in choices)
    return ChatAnswer(
        body=_write(answer),
        usage=None if report is None else report.usage,
        upstream_model=answer["model"],
        finish_reasons=tuple(choice.finish_reason for choice in choices),
        has_output=output_bytes > 0 or any("audio" in c.translated["message"] for c in choices),
        output_bytes=output_bytes,
        usage_clamped=report is not None and report.clamped,
        service_tier=read_string(raw, "service_tier") or "",
    )


def add_usage(body: bytes, usage: TokenUsage) -> bytes:
    """An answer whose vendor reported no usage, with the usage we settled it by."""
    return body[:-1] + b',"usage":' + orjson.dumps(usage_to_openai(usage)) + b"}"


def with_usage(body: bytes, usage: TokenUsage) -> bytes:
    """An answer whose vendor reported what cannot be, with the usage we settled it by."""
    return orjson.dumps({**orjson.loads(body), "usage": usage_to_openai(usage)})


def _read_answer(payload: bytes) -> dict[str, Any]:
    try:
        raw = orjson.loads(payload)
    except orjson.JSONDecodeError:
        raise UpstreamFailed(_UNREADABLE) from None
    if not isinstance(raw, dict):
        raise UpstreamFailed(_UNREADABLE)
    if reports_error(raw):
        raise UpstreamFailed(_FAILED)
    if not isinstance(raw.get("choices"), list) or not raw["choices"]:
        raise UpstreamFailed(_UNREADABLE)
    return raw


def _write(answer: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(answer)
    except orjson.JSONEncodeError:  # nested deeper than can be written
        raise UpstreamFailed(_UNREADABLE) from None


def _translate_choice(choice: Any, position: int, completion_id: str) -> _Choice:
    raw = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(raw, dict):
        raise UpstreamFailed(_UNREADABLE)
    if choice.get("error") or choice.get("finish_reason") == "error":
        raise UpstreamFailed(_FAILED)
    index = choice.get("index")
    index = index if type(index) is int else position
    message = _translate_message(raw, index, completion_id)
    finish_reason = settle_finish_reason(
        read_finish_reason(choice.get("finish_reason")),
        calls_tools="tool_calls" in message,
        calls_function="function_call" in message,
    )
    translated = {
        "index": index,
        "message": message,
        "logprobs": choice.get("logprobs"),
        "finish_reason": finish_reason,
    }
    return _Choice(translated, finish_reason, _count_output(message))


def _translate_message(raw: Mapping[str, Any], index: int, completion_id: str) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": read_text(raw.get("content")),
        "refusal": read_string(raw, "refusal"),
    }
    reasoning = read_reasoning(raw)
    if reasoning is not None:
        message["reasoning_content"] = reasoning
    for name, shape in _KEPT_IN_MESSAGE.items():
        if raw.get(name) and isinstance(raw[name], shape):
            message[name] = raw[name]
    calls = raw.get("tool_calls")
    if isinstance(calls, list) and calls:
        message["tool_calls"] = [
            _translate_call(call, make_call_id(completion_id, index, number))
            for number, call in enumerate(calls)
        ]
    return message


def _translate_call(call: Any, fallback_id: str) -> dict[str, Any]:
    if not isinstance(call, dict):
        raise UpstreamFailed(_UNREADABLE)
    kind = "custom" if isinstance(call.get("custom"), dict) else "function"
    raw = call.get(kind)
    if not isinstance(raw, dict):
        raise UpstreamFailed(_UNREADABLE)
    return {"id": read_string(call, "id") or fallback_id, "type": kind, kind: _translate_called(raw, kind)}


def _translate_called(raw: Mapping[str, Any], kind: str) -> dict[str, str]:
    name = read_string(raw, "name") or ""
    if kind == "custom":
        return {"name": name, "input": read_arguments(raw.get("input"))}
    return {"name": name, "arguments": read_arguments(raw.get("arguments")) or "{}"}


def _count_output(message: Mapping[str, Any]) -> int:
    texts = [message["content"], message["refusal"], message.get("reasoning_content")]
    texts += [_text_of_call(call) for call in message.get("tool_calls", ())]
    texts.append(read_string(message.get("function_call", {}), "arguments"))
    texts.append(read_string(message.get("audio", {}), "transcript"))
    return sum(utf8_length(text) for text in texts if text)


def _text_of_call(call: Mapping[str, Any]) -> str:
    return "".join(call[call["type"]].values())
