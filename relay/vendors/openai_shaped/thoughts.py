"""What a model thought beside its tool calls, for vendors that want it back as a text.

Clients that know OpenAI's fields only have lost it when they answer the calls; then it comes from memory.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from typing_extensions import override

from relay.contracts import ChatAnswer
from relay.protocols.openai_chat.content import utf8_length
from relay.protocols.openai_chat.stream import ChatStreamTranslator

MOST_BYTES = 256 * 1024  # of one choice's thoughts: memory does not keep more
_FIELD = "reasoning_content"
_EVENT = b"data: "
_THINKS = b'"reasoning_content":'
_CALLS = b'"tool_calls":'


def thoughts_of(answer: ChatAnswer) -> dict[str, Any]:
    """What a whole answer gives to remember, by tool call id."""
    if _CALLS not in answer.body:
        return {}
    messages = [choice["message"] for choice in orjson.loads(answer.body)["choices"]]
    return {
        call_id: entry
        for message in messages
        for call_id, entry in _entries(
            message.get(_FIELD), (call["id"] for call in message.get("tool_calls", ()))
        ).items()
    }


def recall_thought(memory: Mapping[str, Any], calls: Iterable[Mapping[str, Any]]) -> str | None:
    """The text that is known beside one of these calls; another vendor's entries are none."""
    for call in calls:
        entry = memory.get(call["id"])
        if isinstance(entry, dict) and isinstance(entry.get("text"), str) and entry["text"]:
            return str(entry["text"])
    return None


def _entries(text: str | None, call_ids: Iterable[str]) -> dict[str, Any]:
    return {call_id: {"text": text} for call_id in call_ids} if text else {}


class ThoughtfulStreamTranslator(ChatStreamTranslator):
    """The same stream, whose thoughts are kept on the way. Only chunks with thoughts or calls cost more."""

    __slots__ = ("_calls", "_room", "_thoughts")

    def __init__(self, *, completion_id: str, created: int, include_usage: bool, model_fallback: str) -> None:
        super().__init__(
            completion_id=completion_id,
            created=created,
            include_usage=include_usage,
            model_fallback=model_fallback,
        )
        self._thoughts: dict[int, list[str]] = {}
        self._calls: dict[int, list[str]] = {}
        self._room = MOST_BYTES

    @property
    @override
    def remember(self) -> Mapping[str, Any]:
        if self._room < 0:
            return {}
        return {
            call_id: entry
            for choice, call_ids in self._calls.items()
            for call_id, entry in _entries("".join(self._thoughts.get(choice, ())), call_ids).items()
        }

    @override
    def feed(self, payload: bytes) -> bytes | None:
        event = super().feed(payload)
        if event is not None and (_THINKS in event or _CALLS in event):
            for choice in orjson.loads(event.removeprefix(_EVENT))["choices"]:
                self._note(choice["index"], choice["delta"])
        return event

    def _note(self, choice: int, delta: Mapping[str, Any]) -> None:
        """What is more than memory keeps is not held here either."""
        text = delta.get(_FIELD)
        if text:
            self._room -= utf8_length(text)
            if self._room >= 0:
                self._thoughts.setdefault(choice, []).append(text)
        named = [call["id"] for call in delta.get("tool_calls", ()) if "id" in call]
        self._calls.setdefault(choice, []).extend(named)
