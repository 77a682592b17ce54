"""One choice of a streamed answer: its deltas as clients expect them, and how it ended."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from relay.protocols.openai_chat.content import read_string, read_text, utf8_length
from relay.protocols.openai_chat.finish import read_finish_reason, settle_finish_reason
from relay.protocols.openai_chat.tool_calls import ToolCallStream


class ChoiceStream:
    __slots__ = (
        "_calls",
        "_calls_function",
        "_finish_reason",
        "_output_bytes",
        "has_audio",
        "has_role",
        "index",
    )

    def __init__(self, completion_id: str, index: int) -> None:
        self.index = index
        self.has_role = False
        self.has_audio = False
        self._calls = ToolCallStream(completion_id, index)
        self._calls_function = False
        self._finish_reason: str | None = None
        self._output_bytes = 0

    @property
    def is_finished(self) -> bool:
        return self._finish_reason is not None

    @property
    def finish_reason(self) -> str:
        """Only right when nothing more can come."""
        return settle_finish_reason(
            self._finish_reason,
            calls_tools=self._calls.any_started,
            calls_function=self._calls_function,
        )

    @property
    def output_bytes(self) -> int:
        return self._output_bytes + self._calls.output_bytes

    def note_finish_reason(self, reason: object) -> None:
        """The last one counts; null and an empty string are none."""
        self._finish_reason = read_finish_reason(reason) or self._finish_reason

    def count_text(self, text: str) -> None:
        self._output_bytes += utf8_length(text)

    def count_bytes(self, length: int) -> None:
        self._output_bytes += length

    def translate(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """The delta to send; empty when there is nothing to say."""
        delta: dict[str, Any] = {}
        for name, value in raw.items():
            if value and name in self._READERS:
                self._READERS[name](self, value, delta)
        return self.introduce(delta) if delta or "role" in raw else delta

    def introduce(self, delta: dict[str, Any]) -> dict[str, Any]:
        """The first delta of a choice says who speaks, whether or not the vendor does."""
        if self.has_role:
            return delta
        self.has_role = True
        return {"role": "assistant", "content": None if "tool_calls" in delta else "", **delta}

    def close(self) -> list[dict[str, Any]]:
        """The deltas still owed before the finish reason, the one that goes with it last."""
        calls = self._calls.close()
        owed = [{"tool_calls": calls}] if calls else []
        return [*owed, self.introduce({})]

    def _read_content(self, value: Any, delta: dict[str, Any]) -> None:
        text = read_text(value)
        if text:
            delta["content"] = text
            self.count_text(text)

    def _read_reasoning(self, value: Any, delta: dict[str, Any]) -> None:
        """Two names are in use for it, and some vendors send both."""
        if type(value) is str and "reasoning_content" not in delta:
            delta["reasoning_content"] = value
            self.count_text(value)

    def _read_refusal(self, value: Any, delta: dict[str, Any]) -> None:
        if type(value) is str:
            delta["refusal"] = value
            self.count_text(value)

    def _read_tool_calls(self, value: Any, delta: dict[str, Any]) -> None:
        fragments = self._calls.feed(value) if type(value) is list else None
        if fragments:
            delta["tool_calls"] = fragments

    def _read_function_call(self, value: Any, delta: dict[str, Any]) -> None:
        if type(value) is dict:
            self._calls_function = True
            delta["function_call"] = value
            self.count_text(read_string(value, "arguments") or "")

    def _read_audio(self, value: Any, delta: dict[str, Any]) -> None:
        if type(value) is dict:
            self.has_audio = True
            delta["audio"] = value
            self.count_text(read_string(value, "transcript") or "")

    def _read_annotations(self, value: Any, delta: dict[str, Any]) -> None:
        if type(value) is list:
            delta["annotations"] = value

    # What a vendor puts into a delta beside these stays here.
    _READERS: ClassVar[Mapping[str, Callable[["ChoiceStream", Any, dict[str, Any]], None]]] = {
        "content": _read_content,
        "reasoning_content": _read_reasoning,
        "reasoning": _read_reasoning,
        "refusal": _read_refusal,
        "tool_calls": _read_tool_calls,
        "function_call": _read_function_call,
        "audio": _read_audio,
        "annotations": _read_annotations,
    }
