"""Anthropic's whole message, made into OpenAI's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from relay.contracts import AnswerFrame, ChatAnswer
from relay.errors import UpstreamFailed
from relay.protocols.openai_chat.content import make_call_id, utf8_length
from relay.protocols.openai_chat.finish import settle_finish_reason
from relay.protocols.openai_chat.usage import usage_to_openai
from relay.vendors.anthropic.answers import read_citation, read_refusal, read_stop_reason
from relay.vendors.anthropic.errors import stream_failure
from relay.vendors.anthropic.thinking import mark_block, remember_thoughts
from relay.vendors.anthropic.usage import read_service_tier, read_usage
from relay.vendors.shared.exact_json import UNREADABLE, has_inexact_numbers, read_exactly, write_json
from relay.vendors.shared.json_text import extract_json


def translate_answer(payload: bytes, frame: AnswerFrame) -> ChatAnswer:
    """Raises RelayError for anything that is no answer."""
    raw = _read_message(payload)
    return translate_message(raw, _exact_inputs(payload, raw["content"]), frame)


def translate_message(raw: Mapping[str, Any], inputs: Mapping[int, str], frame: AnswerFrame) -> ChatAnswer:
    """`inputs` are arguments as the vendor wrote them, by the place of their block."""
    reader = _Reader(frame, inputs)
    for index, block in enumerate(raw["content"]):
        reader.take(index, block)
    message = reader.message(read_refusal(raw))
    reason = _finish_reason(raw, message, frame)
    report = read_usage(raw.get("usage"))
    model = raw["model"] if isinstance(raw.get("model"), str) and raw["model"] else frame.model_fallback
    answer: dict[str, Any] = {
        "id": frame.completion_id,
        "object": "chat.completion",
        "created": frame.created,
        "model": model,
        "system_fingerprint": None,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
    }
    if report is not None:
        answer["usage"] = usage_to_openai(report.usage)
    output_bytes = reader.output_bytes + utf8_length(message["refusal"] or "")
    return ChatAnswer(
        body=_write(answer),
        usage=None if report is None else report.usage,
        upstream_model=model,
        finish_reasons=(reason,),
        has_output=output_bytes > 0,
        output_bytes=output_bytes,
        usage_clamped=report is not None and report.clamped,
        service_tier=read_service_tier(raw.get("usage")),
        remember=reader.remember(),
    )


def _read_message(payload: bytes) -> dict[str, Any]:
    try:
        raw = orjson.loads(payload)
    except orjson.JSONDecodeError:
        raise UpstreamFailed(UNREADABLE) from None
    if not isinstance(raw, dict):
        raise UpstreamFailed(UNREADABLE)
    if raw.get("type") == "error" or raw.get("error"):
        raise stream_failure(raw.get("error"))
    if not isinstance(raw.get("content"), list):
        raise UpstreamFailed(UNREADABLE)
    return raw


def _finish_reason(raw: Mapping[str, Any], message: Mapping[str, Any], frame: AnswerFrame) -> str:
    calls = "tool_calls" in message or "function_call" in message
    reason = settle_finish_reason(
        read_stop_reason(raw.get("stop_reason")), calls_tools=calls, calls_function=False
    )
    return "function_call" if reason == "tool_calls" and frame.function_form else reason


@dataclass(slots=True)
class _Reader:
    """Takes the blocks of a message in order."""

    frame: AnswerFrame
    inputs: Mapping[int, str]
    texts: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    blocks: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    json: str | None = None
    output_bytes: int = 0

    def take(self, index: int, block: Any) -> None:
        """What is new to us is left out."""
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "text":
            self._take_text(block)
        elif kind == "tool_use":
            self._take_call(index, block)
        elif kind == "thinking":
            self._take_thinking(block)
        elif kind == "redacted_thinking" and isinstance(block.get("data"), str):
            self.blocks.append({"type": "redacted_thinking", "data": block["data"]})

    def message(self, refusal: str | None) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": self._content(), "refusal": refusal}
        if self.reasoning:
            message["reasoning_content"] = "".join(self.reasoning)
        if self.blocks:
            message["thinking_blocks"] = [mark_block(b, self.frame.model_fallback) for b in self.blocks]
        if self.annotations:
            message["annotations"] = self.annotations
        if self.calls and self.frame.function_form:
            message["function_call"] = self.calls[0]["function"]
        elif self.calls:
            message["tool_calls"] = self.calls
        return message

    def remember(self) -> dict[str, Any]:
        call_ids = [call["id"] for call in self.calls]
        return remember_thoughts(call_ids, self.blocks, self.frame.model_fallback)

    def _content(self) -> str | None:
        if self.json is not None:
            return self.json
        text = "".join(self.texts)
        if not text and self.calls:
            return None
        return extract_json(text) if self.frame.json_text and not self.calls else text

    def _take_text(self, block: Mapping[str, Any]) -> None:
        text = _text(block, "text")
        start = sum(map(len, self.texts))
        self.texts.append(text)
        self.output_bytes += utf8_length(text)
        citations = block.get("citations")
        for citation in citations if isinstance(citations, list) else ():
            annotation = read_citation(citation, start, start + len(text))
            if annotation is not None:
                self.annotations.append(annotation)

    def _take_thinking(self, block: Mapping[str, Any]) -> None:
        thinking, signature = _text(block, "thinking"), _text(block, "signature")
        if thinking:
            self.reasoning.append(thinking)
            self.output_bytes += utf8_length(thinking)
        if signature:
            self.blocks.append({"type": "thinking", "thinking": thinking, "signature": signature})

    def _take_call(self, index: int, block: Mapping[str, Any]) -> None:
        arguments = self.inputs.get(index)
        if arguments is None:
            arguments = _write(block.get("input") or {}).decode()
        name = _text(block, "name")
        self.output_bytes += utf8_length(arguments)
        if name == self.frame.json_tool:
            self.json = arguments
            return
        name = self.frame.tool_names.get(name, name)
        self.output_bytes += utf8_length(name)
        call_id = _text(block, "id") or make_call_id(self.frame.completion_id, 0, len(self.calls))
        called = {"name": name, "arguments": arguments}
        self.calls.append({"id": call_id, "type": "function", "function": called})


def _text(source: Mapping[str, Any], name: str) -> str:
    value = source.get(name)
    return value if isinstance(value, str) else ""


def _exact_inputs(payload: bytes, content: list[Any]) -> dict[int, str]:
    """Arguments whose numbers would change on the way through, as text."""
    calls = [isinstance(block, dict) and block.get("type") == "tool_use" for block in content]
    if not any(calls) or not has_inexact_numbers(payload):
        return {}
    blocks = read_exactly(payload)["content"]
    return {
        index: write_json(blocks[index].get("input") or {}) for index, is_call in enumerate(calls) if is_call
    }


def _write(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:  # nested deeper than can be written
        raise UpstreamFailed(UNREADABLE) from None
