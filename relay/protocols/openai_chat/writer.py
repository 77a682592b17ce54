"""Canonical events, written as the chunks OpenAI's clients expect.

What holds whatever a vendor does: one `id`, `created` and `model`; a role once for each choice and first;
tool calls numbered 0, 1, 2, … with id and name on their first fragment only; arguments that are JSON; one
finish reason for each choice and nothing behind it; usage only where it was asked for, and `[DONE]` last.
"""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from billing.contracts import TokenUsage
from relay.contracts import (
    Annotation,
    AnswerFrame,
    ChatEvent,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ThinkingBlock,
    ToolCallArguments,
    ToolCallEnd,
    ToolCallStart,
)
from relay.errors import UpstreamFailed
from relay.protocols.openai_chat.content import make_call_id, utf8_length
from relay.protocols.openai_chat.finish import settle_finish_reason
from relay.protocols.openai_chat.usage import usage_to_openai

_DONE = b"data: [DONE]\n\n"
_UNREADABLE = "The model's vendor sent a part of the answer that cannot be read."


class _Call:
    __slots__ = ("has_arguments", "index")

    def __init__(self, index: int) -> None:
        self.index = index
        self.has_arguments = False


class _Choice:
    __slots__ = ("calls", "has_role", "listed", "opening", "reason", "started")

    def __init__(self, index: int) -> None:
        self.opening = b'[{"index":%d,"delta":' % index
        self.has_role = False
        self.reason: str | None = None
        self.calls: dict[int, _Call] = {}  # by the vendor's number: the latest call that had it
        self.started: list[_Call] = []
        self.listed: dict[str, int] = {}  # entries given so far, by the name of their list


