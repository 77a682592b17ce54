"""A customer's messages as a vendor of OpenAI's shape takes them.

Clients send back whole messages of earlier answers, with what other vendors put into them, and strict
vendors refuse what they do not know. Messages that need no change are handed on as they are.
"""

from collections.abc import Mapping
from typing import Any

from relay.vendors.openai_shaped.dialects import Dialect
from relay.vendors.openai_shaped.thoughts import recall_thought

Message = dict[str, Any]

_KNOWN = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "function_call", "audio"})
_PART_FIELDS = frozenset({"type", "text", "image_url", "input_audio", "file", "refusal"})
_CALL_FIELDS = frozenset({"id", "type", "function", "custom"})
_BREAKPOINTS = frozenset({"cache_control", "prompt_cache_breakpoint"})
_LOST_THOUGHT = " "  # what a vendor accepts in the place of thoughts that nobody kept
_MAY_BE_NULL = "content"
_UNDERSTOOD = frozenset({"user", "assistant", "system"})
_UNDERSTOOD_AT_OPENAI = _UNDERSTOOD | {"developer"}


class MessageReader:
    """`wants_thoughts`: the model is about to think, and earlier thoughts belong beside their tool calls.

    Where the client did not keep them, they come from `memory`.
    """

    __slots__ = ("_dialect", "_memory", "_wants_thoughts", "dropped_names")

    def __init__(self, dialect: Dialect, *, wants_thoughts: bool, memory: Mapping[str, Any]) -> None:
        self._dialect = dialect
        self._memory = memory
        self._wants_thoughts = wants_thoughts
        self.dropped_names = False

    def read(self, messages: list[Message]) -> list[Message]:
        """Nearly every message is a role and a text, and goes on as it is."""
        understood = _UNDERSTOOD_AT_OPENAI if self._dialect.developer_role else _UNDERSTOOD
        return [
            message
            if len(message) == 2 and message["role"] in understood and type(message.get("content")) is str
            else self._read(message)
            for message in messages
        ]

    def _read(self, message: Message) -> Message:
        known = {
            name: value
            for name, value in message.items()
            if self._is_known(name) and (value is not None or name == _MAY_BE_NULL)
        }
        if "content" in known:
            known["content"] = self._content(known["content"])
        self._fit_role(known)
        if message["role"] == "assistant":
            self._fit_assistant(known, message)
        return known

    def _is_known(self, name: str) -> bool:
        if name == "refusal":
            return self._dialect.refusals
        return name in _KNOWN or (name == "reasoning_content" and self._wants_thoughts)

    def _fit_role(self, known: Message) -> None:
        if known["role"] == "developer" and not self._dialect.developer_role:
            known["role"] = "system"
        if self._dialect.speaker_names == "users" and known["role"] != "user" and "name" in known:
            del known["name"]
            self.dropped_names = True

    def _fit_assistant(self, known: Message, message: Message) -> None:
        calls = known.pop("tool_calls", None)
        if calls:
            known["tool_calls"] = [_clean_call(call) for call in calls]
            if self._wants_thoughts and not known.get("reasoning_content"):
                known["reasoning_content"] = recall_thought(self._memory, calls) or _LOST_THOUGHT
        if message.get("refusal") and not self._dialect.refusals and not known.get("content"):
            known["content"] = message["refusal"]

    def _content(self, content: Any) -> Any:
        if type(content) is not list:
            return content
        if not self._dialect.text_in_parts and all(_text_of(part) is not None for part in content):
            return "\n".join(_text_of(part) or "" for part in content)
        return [self._part(part) for part in content]

    def _part(self, part: Mapping[str, Any]) -> Mapping[str, Any]:
        if part["type"] == "refusal" and not self._dialect.refusals:
            return {"type": "text", "text": part["refusal"]}
        fields = _PART_FIELDS | _BREAKPOINTS if self._dialect.cache_control else _PART_FIELDS
        if part.keys() <= fields:
            return part
        return {name: value for name, value in part.items() if name in fields}


def _text_of(part: Mapping[str, Any]) -> str | None:
    text: str | None = part.get(part["type"]) if part["type"] in {"text", "refusal"} else None
    return text


def _clean_call(call: Mapping[str, Any]) -> Mapping[str, Any]:
    if call.keys() <= _CALL_FIELDS and "type" in call:
        return call
    return {"type": "function", **{name: value for name, value in call.items() if name in _CALL_FIELDS}}


def with_instruction(messages: list[Message], text: str) -> list[Message]:
    """One more instruction behind the system messages that come first."""
    place = 0
    while place < len(messages) and messages[place]["role"] in {"system", "developer"}:
        place += 1
    return [*messages[:place], {"role": "system", "content": text}, *messages[place:]]
