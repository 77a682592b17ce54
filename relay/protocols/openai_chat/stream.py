"""A vendor's stream, made into ours, chunk by chunk.

What stays true for every client: one `id`, `created` and `model`; a role once per choice; tool calls
numbered densely; one finish reason per choice and nothing after it; usage only where it was asked for.

Text goes on at once. Finish reasons wait for `closing`: vendors go on talking after theirs, and no answer
may look complete before its charge is committed.
"""

import re
from collections.abc import Mapping
from typing import Any

import orjson

from billing.contracts import TokenUsage
from relay.contracts import ReportedUsage
from relay.errors import RelayError, UpstreamFailed, envelope
from relay.protocols.openai_chat.choice_stream import ChoiceStream
from relay.protocols.openai_chat.content import read_service_tier, read_string, reports_error
from relay.protocols.openai_chat.usage import read_usage, usage_to_openai
from relay.sse import encode

_DONE = b"[DONE]"
_TEXT_NAMES = {
    "content": "content",
    "reasoning_content": "reasoning_content",
    "reasoning": "reasoning_content",
}
_NOT_IN_PLAIN_TEXT = ("index", "finish_reason", "error", "usage")
# Between the quotes of a JSON string exactly what it says: no escape, no end, no other encoding.
_PLAIN_TEXT = re.compile(rb"[ !#-\[\]-~]+")
_BEFORE_TEXT = re.compile(rb'"delta": ?\{"(?:content|reasoning_content|reasoning)": ?$')
_UNREADABLE = "The model's vendor sent a part of the answer that cannot be read."
_BROKEN_OFF = "The model's vendor broke off this answer with an error."


class VendorStreamError(UpstreamFailed):
    """The vendor reported an error inside its stream. What it said about it is not repeated."""

    def __init__(self) -> None:
        super().__init__(_BROKEN_OFF)


def error_event(error: RelayError) -> bytes:
    """The last event of a stream that failed; neither a finish reason nor `[DONE]` may follow."""
    return encode(orjson.dumps(envelope(error)))