class ChunkWriter:
    """`write` every event, then send `closing`. `model` may be set until the first chunk is written.

    `output_bytes` is the UTF-8 length of text, reasoning, refusals and tool calls.
    """

    __slots__ = (
        "_choices",
        "_frame",
        "_head",
        "_include_usage",
        "_plain_end",
        "_tail",
        "model",
        "output_bytes",
    )

    def __init__(self, frame: AnswerFrame, *, include_usage: bool) -> None:
        self.model = frame.model_fallback
        self.output_bytes = 0
        self._frame = frame
        self._include_usage = include_usage
        self._choices: dict[int, _Choice] = {}
        self._head = b""  # empty until the first chunk: then the model is settled
        self._tail = b',"usage":null}\n\n' if include_usage else b"}\n\n"
        self._plain_end = b'},"logprobs":null,"finish_reason":null}]' + self._tail

    @property
    def has_output(self) -> bool:
        return self.output_bytes > 0

    @property
    def finished(self) -> bool:
        """Every choice got its finish reason."""
        return bool(self._choices) and all(c.reason is not None for c in self._choices.values())

    @property
    def finish_reasons(self) -> tuple[str, ...]:
        return tuple(self._settled_reason(self._choices[index]) for index in sorted(self._choices))

    def write(self, event: ChatEvent) -> bytes:
        """The chunks for one event; empty when there is nothing to say."""
        return _WRITERS[type(event)](self, event)

    def closing(self, usage_for_client: TokenUsage) -> bytes:
        """The end of a whole answer; `usage_for_client` is what was charged."""
        ends = [self._end(self._choices[index]) for index in sorted(self._choices)]
        if self._include_usage:
            usage = orjson.dumps(usage_to_openai(usage_for_client))
            ends.append(self._settled_head() + b'[],"usage":' + usage + b"}\n\n")
        return b"".join([*ends, _DONE])

    def write_text(self, event: TextDelta) -> bytes:
        if event.logprobs is not None:
            return self._write_with_logprobs(event, event.logprobs)
        return self._plain(b'{"content":', event.text, event.choice) if event.text else b""

    def write_reasoning(self, event: ReasoningDelta) -> bytes:
        return self._plain(b'{"reasoning_content":', event.text, event.choice) if event.text else b""

    def write_refusal(self, event: RefusalDelta) -> bytes:
        return self._plain(b'{"refusal":', event.text, event.choice) if event.text else b""

    def write_tool_start(self, event: ToolCallStart) -> bytes:
        state = self._choice(event.choice)
        if self._frame.function_form and state.started:
            return b""  # the deprecated form has room for one call
        call = _Call(len(state.started))
        state.calls[event.call] = call
        state.started.append(call)
        call.has_arguments = bool(event.arguments)
        self.output_bytes += utf8_length(event.name) + utf8_length(event.arguments)
        called = {"name": event.name, "arguments": event.arguments}
        if self._frame.function_form:
            return self._delta(state, {"function_call": called}, content=None)
        call_id = event.call_id or make_call_id(self._frame.completion_id, event.choice, call.index)
        fragment = {"index": call.index, "id": call_id, "type": "function", "function": called}
        return self._delta(state, {"tool_calls": [{**fragment, **(event.extra or {})}]}, content=None)

    def write_tool_arguments(self, event: ToolCallArguments) -> bytes:
        """Arguments of a call that never began say nothing to anybody."""
        state = self._choice(event.choice)
        call = state.calls.get(event.call)
        if call is None or not event.text:
            return b""
        call.has_arguments = True
        self.output_bytes += utf8_length(event.text)
        return self._arguments(state, call, orjson.dumps(event.text))

    def write_tool_end(self, event: ToolCallEnd) -> bytes:
        state = self._choice(event.choice)
        call = state.calls.get(event.call)
        return b"" if call is None else self._complete(state, call)

    def write_annotation(self, event: Annotation) -> bytes:
        return self._list(event.choice, "annotations", event.value)

    def write_thinking(self, event: ThinkingBlock) -> bytes:
        return self._list(event.choice, "thinking_blocks", event.block)

    def note_finish(self, event: Finish) -> bytes:
        self._choice(event.choice).reason = event.reason
        return b""

    def _plain(self, opening: bytes, text: str, index: int) -> bytes:
        """The usual chunk, put together from bytes that are ready."""
        state = self._choices.get(index) or self._choice(index)
        self.output_bytes += len(text) if text.isascii() else len(text.encode())
        chunk = b"".join(
            (self._head or self._settled_head(), state.opening, opening, orjson.dumps(text), self._plain_end)
        )
        return chunk if state.has_role else self._introduce(state, "") + chunk

    def _write_with_logprobs(self, event: TextDelta, logprobs: Mapping[str, Any]) -> bytes:
        self.output_bytes += utf8_length(event.text)
        return self._delta(self._choice(event.choice), {"content": event.text}, logprobs=logprobs)

    def _list(self, choice: int, name: str, entry: Mapping[str, Any]) -> bytes:
        """One more entry of a list. The official SDKs put lists together by `index` and fail without."""
        state = self._choice(choice)
        index = state.listed.get(name, 0)
        state.listed[name] = index + 1
        return self._delta(state, {name: [{"index": index, **entry}]})

    def _delta(
        self,
        state: _Choice,
        delta: Mapping[str, Any],
        *,
        content: str | None = "",
        logprobs: Mapping[str, Any] | None = None,
    ) -> bytes:
        opening = b"" if state.has_role else self._introduce(state, content)
        said = _dump(delta) + b',"logprobs":' + _dump(logprobs) + b',"finish_reason":null}]'
        return opening + self._settled_head() + state.opening + said + self._tail

    def _introduce(self, state: _Choice, content: str | None) -> bytes:
        """Who speaks; `content` null when a tool call comes first, as OpenAI writes it."""
        state.has_role = True
        delta = b'{"role":"assistant","content":' + (b"null" if content is None else b'""')
        return self._settled_head() + state.opening + delta + self._plain_end

    def _arguments(self, state: _Choice, call: _Call, written: bytes) -> bytes:
        fragment = b'{"tool_calls":[{"index":%d,"function":{"arguments":%b}}]' % (call.index, written)
        if self._frame.function_form:
            fragment = b'{"function_call":{"arguments":%b}' % written
        return self._settled_head() + state.opening + fragment + self._plain_end

    def _complete(self, state: _Choice, call: _Call) -> bytes:
        """A call without arguments has `{}`, so that they are JSON."""
        if call.has_arguments:
            return b""
        call.has_arguments = True
        return self._arguments(state, call, b'"{}"')

    def _end(self, state: _Choice) -> bytes:
        opening = b"" if state.has_role else self._introduce(state, "")
        owed = b"".join(self._complete(state, call) for call in state.started)
        reason = b'{},"logprobs":null,"finish_reason":"%b"}]' % self._settled_reason(state).encode()
        return opening + owed + self._settled_head() + state.opening + reason + self._tail

    def _settled_reason(self, state: _Choice) -> str:
        """A vendor that ended in a call knows nothing of the deprecated form of it."""
        reason = settle_finish_reason(state.reason, calls_tools=bool(state.started), calls_function=False)
        return "function_call" if reason == "tool_calls" and self._frame.function_form else reason

    def _choice(self, index: int) -> _Choice:
        state = self._choices.get(index)
        if state is None:
            state = self._choices[index] = _Choice(index)
        return state

    def _settled_head(self) -> bytes:
        if not self._head:
            common = {
                "id": self._frame.completion_id,
                "object": "chat.completion.chunk",
                "created": self._frame.created,
                "model": self.model,
                "system_fingerprint": None,
            }
            self._head = b"data: " + orjson.dumps(common)[:-1] + b',"choices":'
        return self._head


def _dump(value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:  # nested deeper than can be written
        raise UpstreamFailed(_UNREADABLE) from None


_WRITERS: Mapping[type, Callable[[ChunkWriter, Any], bytes]] = {
    TextDelta: ChunkWriter.write_text,
    ReasoningDelta: ChunkWriter.write_reasoning,
    RefusalDelta: ChunkWriter.write_refusal,
    ToolCallStart: ChunkWriter.write_tool_start,
    ToolCallArguments: ChunkWriter.write_tool_arguments,
    ToolCallEnd: ChunkWriter.write_tool_end,
    Annotation: ChunkWriter.write_annotation,
    ThinkingBlock: ChunkWriter.write_thinking,
    Finish: ChunkWriter.note_finish,
}
