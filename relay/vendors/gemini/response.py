"""Gemini's whole answer, made into OpenAI's."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import orjson

from relay.contracts import (
    Annotation,
    AnswerFrame,
    ChatAnswer,
    ChatEvent,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallStart,
)
from relay.errors import UpstreamFailed
from relay.protocols.openai_chat.content import utf8_length
from relay.protocols.openai_chat.finish import settle_finish_reason
from relay.protocols.openai_chat.usage import usage_to_openai
from relay.vendors.gemini.answers import AnswerReader
from relay.vendors.gemini.stream import read_objects
from relay.vendors.gemini.usage import read_service_tier
from relay.vendors.shared.exact_json import UNREADABLE


def translate_answer(payload: bytes, frame: AnswerFrame) -> ChatAnswer:
    """Raises RelayError for anything that is no answer."""
    reader = AnswerReader(frame)
    choices: dict[int, _Choice] = {}
    for raw, written in read_objects(payload):
        for event in reader.take(raw, written):
            choices.setdefault(event.choice, _Choice()).add(event)
    if not choices:
        raise UpstreamFailed("The model's vendor sent no answer.")
    return _answer(reader, [choices[index] for index in sorted(choices)], frame)


def _answer(reader: AnswerReader, choices: list["_Choice"], frame: AnswerFrame) -> ChatAnswer:
    report = reader.report()
    written = [choice.written(index, frame) for index, choice in enumerate(choices)]
    answer: dict[str, Any] = {
        "id": frame.completion_id,
        "object": "chat.completion",
        "created": frame.created,
        "model": reader.model,
        "system_fingerprint": None,
        "choices": written,
    }
    if report is not None:
        answer["usage"] = usage_to_openai(report.usage)
    output_bytes = sum(choice.output_bytes for choice in choices)
    return ChatAnswer(
        body=_dump(answer),
        usage=None if report is None else report.usage,
        upstream_model=reader.model,
        finish_reasons=tuple(each["finish_reason"] for each in written),
        has_output=output_bytes > 0,
        output_bytes=output_bytes,
        usage_clamped=report is not None and report.clamped,
        service_tier=read_service_tier(reader.usage),
        remember=reader.remember,
    )


class _Choice:
    """One candidate, put together from its events."""

    __slots__ = ("_annotations", "_calls", "_logprobs", "_reason", "_reasoning", "_refusals", "_texts")

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._reasoning: list[str] = []
        self._refusals: list[str] = []
        self._calls: list[dict[str, Any]] = []
        self._annotations: list[Mapping[str, Any]] = []
        self._logprobs: list[Any] | None = None
        self._reason: str | None = None

    @property
    def output_bytes(self) -> int:
        called = [call["function"][name] for call in self._calls for name in ("name", "arguments")]
        return sum(map(utf8_length, [*self._texts, *self._reasoning, *self._refusals, *called]))

    def add(self, event: ChatEvent) -> None:
        self._TAKERS[type(event)](self, event)

    def written(self, index: int, frame: AnswerFrame) -> dict[str, Any]:
        reason = settle_finish_reason(self._reason, calls_tools=bool(self._calls), calls_function=False)
        if reason == "tool_calls" and frame.function_form:
            reason = "function_call"
        logprobs = None if self._logprobs is None else {"content": self._logprobs, "refusal": None}
        message = self._message(function_form=frame.function_form)
        return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": reason}

    def _message(self, *, function_form: bool) -> dict[str, Any]:
        text = "".join(self._texts)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": text if text or not self._calls else None,
            "refusal": "".join(self._refusals) or None,
        }
        if self._reasoning:
            message["reasoning_content"] = "".join(self._reasoning)
        if self._annotations:
            message["annotations"] = self._annotations
        if self._calls and function_form:
            message["function_call"] = self._calls[0]["function"]
        elif self._calls:
            message["tool_calls"] = self._calls
        return message

    def _add_text(self, event: TextDelta) -> None:
        self._texts.append(event.text)
        if event.logprobs is not None:
            self._logprobs = [*(self._logprobs or ()), *event.logprobs["content"]]

    def _add_reasoning(self, event: ReasoningDelta) -> None:
        self._reasoning.append(event.text)

    def _add_refusal(self, event: RefusalDelta) -> None:
        self._refusals.append(event.text)

    def _add_call(self, event: ToolCallStart) -> None:
        called = {"name": event.name, "arguments": event.arguments}
        call = {"id": event.call_id, "type": "function", "function": called, **(event.extra or {})}
        self._calls.append(call)

    def _add_annotation(self, event: Annotation) -> None:
        self._annotations.append(event.value)

    def _note_finish(self, event: Finish) -> None:
        self._reason = event.reason

    _TAKERS: ClassVar[Mapping[type, Callable[["_Choice", Any], None]]] = {
        TextDelta: _add_text,
        ReasoningDelta: _add_reasoning,
        RefusalDelta: _add_refusal,
        ToolCallStart: _add_call,
        Annotation: _add_annotation,
        Finish: _note_finish,
    }


def _dump(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:  # nested deeper than can be written
        raise UpstreamFailed(UNREADABLE) from None
