"""Anthropic's stream of events, made into OpenAI's chunks.

Events name the content block they belong to; only tool calls get numbers of their own, counted anew. The
answer is whole when the vendor says so with `message_stop`: an end before that is a broken answer.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import orjson

from billing.contracts import TokenUsage
from relay.contracts import (
    Annotation,
    AnswerFrame,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    ReportedUsage,
    TextDelta,
    ThinkingBlock,
    ToolCallArguments,
    ToolCallEnd,
    ToolCallStart,
)
from relay.endings import BYTES_PER_TOKEN
from relay.errors import UpstreamFailed
from relay.protocols.openai_chat.content import make_call_id, utf8_length
from relay.protocols.openai_chat.writer import ChunkWriter
from relay.vendors.anthropic.answers import read_citation, read_refusal, read_stop_reason
from relay.vendors.anthropic.errors import stream_failure
from relay.vendors.anthropic.thinking import mark_block, remember_thoughts
from relay.vendors.anthropic.usage import merge_usage, read_service_tier, read_usage
from relay.vendors.shared.json_text import JsonText

_UNREADABLE = "The model's vendor sent a part of the answer that cannot be read."
_NOTHING: dict[str, Any] = {}


def read_event(payload: bytes) -> dict[str, Any] | None:
    """One event; None for an empty payload. Raises RelayError for what is none, and for a reported error."""
    try:
        event = orjson.loads(payload)
    except orjson.JSONDecodeError:
        if not payload.strip():
            return None
        raise UpstreamFailed(_UNREADABLE) from None
    if type(event) is not dict:
        raise UpstreamFailed(_UNREADABLE)
    if event.get("error") or event.get("type") == "error":
        raise stream_failure(event.get("error"))
    return event


def read_type(raw: Mapping[str, Any]) -> str:
    kind = raw.get("type")
    return kind if type(kind) is str else ""


class _Block:
    """A content block that is being written."""

    __slots__ = ("citations", "input", "is_json", "kind", "signature", "start", "texts")

    def __init__(self, raw: Mapping[str, Any], start: int) -> None:
        self.kind = read_type(raw)
        self.start = start  # characters of content before it
        self.is_json = False
        self.input = raw.get("input")
        self.texts: list[str] = []
        self.signature = raw.get("signature")
        self.citations: list[Any] = []


class AnthropicStreamTranslator:
    """Feed it every `data` payload, then send `closing` or an error event.

    `done`: the vendor ended the message. `remember` is for the next turn, by tool call id.
    """

    __slots__ = (
        "_blocks",
        "_call_ids",
        "_frame",
        "_has_begun",
        "_is_counted",
        "_json",
        "_latest",
        "_length",
        "_prose",
        "_thoughts",
        "_usage",
        "_writer",
        "done",
    )

    def __init__(self, frame: AnswerFrame, *, include_usage: bool) -> None:
        self.done = False
        self._frame = frame
        self._writer = ChunkWriter(frame, include_usage=include_usage)
        self._blocks: dict[int, _Block] = {}
        self._latest = 0
        self._length = 0  # characters of content so far
        self._has_begun = False
        self._is_counted = False  # the vendor has said how much it wrote
        self._json = JsonText() if frame.json_text else None
        self._prose: list[str] | None = None if frame.json_tool is None else []
        self._thoughts: list[dict[str, Any]] = []
        self._call_ids: list[str] = []
        self._usage: dict[str, Any] = {}

    @property
    def upstream_model(self) -> str:
        return self._writer.model

    @property
    def finished(self) -> bool:
        """A reason was given why the answer ends here."""
        return self._writer.finished

    @property
    def complete(self) -> bool:
        """The vendor left no doubt that the answer is whole: only then may `closing` be sent."""
        return self.done

    @property
    def finish_reasons(self) -> tuple[str, ...]:
        return self._writer.finish_reasons

    @property
    def output_bytes(self) -> int:
        """UTF-8 bytes of text, reasoning and tool calls, also of text that is held back."""
        held = self._json.held if self._json else "".join(self._prose or ())
        return self._writer.output_bytes + utf8_length(held)

    @property
    def has_output(self) -> bool:
        return self.output_bytes > 0

    @property
    def remember(self) -> dict[str, Any]:
        return remember_thoughts(self._call_ids, self._thoughts, self._frame.model_fallback)

    @property
    def reported_usage(self) -> ReportedUsage | None:
        """Until the vendor counted its output there is but a placeholder, which text must not undercut."""
        report = read_usage(self._usage)
        if report is None or self._is_counted:
            return report
        missing = -(-self.output_bytes // BYTES_PER_TOKEN) - report.usage.completion_tokens
        if missing <= 0:
            return report
        usage = replace(report.usage, output_tokens=report.usage.output_tokens + missing)
        return ReportedUsage(usage, clamped=report.clamped)

    @property
    def service_tier(self) -> str:
        return read_service_tier(self._usage)

    @property
    def usage(self) -> TokenUsage | None:
        report = self.reported_usage
        return None if report is None else report.usage

    def feed(self, payload: bytes) -> bytes | None:
        """What to send for one `data` payload. Raises RelayError."""
        if self.done:
            return None
        event = read_event(payload)
        handler = self._EVENTS.get(read_type(event)) if event else None
        return (handler(self, event) or None) if handler and event else None

    def closing(self, usage_for_client: TokenUsage) -> bytes:
        """The end of a whole answer; `usage_for_client` is what was charged."""
        return self._writer.closing(usage_for_client)

    def _begin(self, event: Mapping[str, Any]) -> bytes:
        message = event.get("message")
        if not isinstance(message, dict):
            raise UpstreamFailed(_UNREADABLE)
        if not self._has_begun:
            self._has_begun = True
            model = message.get("model")
            if isinstance(model, str) and model:
                self._writer.model = model
            merge_usage(self._usage, message.get("usage"))
        return b""

    def _start_block(self, event: Mapping[str, Any]) -> bytes:
        raw = event.get("content_block")
        if type(raw) is not dict:
            return b""
        index = self._index(event)
        self._latest = index
        block = self._blocks[index] = _Block(raw, self._length)
        if block.kind == "tool_use":
            return self._start_call(index, block, raw)
        if block.kind == "redacted_thinking" and isinstance(raw.get("data"), str):
            return self._think({"type": "redacted_thinking", "data": raw["data"]})
        for name, read in (("text", self._say), ("thinking", self._reason)):
            if block.kind == name and type(raw.get(name)) is str:
                return read(block, raw[name])
        return b""

    def _start_call(self, index: int, block: _Block, raw: Mapping[str, Any]) -> bytes:
        name = raw.get("name")
        name = name if isinstance(name, str) else ""
        if name == self._frame.json_tool:
            block.is_json = True
            self._prose = None  # what was said before the JSON is no part of it
            return b""
        held = self._release()
        call_id = raw.get("id")
        if not isinstance(call_id, str) or not call_id:
            call_id = make_call_id(self._frame.completion_id, 0, len(self._call_ids))
        self._call_ids.append(call_id)
        name = self._frame.tool_names.get(name, name)
        return held + self._writer.write_tool_start(ToolCallStart(index, call_id, name))

    def _continue_block(self, event: Mapping[str, Any]) -> bytes:
        delta = event.get("delta")
        if type(delta) is not dict:
            return b""
        reader = self._DELTAS.get(read_type(delta))
        return reader(self, self._index(event), delta) if reader is not None else b""

    def _add_text(self, index: int, delta: Mapping[str, Any]) -> bytes:
        text = delta.get("text")
        return self._say(self._blocks.get(index), text) if type(text) is str else b""

    def _say(self, _block: _Block | None, text: str) -> bytes:
        if self._prose is not None:
            self._prose.append(text)
            return b""
        if self._json is not None:
            text = self._json.feed(text)
        self._length += len(text)
        return self._writer.write_text(TextDelta(text))

    def _add_thinking(self, index: int, delta: Mapping[str, Any]) -> bytes:
        block, text = self._blocks.get(index), delta.get("thinking")
        return self._reason(block, text) if type(text) is str and block is not None else b""

    def _reason(self, block: _Block, text: str) -> bytes:
        block.texts.append(text)
        return self._writer.write_reasoning(ReasoningDelta(text))

    def _add_signature(self, index: int, delta: Mapping[str, Any]) -> bytes:
        block, signature = self._blocks.get(index), delta.get("signature")
        if block is not None and type(signature) is str:
            block.signature = signature
        return b""

    def _add_input(self, index: int, delta: Mapping[str, Any]) -> bytes:
        block, text = self._blocks.get(index), delta.get("partial_json")
        if block is None or type(text) is not str or not text:
            return b""
        block.input = None
        if block.is_json:
            return self._writer.write_text(TextDelta(text))
        return self._writer.write_tool_arguments(ToolCallArguments(index, text))

    def _add_citation(self, index: int, delta: Mapping[str, Any]) -> bytes:
        block = self._blocks.get(index)
        if block is not None:
            block.citations.append(delta.get("citation"))
        return b""

    def _stop_block(self, event: Mapping[str, Any]) -> bytes:
        index = self._index(event)
        block = self._blocks.get(index)
        if block is None:
            return b""
        if block.kind == "tool_use":
            return self._stop_call(index, block)
        del self._blocks[index]
        if block.kind == "thinking" and isinstance(block.signature, str) and block.signature:
            said = "".join(block.texts)
            return self._think({"type": "thinking", "thinking": said, "signature": block.signature})
        cited = [read_citation(each, block.start, self._length) for each in block.citations]
        return b"".join(self._writer.write_annotation(Annotation(each)) for each in cited if each)

    def _stop_call(self, index: int, block: _Block) -> bytes:
        """Some hosts give all of the input at the start and no pieces of it."""
        rest = b""
        if isinstance(block.input, dict) and (block.input or block.is_json):
            rest = self._add_input(index, {"partial_json": _write(block.input)})
        del self._blocks[index]
        return rest if block.is_json else rest + self._writer.write_tool_end(ToolCallEnd(index))

    def _think(self, block: dict[str, Any]) -> bytes:
        self._thoughts.append(block)
        marked = mark_block(block, self._frame.model_fallback)
        return self._writer.write_thinking(ThinkingBlock(marked))

    def _note_end(self, event: Mapping[str, Any]) -> bytes:
        """May come more than once; the last word counts."""
        usage = event.get("usage")
        merge_usage(self._usage, usage)
        if isinstance(usage, dict) and usage.get("output_tokens") is not None:
            self._is_counted = True
        delta = event.get("delta")
        delta = delta if isinstance(delta, dict) else _NOTHING
        reason = read_stop_reason(delta.get("stop_reason"))
        if reason is None:
            return b""
        self._writer.note_finish(Finish(reason))
        refused = read_refusal(delta)
        held = self._release()
        return held if refused is None else held + self._writer.write_refusal(RefusalDelta(refused))

    def _end(self, _event: Mapping[str, Any]) -> bytes:
        if not self._has_begun:
            raise UpstreamFailed(_UNREADABLE)
        held = self._release()
        if not self._writer.finished:
            self._writer.note_finish(Finish("stop"))
        self.done = True
        return held

    def _release(self) -> bytes:
        """Text that was held back for a JSON that did not come."""
        held = "".join(self._prose or ())
        self._prose = None
        if self._json is not None:
            held += self._json.close()
        self._length += len(held)
        return self._writer.write_text(TextDelta(held))

    def _index(self, event: Mapping[str, Any]) -> int:
        index = event.get("index")
        return index if type(index) is int else self._latest

    _DELTAS: ClassVar[
        Mapping[str, Callable[["AnthropicStreamTranslator", int, Mapping[str, Any]], bytes]]
    ] = {
        "text_delta": _add_text,
        "input_json_delta": _add_input,
        "thinking_delta": _add_thinking,
        "signature_delta": _add_signature,
        "citations_delta": _add_citation,
    }
    # Pings and events that are new to us say nothing to a customer.
    _EVENTS: ClassVar[Mapping[str, Callable[["AnthropicStreamTranslator", Mapping[str, Any]], bytes]]] = {
        "message_start": _begin,
        "content_block_start": _start_block,
        "content_block_delta": _continue_block,
        "content_block_stop": _stop_block,
        "message_delta": _note_end,
        "message_stop": _end,
    }


def _write(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # nested deeper than can be written
        raise UpstreamFailed(_UNREADABLE) from None
