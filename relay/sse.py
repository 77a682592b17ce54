"""Server-sent events as bytes: what a vendor sends is split, what we send is wrapped.

Only ASCII line ends count. A text decoder would also break lines at U+0085 or U+2028, which JSON
may hold unescaped, so nothing is decoded here.
"""

DEFAULT_LIMIT = 16 * 1024 * 1024

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINE_ENDS = b"\r\n"


class SSEOverflow(Exception):
    """One event is longer than the limit. The splitter must not be fed any further."""


class SSESplitter:
    """Turns reads of any size into the `data` payloads of whole events, in linear time.

    Comments and the fields `event`, `id` and `retry` are skipped. Memory is bounded by `limit`
    bytes plus the read being worked on.
    """

    __slots__ = ("_data", "_held", "_is_idle", "_limit", "_partial", "_skip_newline")

    def __init__(self, *, limit: int = DEFAULT_LIMIT) -> None:
        self._limit = limit
        self._partial = bytearray()  # a line whose end has not arrived
        self._data: list[bytes] = []  # data lines of an event whose blank line has not arrived
        self._held = 0  # bytes in _data, line ends included
        self._skip_newline = False  # the last read ended in \r: a \n now belongs to it
        self._is_idle = True  # nothing of the above is left from earlier reads

    @property
    def pending(self) -> bool:
        """Whether bytes are held that no event has come of yet."""
        return bool(self._partial) or bool(self._data)

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads of the events that `data` completes. Raises SSEOverflow."""
        if not self._is_idle or data[-2:] != b"\n\n" or data.find(b"\r") >= 0 or len(data) > self._limit:
            return self._feed_lines(data)
        if data[:6] == b"data: " and data.find(b"\n") == len(data) - 2:
            return [data[6:-2]]
        return self._feed_blocks(data)

    def flush(self) -> list[bytes]:
        """What the end of the stream completes: some vendors leave out the last blank line."""
        line, self._partial = bytes(self._partial), bytearray()
        events: list[bytes] = []
        self._take_line(line, events)
        self._take_line(b"", events)
        self._skip_newline, self._is_idle = False, True
        return events

    def _feed_blocks(self, data: bytes) -> list[bytes]:
        """Whole events with `\\n` line ends, nearly always of one data line each."""
        events: list[bytes] = []
        for block in data[:-2].split(b"\n\n"):
            if block[:6] == b"data: " and block.find(b"\n") < 0:
                events.append(block[6:])
            else:
                self._take_block(block, events)
        return events

    def _take_block(self, block: bytes, events: list[bytes]) -> None:
        for line in block.split(b"\n"):
            self._take_line(line, events)
        self._take_line(b"", events)

    def _feed_lines(self, data: bytes) -> list[bytes]:
        if self._skip_newline and data:
            self._skip_newline = False
            data = data.removeprefix(b"\n")
        events: list[bytes] = []
        for piece in data.splitlines(keepends=True):  # bytes split at \n, \r and \r\n only
            if piece[-1] in _LINE_ENDS:
                self._end_line(piece.rstrip(_LINE_ENDS), events)
            else:
                self._keep_partial(piece)
        if data.endswith(b"\r"):
            self._skip_newline = True
        self._is_idle = not (self._partial or self._data or self._skip_newline)
        return events

    def _end_line(self, line: bytes, events: list[bytes]) -> None:
        if self._partial:
            self._partial += line
            line, self._partial = bytes(self._partial), bytearray()
        self._take_line(line, events)

    def _keep_partial(self, piece: bytes) -> None:
        self._partial += piece
        self._guard(self._held + len(self._partial))

    def _take_line(self, line: bytes, events: list[bytes]) -> None:
        if not line:
            self._end_event(events)
            return
        field, _, value = line.removeprefix(_BYTE_ORDER_MARK).partition(b":")
        if field == b"data":
            self._held += len(value) + 1
            self._guard(self._held)
            self._data.append(value.removeprefix(b" "))

    def _end_event(self, events: list[bytes]) -> None:
        if self._data:
            events.append(b"\n".join(self._data))
            self._data, self._held = [], 0

    def _guard(self, size: int) -> None:
        if size > self._limit:
            raise SSEOverflow(f"an event is longer than {self._limit} bytes")


def encode(payload: bytes) -> bytes:
    """One event. A payload with line ends becomes several data lines, as the format asks."""
    if b"\n" in payload or b"\r" in payload:
        payload = b"\ndata: ".join(payload.splitlines())
    return b"data: " + payload + b"\n\n"
