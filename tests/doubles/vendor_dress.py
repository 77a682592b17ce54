"""The double's OpenAI answers, dressed as another vendor's."""

from collections.abc import Mapping
from typing import Any

import orjson

from tests.doubles.vendor_chat import Stream, tool_call
from tests.doubles.vendor_profile import Json, Profile
from tests.doubles.vendor_script import Script

COMMENT_EVERY = 3  # events


def thought_pieces(script: Script) -> list[str]:
    """One word for each piece of thought the directive asks for."""
    return [f"t{number} " for number in range(script.directive.reasoning)]


def dress_answer(profile: Profile, script: Script, answer: Json) -> bytes:
    """A plain answer's body."""
    thought = "".join(thought_pieces(script))
    choices = [
        {
            **choice,
            "message": profile.message(choice["message"], thought if profile.reasoning_delta else ""),
            "finish_reason": _finish_reason(profile, choice),
        }
        for choice in answer["choices"]
    ]
    dressed = profile.whole({**answer, "choices": choices})
    if "usage" in dressed:
        dressed["usage"] = _usage(profile, script)
    return profile.leading + orjson.dumps(dressed)


class DressedStream(Stream):
    """The same events, each made into the vendor's."""

    def __init__(self, profile: Profile, script: Script, answer_id: str, created: int) -> None:
        super().__init__(script, answer_id, created)
        self._profile = profile
        self.opening = [
            *([_event(profile.first_chunk)] if profile.first_chunk else []),
            *self._dress_all(self.opening),
            *self._thoughts(),
        ]
        if profile.whole_tool_calls and script.directive.tool_calls:
            self.content = [self._whole_call(number) for number in range(len(script.directive.tool_calls))]
        self.content = self._dress_all(self.content)
        self.closing = self._dress_closing()
        told = [] if profile.usage_in_last_chunk else self.usage
        self.usage = [self._dress_usage(event) for event in told]
        if profile.comment:
            self.opening[0] = profile.comment + self.opening[0]
            self.content = [
                event if number % COMMENT_EVERY else profile.comment + event
                for number, event in enumerate(self.content)
            ]

    @property
    def tells_usage(self) -> bool:
        in_last = self._profile.usage_in_last_chunk and not self.script.directive.no_usage
        return in_last or super().tells_usage

    def _dress_all(self, events: list[bytes]) -> list[bytes]:
        return [_event(self._dress(_chunk_of(event))) for event in events]

    def _dress(self, chunk: Json) -> Json:
        profile = self._profile
        choices = []
        for choice in chunk["choices"]:
            delta = choice["delta"]
            if "tool_calls" in delta:
                delta = {**delta, "tool_calls": [profile.tool_fragment(call) for call in delta["tool_calls"]]}
            reason = _finish_reason(profile, choice)
            choices.append({**choice, "delta": delta, "finish_reason": reason})
        if chunk.get("usage"):
            chunk = {**chunk, "usage": profile.usage(chunk["usage"])}
        return profile.chunk({**chunk, "choices": choices})

    def _thoughts(self) -> list[bytes]:
        make_delta = self._profile.reasoning_delta
        if make_delta is None:
            return []
        events = []
        for text in thought_pieces(self.script):
            chunk = _chunk_of(self._chunk(b"{}", 0))
            chunk["choices"][0]["delta"] = make_delta(text)
            events.append(_event(self._profile.chunk(chunk)))
        return events

    def _whole_call(self, number: int) -> bytes:
        call = tool_call(number, self.script.directive.tool_calls[number])
        return self._chunk(orjson.dumps({"tool_calls": [{"index": number, **call}]}), 0)

    def _dress_closing(self) -> list[bytes]:
        profile = self._profile
        chunks = [self._dress(_chunk_of(event)) for event in self.closing]
        if profile.usage_in_last_chunk and not self.script.directive.no_usage:
            chunks[-1]["usage"] = _usage(profile, self.script)
        return [_event(chunk) for chunk in (*chunks, *([profile.last_chunk] if profile.last_chunk else []))]

    def _dress_usage(self, event: bytes) -> bytes:
        chunk = self._profile.chunk(_chunk_of(event))
        choices = list(self._profile.usage_choices)
        return _event({**chunk, "choices": choices, "usage": _usage(self._profile, self.script)})

    def _error_event(self) -> bytes:
        if self.script.directive.error is not None:
            return super()._error_event()
        chunk = self._profile.chunk(_chunk_of(self._chunk(b"{}", 0)))
        return _event(self._profile.stream_error(chunk, "The double failed."))


def _usage(profile: Profile, script: Script) -> Json:
    return {**profile.usage(script.counts()), **(script.directive.usage or {})}


def _finish_reason(profile: Profile, choice: Mapping[str, Any]) -> str | None:
    reason: str | None = choice["finish_reason"]
    return None if reason is None else profile.finish_reasons.get(reason, reason)


def _chunk_of(event: bytes) -> Json:
    chunk: Json = orjson.loads(event.removeprefix(b"data: "))
    return chunk


def _event(chunk: Json) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(chunk)
