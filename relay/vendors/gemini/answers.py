"""Gemini's answer as canonical events: the same for a whole answer and for each event of a stream.

A candidate is a choice. Calls of functions come whole, several in one event or one in each, and the vendor
ends with STOP also when it called; the end may come in a later event with nothing else in it.
"""

from collections.abc import Mapping
from typing import Any

from billing.contracts import TokenUsage
from relay.contracts import (
    Annotation,
    AnswerFrame,
    ChatEvent,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    ReportedUsage,
    TextDelta,
    ToolCallStart,
)
from relay.errors import UpstreamFailed
from relay.protocols.openai_chat.content import make_call_id, utf8_length
from relay.vendors.gemini.errors import stream_failure
from relay.vendors.gemini.logprobs import read_logprobs
from relay.vendors.gemini.signatures import for_client, for_memory
from relay.vendors.gemini.usage import merge_usage, read_usage
from relay.vendors.shared.exact_json import has_inexact_numbers, read_exactly, write_json
from relay.vendors.shared.json_text import JsonText

_FILTERED = frozenset(
    {
        "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "MODEL_ARMOR",
        "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "LANGUAGE", "ESCALATION",
    }
)  # fmt: skip
_WHOLE = frozenset({"STOP", "MAX_TOKENS", "FINISH_REASON_UNSPECIFIED"})  # also with nothing in it
_MOST_CHOICES = 128
_LONGEST_CALL_ID = 64  # characters; clients and other vendors take no more
_NOTHING: dict[str, Any] = {}


class _Source:
    """The object that is being read, a second time with exact numbers where a call needs them."""

    __slots__ = ("_exact", "_payload")

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._exact: Any = None

    def arguments(self, call: Mapping[str, Any], candidate: int, part: int) -> str:
        """Of the call in this part of this candidate, both by their place in the object."""
        arguments = call.get("args")
        if not isinstance(arguments, dict) or not arguments:
            return "{}"
        if self._exact is None and has_inexact_numbers(self._payload):
            self._exact = read_exactly(self._payload)
        if self._exact is not None:
            parts = self._exact["candidates"][candidate]["content"]["parts"]
            arguments = parts[part]["functionCall"]["args"]
        return write_json(arguments)


class AnswerReader:
    """`take` every object the vendor sends. `remember` is for the next turn, by tool call id."""

    __slots__ = ("_call_ids", "_candidates", "frame", "is_blocked", "model", "remember", "usage")

    def __init__(self, frame: AnswerFrame) -> None:
        self._candidates: dict[int, _Candidate] = {}
        self._call_ids: set[str] = set()
        self.frame = frame
        self.model = frame.model_fallback
        self.usage: dict[str, Any] = {}
        self.remember: dict[str, Any] = {}
        self.is_blocked = False

    @property
    def held_bytes(self) -> int:
        """UTF-8 bytes of text that is held back for a JSON that may come."""
        return sum(utf8_length(each.json.held) for each in self._candidates.values() if each.json)

    def report(self) -> ReportedUsage | None:
        """What was used so far. A blocked prompt that the vendor did not count costs nothing."""
        report = read_usage(self.usage)
        return ReportedUsage(TokenUsage(), clamped=False) if report is None and self.is_blocked else report

    def take(self, raw: Mapping[str, Any], payload: bytes) -> list[ChatEvent]:
        """`payload` is what `raw` was read from. Raises RelayError for reported errors and broken answers."""
        if raw.get("error"):
            raise stream_failure(raw["error"])
        merge_usage(self.usage, raw.get("usageMetadata"))
        model = raw.get("modelVersion")
        if type(model) is str and model:
            self.model = model.removeprefix("models/")
        candidates = raw.get("candidates")
        if type(candidates) is not list or not candidates:
            return self._read_feedback(raw.get("promptFeedback"))
        events: list[ChatEvent] = []
        source = _Source(payload)
        for place, candidate in enumerate(candidates[:_MOST_CHOICES]):
            if type(candidate) is dict:
                self._candidate(candidate, place).take(candidate, place, source, events)
        return events

    def call_id(self, given: object, choice: int, number: int) -> str:
        """The vendor's, where it has one that no other call has."""
        call_id = given if type(given) is str and len(given) <= _LONGEST_CALL_ID else ""
        if not call_id or call_id in self._call_ids:
            call_id = make_call_id(self.frame.completion_id, choice, number)
        self._call_ids.add(call_id)
        return call_id

    def _read_feedback(self, feedback: object) -> list[ChatEvent]:
        """A blocked prompt has no candidates: the customer's answer says so, and is no success."""
        reason = feedback.get("blockReason") if isinstance(feedback, dict) else None
        if not reason or self.is_blocked or self._candidates:
            return []
        self.is_blocked = True
        return [RefusalDelta("The model's vendor blocked this prompt."), Finish("content_filter")]

    def _candidate(self, raw: Mapping[str, Any], place: int) -> "_Candidate":
        index = raw.get("index", place)
        choice = index if type(index) is int and 0 <= index < _MOST_CHOICES else place
        known = self._candidates.get(choice)
        if known is None:
            known = self._candidates[choice] = _Candidate(self, choice)
        return known


