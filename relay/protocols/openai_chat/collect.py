"""A stream put together to the whole answer that a customer asked for.

Some models answer in streams only, so the stream's translation is collected, chunk by chunk.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import orjson

from billing.contracts import TokenUsage
from relay.contracts import ChatAnswer, ReportedUsage
from relay.errors import UpstreamFailed
from relay.protocols.openai_chat.usage import usage_to_openai

_EVENT = b"data: "
_TEXTS = ("content", "refusal", "reasoning_content")


class _Translator(Protocol):
    done: bool

    @property
    def complete(self) -> bool: ...
    @property
    def finish_reasons(self) -> tuple[str, ...]: ...
    @property
    def output_bytes(self) -> int: ...
    @property
    def reported_usage(self) -> ReportedUsage | None: ...
    @property
    def upstream_model(self) -> str: ...
    @property
    def service_tier(self) -> str: ...
    @property
    def remember(self) -> Mapping[str, Any]: ...
    def feed(self, payload: bytes) -> bytes | None: ...
    def closing(self, usage_for_client: TokenUsage) -> bytes: ...


class ChunkCollector:
    """Feed it every `data` payload of the vendor; once `done`, or at the stream's end, `answer` is there."""

    __slots__ = ("_choices", "_head", "_translator")

    def __init__(self, translator: _Translator) -> None:
        self._translator = translator
        self._head: dict[str, Any] = {}
        self._choices: dict[int, _Choice] = {}

    @property
    def done(self) -> bool:
        return self._translator.done

    def feed(self, payload: bytes) -> None:
        """Raises RelayError."""
        self._take(self._translator.feed(payload) or b"")

    def answer(self) -> ChatAnswer:
        """Raises UpstreamFailed when the stream ended too early."""
        translator = self._translator
        if not translator.complete:
            raise UpstreamFailed("The model's vendor broke the answer off.")
        self._take(translator.closing(TokenUsage()))
        report = translator.reported_usage
        choices = [self._choices[index].whole() for index in sorted(self._choices)]
        body = {**self._head, "object": "chat.completion", "choices": choices}
        if report is not None:
            body["usage"] = usage_to_openai(report.usage)
        return ChatAnswer(
            body=orjson.dumps(body),
            usage=None if report is None else report.usage,
            upstream_model=translator.upstream_model,
            finish_reasons=translator.finish_reasons,
            has_output=translator.output_bytes > 0,
            output_bytes=translator.output_bytes,
            usage_clamped=report is not None and report.clamped,
            service_tier=translator.service_tier,
            remember=translator.remember,
        )

    def _take(self, events: bytes) -> None:
        for line in events.splitlines():
            if line.startswith(_EVENT + b"{"):
                chunk = orjson.loads(line.removeprefix(_EVENT))
                choices = chunk.pop("choices")
                chunk.pop("usage", None)
                self._head = self._head or chunk
                for choice in choices:
                    self._choices.setdefault(choice["index"], _Choice(choice["index"])).take(choice)


class _Choice:
    """What the deltas of one choice have said so far."""

    __slots__ = ("_calls", "_finish_reason", "_index", "_logprobs", "_others", "_texts")

    def __init__(self, index: int) -> None:
        self._index = index
        self._texts: dict[str, list[str]] = {name: [] for name in _TEXTS}
        self._calls: list[dict[str, Any]] = []
        self._others: dict[str, Any] = {}
        self._logprobs: dict[str, list[Any]] = {}
        self._finish_reason: str | None = None

    def take(self, choice: Mapping[str, Any]) -> None:
        self._finish_reason = choice["finish_reason"] or self._finish_reason
        for name, value in (choice.get("logprobs") or {}).items():
            self._logprobs.setdefault(name, []).extend(value or ())
        for name, value in choice["delta"].items():
            if name in self._texts:
                self._texts[name] += [value] if value else []
            elif name == "tool_calls":
                self._take_calls(value)
            elif name != "role":
                self._others[name] = _joined(self._others.get(name), value)

    def _take_calls(self, fragments: list[dict[str, Any]]) -> None:
        for fragment in fragments:
            known = {name: value for name, value in fragment.items() if name != "index"}
            if fragment["index"] == len(self._calls):
                self._calls.append(known)
            else:
                call = self._calls[fragment["index"]]
                self._calls[fragment["index"]] = _joined(call, known)

    def whole(self) -> dict[str, Any]:
        content, refusal, reasoning = ("".join(pieces) or None for pieces in self._texts.values())
        message = {"role": "assistant", "content": content, "refusal": refusal, **self._others}
        if content is None and refusal is None and not self._calls and "function_call" not in message:
            message["content"] = ""
        if reasoning is not None:
            message["reasoning_content"] = reasoning
        if self._calls:
            message["tool_calls"] = self._calls
        return {
            "index": self._index,
            "message": message,
            "logprobs": self._logprobs or None,
            "finish_reason": self._finish_reason,
        }


def _joined(known: Any, more: Any) -> Any:
    """Texts grow, lists grow, objects take each other in; anything else is said anew."""
    if isinstance(known, dict) and isinstance(more, dict):
        return {**known, **{name: _joined(known.get(name), value) for name, value in more.items()}}
    if type(known) is type(more) and isinstance(known, str | list):
        return known + more
    return more
