"""The tool calls of one streamed choice, numbered as clients expect them.

Clients put fragments together by `index` alone. Vendors leave it out, start it anywhere or give every
call the same one, so ours is counted here: 0, 1, 2, … in the order of appearance.
"""

from collections.abc import Mapping
from typing import Any

from relay.protocols.openai_chat.content import (
    make_call_id,
    read_arguments,
    read_string,
    utf8_length,
)

_TEXT_FIELDS = {"function": "arguments", "custom": "input"}
_NOT_STARTED = -1
_NOTHING: dict[str, Any] = {}


class _Call:
    """`index` is ours. A call starts when its name is known; text that comes earlier waits."""

    __slots__ = ("has_text", "index", "kind", "name", "vendor_id", "waiting")

    def __init__(self) -> None:
        self.index = _NOT_STARTED
        self.kind = "function"
        self.name = ""
        self.vendor_id: str | None = None
        self.waiting = ""
        self.has_text = False

    def is_another(self, vendor_id: str | None, name: str | None) -> bool:
        """Whether a fragment with our vendor's index begins a different call.

        A new id alone proves nothing: some vendors invent one for every fragment.
        """
        if not name or self.index == _NOT_STARTED:
            return False
        return name != self.name or bool(vendor_id and vendor_id != self.vendor_id)


class ToolCallStream:
    """Takes a vendor's fragments, gives ours; id, type and name go out with the first one only."""

    __slots__ = ("_by_vendor_index", "_choice", "_completion_id", "_latest", "_started", "output_bytes")

    def __init__(self, completion_id: str, choice: int) -> None:
        self._completion_id = completion_id
        self._choice = choice
        self._by_vendor_index: dict[int, _Call] = {}
        self._started: list[_Call] = []
        self._latest: _Call | None = None
        self.output_bytes = 0

    @property
    def any_started(self) -> bool:
        return bool(self._started)

    def feed(self, fragments: list[Any]) -> list[dict[str, Any]]:
        ours = []
        for raw in fragments:
            fragment = self._translate(raw) if type(raw) is dict else None
            if fragment is not None:
                ours.append(fragment)
        return ours

    def close(self) -> list[dict[str, Any]]:
        """What is missing at the end: a call without arguments has `{}`, so that they are JSON."""
        return [
            {"index": call.index, "function": {"arguments": "{}"}}
            for call in self._started
            if call.kind == "function" and not call.has_text
        ]

    def _translate(self, raw: dict[str, Any]) -> dict[str, Any] | None:
        kind = "custom" if raw.get("custom") else "function"
        called = raw.get(kind)
        if type(called) is not dict:
            called = _NOTHING
        name = read_string(called, "name")
        text = read_arguments(called.get(_TEXT_FIELDS[kind]))
        call = self._find(raw, name)
        if call.index == _NOT_STARTED:
            call.waiting += text
            return self._start(call, kind, name) if name else None
        return self._continue(call, text) if text else None

    def _continue(self, call: _Call, text: str) -> dict[str, Any]:
        call.has_text = True
        self.output_bytes += utf8_length(text)
        return {"index": call.index, call.kind: {_TEXT_FIELDS[call.kind]: text}}

    def _start(self, call: _Call, kind: str, name: str) -> dict[str, Any]:
        call.index, call.kind, call.name = len(self._started), kind, name
        self._started.append(call)
        text, call.waiting = call.waiting, ""
        call.has_text = bool(text)
        self.output_bytes += utf8_length(name) + utf8_length(text)
        return {
            "index": call.index,
            "id": call.vendor_id or make_call_id(self._completion_id, self._choice, call.index),
            "type": kind,
            kind: {"name": name, _TEXT_FIELDS[kind]: text},
        }

    def _find(self, raw: Mapping[str, Any], name: str | None) -> _Call:
        """The call a fragment belongs to; a new one if none fits."""
        vendor_index = raw.get("index")
        if type(vendor_index) is not int:
            return self._find_without_index(read_string(raw, "id"), name)
        call = self._by_vendor_index.get(vendor_index)
        if call is not None and not name:
            return call
        vendor_id = read_string(raw, "id")
        if call is None or call.is_another(vendor_id, name):
            call = self._by_vendor_index[vendor_index] = _Call()
        return self._meet(call, vendor_id)

    def _find_without_index(self, vendor_id: str | None, name: str | None) -> _Call:
        for call in self._started:
            if vendor_id and call.vendor_id == vendor_id:
                return call
        latest = self._latest
        if latest is None or (name and latest.index != _NOT_STARTED):
            latest = _Call()
        return self._meet(latest, vendor_id)

    def _meet(self, call: _Call, vendor_id: str | None) -> _Call:
        call.vendor_id = call.vendor_id or vendor_id
        self._latest = call
        return call
