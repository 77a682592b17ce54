"""The vendor's other way to stream: one JSON array that grows, for callers who did not ask for events."""

import re

from relay.sse import DEFAULT_LIMIT, SSEOverflow

_STRUCTURE = re.compile(rb'[{}"\\]')
_SKIPPED = b" \t\r\n,[]"


class JsonArraySplitter:
    """Turns reads of any size into the objects of an array, with the same face as `SSESplitter`."""

    __slots__ = ("_depth", "_held", "_in_string", "_limit", "_searched")

    def __init__(self, *, limit: int = DEFAULT_LIMIT) -> None:
        self._limit = limit
        self._held = bytearray()
        self._searched = 0  # bytes of `_held` that were looked through
        self._depth = 0
        self._in_string = False

    @property
    def pending(self) -> bool:
        """Whether bytes are held that no object has come of yet."""
        return bool(self._held)

    def feed(self, data: bytes) -> list[bytes]:
        """The objects that `data` completes. Raises SSEOverflow."""
        self._held += data
        found: list[bytes] = []
        while (end := self._next_end()) is not None:
            found.append(bytes(self._held[:end]).strip(_SKIPPED))
            del self._held[:end]
            self._searched = 0
        if not self._depth:
            del self._held[: len(self._held) - len(self._held.lstrip(_SKIPPED))]
            self._searched = min(self._searched, len(self._held))
        if len(self._held) > self._limit:
            raise SSEOverflow(f"an object is longer than {self._limit} bytes")
        return found

    def flush(self) -> list[bytes]:
        """What is left when nothing more can come: half an object, which nobody can read."""
        left, self._held = bytes(self._held).strip(_SKIPPED), bytearray()
        return [left] if left else []

    def _next_end(self) -> int | None:
        """Where the next object ends; None if that has not arrived."""
        while match := _STRUCTURE.search(self._held, self._searched):
            character, after = match[0], match.end()
            if character == b"\\" and self._in_string:
                if after == len(self._held):
                    return None  # what it escapes has not arrived
                after += 1
            elif character == b'"':
                self._in_string = not self._in_string
            elif not self._in_string and character != b"\\":
                self._depth += 1 if character == b"{" else -1
            self._searched = after
            if self._depth == 0 and character == b"}" and not self._in_string:
                return after
        self._searched = len(self._held)
        return None
