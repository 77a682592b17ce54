"""A stream put together to the whole answer a customer asked for.

Long answers are streamed from the vendor whoever asked: a connection on which nothing happens for ten
minutes does not survive.
"""

from collections.abc import Mapping
from typing import Any

from relay.contracts import AnswerFrame, ChatAnswer
from relay.errors import UpstreamFailed
from relay.vendors.anthropic.response import translate_message
from relay.vendors.anthropic.stream import read_event, read_type
from relay.vendors.anthropic.usage import merge_usage
from relay.vendors.shared.exact_json import UNREADABLE

# What a delta adds to which field of its block.
_TEXTS: Mapping[str, tuple[str, str]] = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "signature_delta": ("signature", "signature"),
    "input_json_delta": ("partial_json", "partial_json"),
}


class AnswerCollector:
    """Feed it every `data` payload; once `done`, `answer` is there."""

    __slots__ = ("_blocks", "_frame", "_latest", "_message", "_usage", "done")

    def __init__(self, frame: AnswerFrame) -> None:
        self.done = False
        self._frame = frame
        self._message: dict[str, Any] | None = None
        self._blocks: dict[int, dict[str, Any]] = {}
        self._latest = 0
        self._usage: dict[str, Any] = {}

    def feed(self, payload: bytes) -> None:
        """Raises RelayError."""
        event = None if self.done else read_event(payload)
        if event is None:
            return
        kind = event.get("type")
        if kind == "message_start" and self._message is None and isinstance(event.get("message"), dict):
            self._message = dict(event["message"])
            merge_usage(self._usage, self._message.get("usage"))
        elif kind in ("content_block_start", "content_block_delta"):
            self._take(event)
        elif kind == "message_delta":
            self._note_end(event)
        self.done = kind == "message_stop"

    def answer(self) -> ChatAnswer:
        """Raises UpstreamFailed when the stream ended too early."""
        if self._message is None:
            raise UpstreamFailed(UNREADABLE)
        if not self.done:
            raise UpstreamFailed("The model's vendor broke the answer off.")
        blocks = [self._blocks[index] for index in sorted(self._blocks)]
        inputs = {
            index: "".join(block["partial_json"])
            for index, block in enumerate(blocks)
            if any(block.get("partial_json", ()))
        }
        content = [{name: _joined(value) for name, value in block.items()} for block in blocks]
        return translate_message(
            {**self._message, "content": content, "usage": self._usage}, inputs, self._frame
        )

    def _take(self, event: Mapping[str, Any]) -> None:
        index = event.get("index")
        index = index if type(index) is int else self._latest
        block, delta = event.get("content_block"), event.get("delta")
        if isinstance(block, dict):
            self._latest = index
            self._blocks[index] = dict(block)
        elif isinstance(delta, dict):
            self._add(self._blocks.setdefault(index, {"type": "text"}), delta)

    def _add(self, block: dict[str, Any], delta: Mapping[str, Any]) -> None:
        if delta.get("type") == "citations_delta":
            cited = block.get("citations")
            block["citations"] = [*(cited if isinstance(cited, list) else ()), delta.get("citation")]
            return
        source, target = _TEXTS.get(read_type(delta), ("", ""))
        text = delta.get(source)
        if not isinstance(text, str):
            return
        pieces = block.get(target)
        if not isinstance(pieces, _Pieces):
            block[target] = pieces = _Pieces([pieces] if isinstance(pieces, str) else [])
        pieces.append(text)

    def _note_end(self, event: Mapping[str, Any]) -> None:
        merge_usage(self._usage, event.get("usage"))
        delta = event.get("delta")
        if isinstance(delta, dict) and self._message is not None:
            self._message.update((name, value) for name, value in delta.items() if value is not None)


class _Pieces(list[str]):
    """Text that is still growing; joined once, at the end."""


def _joined(value: Any) -> Any:
    return "".join(value) if isinstance(value, _Pieces) else value
