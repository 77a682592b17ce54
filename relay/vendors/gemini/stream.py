"""Gemini's stream, made into OpenAI's chunks.

The vendor has no event for the end: a stream is whole when every candidate said why it ended, or when the
prompt was blocked. Finish reasons wait for `closing`, since calls and usage may come after them.
"""

from dataclasses import replace
from typing import Any

import orjson

from billing.contracts import TokenUsage
from relay.contracts import AnswerFrame, ReportedUsage
from relay.endings import BYTES_PER_TOKEN
from relay.errors import RelayError, UpstreamFailed
from relay.protocols.openai_chat.writer import ChunkWriter
from relay.vendors.gemini.answers import AnswerReader
from relay.vendors.gemini.array import JsonArraySplitter
from relay.vendors.gemini.usage import read_service_tier
from relay.vendors.shared.exact_json import UNREADABLE


def read_objects(payload: bytes) -> list[tuple[dict[str, Any], bytes]]:
    """The objects of one payload, each with its own bytes: several where the vendor wrote an array.

    Raises UpstreamFailed for what is neither.
    """
    try:
        parsed = orjson.loads(payload)
    except orjson.JSONDecodeError:
        if not payload.strip():
            return []
        raise UpstreamFailed(UNREADABLE) from None
    if type(parsed) is dict:
        return [(parsed, payload)]
    if type(parsed) is not list or not all(type(each) is dict for each in parsed):
        raise UpstreamFailed(UNREADABLE)
    return list(zip(parsed, JsonArraySplitter(limit=len(payload)).feed(payload), strict=True))


class GeminiStreamTranslator:
    """Feed it every `data` payload, then send `closing` or an error event.

    `done`: nothing more can come. `remember` is for the next turn, by tool call id.
    """

    __slots__ = ("_failure", "_reader", "_writer", "done")

    def __init__(self, frame: AnswerFrame, *, include_usage: bool) -> None:
        self.done = False
        self._reader = AnswerReader(frame)
        self._writer = ChunkWriter(frame, include_usage=include_usage)
        self._failure: RelayError | None = None

    @property
    def upstream_model(self) -> str:
        return self._writer.model

    @property
    def finished(self) -> bool:
        """A reason was given why each candidate ends here."""
        return self._writer.finished

    @property
    def complete(self) -> bool:
        """The vendor left no doubt that the answer is whole: only then may `closing` be sent."""
        return self.finished and self._failure is None

    @property
    def finish_reasons(self) -> tuple[str, ...]:
        return self._writer.finish_reasons

    @property
    def output_bytes(self) -> int:
        """UTF-8 bytes of text, reasoning and tool calls, also of text that is held back."""
        return self._writer.output_bytes + self._reader.held_bytes

    @property
    def has_output(self) -> bool:
        return self.output_bytes > 0

    @property
    def remember(self) -> dict[str, Any]:
        return self._reader.remember

    @property
    def reported_usage(self) -> ReportedUsage | None:
        """Until the end, reports may run behind the text, which they must not undercut."""
        report = self._reader.report()
        if report is None or self.finished:
            return report
        missing = -(-self.output_bytes // BYTES_PER_TOKEN) - report.usage.completion_tokens
        if missing <= 0:
            return report
        usage = replace(report.usage, output_tokens=report.usage.output_tokens + missing)
        return ReportedUsage(usage, clamped=report.clamped)

    @property
    def service_tier(self) -> str:
        return read_service_tier(self._reader.usage)

    @property
    def usage(self) -> TokenUsage | None:
        report = self.reported_usage
        return None if report is None else report.usage

    def feed(self, payload: bytes) -> bytes | None:
        """What to send for one `data` payload. Raises RelayError."""
        if self._failure is not None:
            raise self._failure
        if self.done:
            return None
        out: list[bytes] = []
        for raw, written in read_objects(payload):
            try:
                self._take(raw, written, out)
            except RelayError as failure:
                if not out:
                    raise
                self._failure = failure  # what came before it is delivered: it will be charged
                break
        return b"".join(out) or None

    def closing(self, usage_for_client: TokenUsage) -> bytes:
        """The end of a whole answer; `usage_for_client` is what was charged."""
        return self._writer.closing(usage_for_client)

    def _take(self, raw: dict[str, Any], payload: bytes, out: list[bytes]) -> None:
        writer = self._writer
        events = self._reader.take(raw, payload)
        if not writer.output_bytes:
            writer.model = self._reader.model
        out += [writer.write(event) for event in events]
        self.done = self._reader.is_blocked