class _Candidate:
    """One choice: its parts as events, and what is known of it so far."""

    __slots__ = ("_calls", "_choice", "_has_content", "_is_ascii", "_length", "_reader", "json")

    def __init__(self, reader: AnswerReader, choice: int) -> None:
        self._reader = reader
        self._choice = choice
        self._has_content = False  # text or calls: thoughts alone are no answer
        self._calls = 0
        self._length = 0  # characters of content so far
        self._is_ascii = True
        self.json = JsonText() if reader.frame.json_text else None

    def take(self, raw: Mapping[str, Any], place: int, source: _Source, events: list[ChatEvent]) -> None:
        content = raw.get("content")
        parts = content.get("parts") if type(content) is dict else None
        logprobs: Mapping[str, Any] | None = read_logprobs(raw.get("logprobsResult"))
        for number, part in enumerate(parts if type(parts) is list else ()):
            call = part.get("functionCall") if type(part) is dict else None
            if type(call) is dict:
                self._call(part, source.arguments(call, place, number), events)
            elif type(part) is dict:
                logprobs = self._read_text(part, events, logprobs)
        if logprobs is not None:
            events.append(TextDelta("", self._choice, logprobs))
        if raw.get("citationMetadata"):
            self._cite(raw["citationMetadata"], events)
        reason = raw.get("finishReason")
        if type(reason) is str and reason:
            self._finish(reason, events)

    def _read_text(
        self, part: Mapping[str, Any], events: list[ChatEvent], logprobs: Mapping[str, Any] | None
    ) -> Mapping[str, Any] | None:
        """Log probabilities go with the first text of an event; what is left of them is returned."""
        text = part.get("text")
        if type(text) is not str or not text:
            return logprobs
        if part.get("thought"):
            events.append(ReasoningDelta(text, self._choice))
            return logprobs
        self._has_content = True
        self._say(text if self.json is None else self.json.feed(text), events, logprobs)
        return None

    def _say(self, text: str, events: list[ChatEvent], logprobs: Mapping[str, Any] | None = None) -> None:
        if text or logprobs is not None:
            self._length += len(text)
            self._is_ascii = self._is_ascii and text.isascii()
            events.append(TextDelta(text, self._choice, logprobs))

    def _release(self, events: list[ChatEvent]) -> None:
        """Text that was held back for a JSON that did not come."""
        if self.json is not None:
            self._say(self.json.close(), events)

    def _call(self, part: Mapping[str, Any], arguments: str, events: list[ChatEvent]) -> None:
        self._release(events)
        self._has_content = True
        reader, call = self._reader, part["functionCall"]
        number, self._calls = self._calls, self._calls + 1
        call_id = reader.call_id(call.get("id"), self._choice, number)
        signature, extra = part.get("thoughtSignature"), None
        if type(signature) is str and signature:
            extra = for_client(signature, reader.frame.model_fallback)
            reader.remember[call_id] = for_memory(signature, reader.frame.model_fallback)
        name = call.get("name")
        name = name if type(name) is str else ""
        name = reader.frame.tool_names.get(name, name)
        events.append(ToolCallStart(number, call_id, name, arguments, self._choice, extra))

    def _finish(self, reason: str, events: list[ChatEvent]) -> None:
        self._release(events)
        if reason in _FILTERED:
            if not self._has_content:
                events.append(RefusalDelta("The model's vendor withheld this answer.", self._choice))
            events.append(Finish("content_filter", self._choice))
        elif reason not in _WHOLE and not self._has_content:
            raise UpstreamFailed("The model wrote nothing that can be used. Try again.")
        else:
            events.append(Finish("length" if reason == "MAX_TOKENS" else "stop", self._choice))

    def _cite(self, metadata: object, events: list[ChatEvent]) -> None:
        """Where text was taken from. The vendor counts bytes, OpenAI characters: the same in ASCII only."""
        given = metadata if isinstance(metadata, dict) else _NOTHING
        sources = given.get("citationSources") or given.get("citations")
        for source in sources if isinstance(sources, list) else ():
            url = source.get("uri") if isinstance(source, dict) else None
            if isinstance(url, str) and url:
                title = source.get("title")
                cited = {**self._span(source), "url": url, "title": title if isinstance(title, str) else url}
                events.append(Annotation({"type": "url_citation", "url_citation": cited}, self._choice))

    def _span(self, source: Mapping[str, Any]) -> dict[str, int]:
        start, end = source.get("startIndex", 0), source.get("endIndex", self._length)
        if not self._is_ascii or type(start) is not int or type(end) is not int:
            start, end = 0, self._length
        return {"start_index": max(start, 0), "end_index": min(end, self._length)}