class ChatStreamTranslator:
    """Feed it every payload, then send `closing` or an `error_event`.

    `done`: the vendor said `[DONE]`. `upstream_model` is settled by the first chunk with a choice.
    """

    __slots__ = (
        "_choices",
        "_completion_id",
        "_created",
        "_extras",
        "_frame",
        "_framed",
        "_head",
        "_include_usage",
        "_tail",
        "_text_heads",
        "_text_tail",
        "_usage",
        "done",
        "upstream_model",
    )

    def __init__(self, *, completion_id: str, created: int, include_usage: bool, model_fallback: str) -> None:
        self.done = False
        self.upstream_model = model_fallback
        self._completion_id = completion_id
        self._created = created
        self._include_usage = include_usage
        self._extras: dict[str, str | None] = {"system_fingerprint": None}
        self._choices: dict[int, ChoiceStream] = {}
        self._usage: dict[str, Any] | None = None
        self._head = b""  # empty until the first choice: then id, model and the like are settled
        self._tail = b',"usage":null}\n\n' if include_usage else b"}\n\n"
        self._text_heads: dict[str, bytes] = {}
        self._frame = (b"", b"")  # around the text of the last usual chunk of the vendor
        self._framed = b""
        self._text_tail = b'},"logprobs":null,"finish_reason":null}]' + self._tail

    @property
    def finished(self) -> bool:
        """Every choice got a finish reason."""
        return bool(self._choices) and all(c.is_finished for c in self._choices.values())

    @property
    def complete(self) -> bool:
        """The vendor left no doubt that the answer is whole: only then may `closing` be sent."""
        return self.finished or (self.done and bool(self._choices))

    @property
    def finish_reasons(self) -> tuple[str, ...]:
        return tuple(choice.finish_reason for choice in self._ordered())

    @property
    def output_bytes(self) -> int:
        """UTF-8 bytes of text, reasoning and tool calls, to estimate from without a report."""
        return sum(choice.output_bytes for choice in self._choices.values())

    @property
    def has_output(self) -> bool:
        return self.output_bytes > 0 or any(c.has_audio for c in self._choices.values())

    @property
    def reported_usage(self) -> ReportedUsage | None:
        return read_usage(self._usage)

    @property
    def remember(self) -> Mapping[str, Any]:
        """Nothing: what this protocol knows, its clients send back."""
        return {}

    @property
    def service_tier(self) -> str:
        """As the vendor named it; empty if it did not."""
        return self._extras.get("service_tier") or ""

    @property
    def usage(self) -> TokenUsage | None:
        """What the vendor reported last; None if it did not."""
        report = self.reported_usage
        return None if report is None else report.usage

    def feed(self, payload: bytes) -> bytes | None:
        """What to send for one `data` payload. Raises VendorStreamError and UpstreamFailed."""
        opening, ending = self._frame
        if opening and payload.startswith(opening) and payload.endswith(ending):
            text = payload[len(opening) : -len(ending)]
            if _PLAIN_TEXT.fullmatch(text):
                self._choices[0].count_bytes(len(text))
                return self._framed + text + b'"' + self._text_tail
        return self._feed_parsed(payload)

    def _feed_parsed(self, payload: bytes) -> bytes | None:
        chunk = self._read(payload)
        if chunk is None:
            return None
        usage = chunk.get("usage")
        if usage:
            self._note_usage(usage)
        if reports_error(chunk):
            raise VendorStreamError
        if not self._head:
            self._note_origin(chunk)
        choices = chunk.get("choices")
        if not choices:
            return None
        if not isinstance(choices, list):
            raise UpstreamFailed(_UNREADABLE)
        return self._translate_text(choices, payload) or self._translate(choices)

    def closing(self, usage_for_client: TokenUsage) -> bytes:
        """The end of a whole answer; `usage_for_client` is what was charged."""
        if not self._head:
            self._settle_origin()
        events = [
            self._write([described]) for choice in self._ordered() for described in _describe_end(choice)
        ]
        if self._include_usage:
            usage = orjson.dumps(usage_to_openai(usage_for_client))
            events.append(self._head + b'[],"usage":' + usage + b"}\n\n")
        return b"".join([*events, encode(_DONE)])

    def _read(self, payload: bytes) -> dict[str, Any] | None:
        """None for what says nothing: the end mark, and anything behind it."""
        if self.done:
            return None
        try:
            chunk = orjson.loads(payload)
        except orjson.JSONDecodeError:
            mark = payload.strip()
            self.done = mark.startswith(_DONE)
            if self.done:
                self._frame = (b"", b"")
            if self.done or not mark:
                return None
            raise UpstreamFailed(_UNREADABLE) from None
        if not isinstance(chunk, dict):
            raise UpstreamFailed(_UNREADABLE)
        return chunk

    def _note_usage(self, usage: Any) -> None:
        """The last report counts, but not one that only adds to an earlier one (costs, ids)."""
        if isinstance(usage, dict) and (self._usage is None or "prompt_tokens" in usage):
            self._usage = usage

    def _note_origin(self, chunk: dict[str, Any]) -> None:
        """Azure's first chunk has neither choices nor a model, later ones have both."""
        self.upstream_model = read_string(chunk, "model") or self.upstream_model
        fingerprint = read_string(chunk, "system_fingerprint")
        if fingerprint:
            self._extras["system_fingerprint"] = fingerprint
        self._extras.update(read_service_tier(chunk))
        if chunk.get("choices"):
            self._settle_origin()

    def _settle_origin(self) -> None:
        common = {
            "id": self._completion_id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self.upstream_model,
            **self._extras,
        }
        self._head = b"data: " + orjson.dumps(common)[:-1] + b',"choices":'
        for name in ("content", "reasoning_content"):
            opening = b'[{"index":0,"delta":{"%b":' % name.encode()
            self._text_heads[name] = self._head + opening

    def _learn_frame(self, payload: bytes, name: str, written: bytes) -> None:
        """Remember what stands around the text of a usual chunk.

        The next chunk with the same frame differs in its text only: between the quotes nothing can open or
        close anything as long as it holds neither quote nor backslash, so it need not be parsed.
        """
        opening, found, ending = payload.partition(written)
        if found and written not in ending and _BEFORE_TEXT.search(opening):
            self._frame = opening + b'"', b'"' + ending
            self._framed = self._text_heads[name] + b'"'

    def _translate_text(self, choices: list[Any], payload: bytes) -> bytes | None:
        """The usual chunk, more text for the only choice, without taking it apart and together.

        None if there is anything else in it.
        """
        choice = choices[0]
        state = self._choices.get(0)
        if len(choices) != 1 or state is None or not state.has_role or type(choice) is not dict:
            return None
        if any(map(choice.get, _NOT_IN_PLAIN_TEXT)) or choice.get("logprobs") is not None:
            return None
        said = _only_text(choice.get("delta"))
        if said is None:
            return None
        name, text = said
        state.count_text(text)
        written = orjson.dumps(text)
        if not self._frame[0] or not payload.startswith(self._frame[0]):
            self._learn_frame(payload, name, written)
        return self._text_heads[name] + written + self._text_tail

    def _translate(self, choices: list[Any]) -> bytes | None:
        described = [self._translate_choice(choice, at) for at, choice in enumerate(choices)]
        spoken = [choice for choice in described if choice is not None]
        return self._write(spoken) if spoken else None

    def _translate_choice(self, raw: Any, position: int) -> dict[str, Any] | None:
        if not isinstance(raw, dict):
            raise UpstreamFailed(_UNREADABLE)
        if raw.get("finish_reason") == "error" or raw.get("error"):
            raise VendorStreamError
        choice = self._choice_of(raw.get("index"), position)
        choice.note_finish_reason(raw.get("finish_reason"))
        if raw.get("usage"):  # Moonshot
            self._note_usage(raw["usage"])
        delta = raw.get("delta")
        delta = choice.translate(delta) if isinstance(delta, dict) else {}
        logprobs = raw.get("logprobs")
        if not delta and logprobs is None:
            return None
        return _describe(choice, choice.introduce(delta), logprobs=logprobs)

    def _choice_of(self, index: object, position: int) -> ChoiceStream:
        known = index if isinstance(index, int) else position
        choice = self._choices.get(known)
        if choice is None:
            choice = self._choices[known] = ChoiceStream(self._completion_id, known)
        return choice

    def _ordered(self) -> list[ChoiceStream]:
        return [self._choices[index] for index in sorted(self._choices)]

    def _write(self, choices: list[dict[str, Any]]) -> bytes:
        try:
            return self._head + orjson.dumps(choices) + self._tail
        except orjson.JSONEncodeError:  # nested deeper than can be written
            raise UpstreamFailed(_UNREADABLE) from None


def _only_text(delta: Any) -> tuple[str, str] | None:
    """The one text that a delta holds, if nothing else is in it; roles are sent once, nulls never."""
    if type(delta) is not dict:
        return None
    spoken = [name for name in delta if delta[name] and name != "role"]
    if len(spoken) != 1:
        return None
    name, text = _TEXT_NAMES.get(spoken[0]), delta[spoken[0]]
    return (name, text) if name is not None and type(text) is str else None


def _describe(
    choice: ChoiceStream,
    delta: dict[str, Any],
    *,
    logprobs: Any = None,
    finish_reason: str | None = None,
) -> dict[str, Any]:
    return {
        "index": choice.index,
        "delta": delta,
        "logprobs": logprobs,
        "finish_reason": finish_reason,
    }


def _describe_end(choice: ChoiceStream) -> list[dict[str, Any]]:
    *owed, last = choice.close()
    ending = _describe(choice, last, finish_reason=choice.finish_reason)
    return [*(_describe(choice, delta) for delta in owed), ending]
