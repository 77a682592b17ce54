import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.sse import SSEOverflow, SSESplitter, encode

LINE_ENDS = [b"\n", b"\r\n", b"\r"]

payload_lines = st.lists(
    st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12),
    min_size=1,
    max_size=3,
).filter(lambda lines: lines != [""])


def feed_all(pieces: list[bytes]) -> list[bytes]:
    splitter = SSESplitter()
    return [event for piece in pieces for event in splitter.feed(piece)]


def cut(data: bytes, points: list[int]) -> list[bytes]:
    edges = [0, *sorted(point % (len(data) + 1) for point in points), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def write_event(lines: list[str], end: bytes, *, noise: bool) -> bytes:
    written = [b"data: " + line.encode() for line in lines]
    if noise:
        written = [b": keep-alive", b"event: message", b"id: 7", *written, b"retry: 3"]
    return end.join([*written, b"", b""])


def test_whole_events_in_one_read() -> None:
    assert feed_all([b'data: {"a":1}\n\ndata: [DONE]\n\n']) == [b'{"a":1}', b"[DONE]"]


def test_an_event_split_inside_a_character() -> None:
    word = "深度".encode()
    assert feed_all([b"data: " + word[:4], word[4:] + b"\n", b"\n"]) == [word]


@pytest.mark.parametrize("end", LINE_ENDS)
def test_every_line_end_closes_an_event(end: bytes) -> None:
    data = b"data: a" + end + b"data: b" + end + end
    assert feed_all([data]) == [b"a\nb"]


def test_mixed_line_ends() -> None:
    assert feed_all([b"data: a\r\n\ndata: b\r\rdata: c\n\r\n"]) == [b"a", b"b", b"c"]


def test_a_carriage_return_at_the_end_of_a_read_is_one_line_end_with_the_next_newline() -> None:
    assert feed_all([b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n"]) == [b"a\nb"]


def test_a_carriage_return_ends_an_event_without_waiting_for_more() -> None:
    assert feed_all([b"data: a\r\r"]) == [b"a"]


def test_the_space_after_the_colon_may_be_missing_and_only_one_is_taken() -> None:
    assert feed_all([b"data:a\n\ndata:  b\n\n"]) == [b"a", b" b"]


def test_comments_and_other_fields_are_skipped() -> None:
    fields = b"event: x\nid: 1\nretry: 5\ndata: a\n\n"
    assert feed_all([b": PROCESSING\n\n" + fields + b"event: only\n\ndatax: no\n\n"]) == [b"a"]


def test_blank_lines_between_events_are_not_events() -> None:
    assert feed_all([b"\n\n\ndata: a\n\n\n\ndata: b\n\n\n"]) == [b"a", b"b"]


def test_a_field_without_a_colon_is_an_empty_data_line() -> None:
    assert feed_all([b"data\ndata: a\n\n"]) == [b"\na"]


def test_a_byte_order_mark_before_the_first_field_is_skipped() -> None:
    assert feed_all([b"\xef\xbb\xbfdata: a\n\n"]) == [b"a"]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c"])
def test_other_separators_do_not_end_a_line(separator: str) -> None:
    payload = f"a{separator}b".encode()
    assert feed_all([b"data: " + payload + b"\r\n\r\n"]) == [payload]


def test_an_unfinished_event_is_pending_until_flushed() -> None:
    splitter = SSESplitter()
    assert splitter.feed(b"data: a\n\ndata: [DO") == [b"a"]
    assert splitter.pending
    assert splitter.feed(b"NE]\n") == []
    assert splitter.pending
    assert splitter.flush() == [b"[DONE]"]
    assert not splitter.pending


def test_flushing_nothing_gives_nothing() -> None:
    splitter = SSESplitter()
    assert splitter.feed(b": bye\n") == []
    assert splitter.flush() == []


@pytest.mark.parametrize(
    "reads",
    [
        [b"data: " + b"x" * 60],
        [b"data: " + b"x" * 60 + b"\n\n"],
        [b"data: xxxxxxxxx\n"] * 7,
        [b"data:\n" * 60],
        [b"x"] * 60,
    ],
    ids=["unfinished line", "whole event", "many lines", "empty lines", "no field"],
)
def test_an_event_over_the_limit_is_refused(reads: list[bytes]) -> None:
    splitter = SSESplitter(limit=50)
    with pytest.raises(SSEOverflow):
        list(map(splitter.feed, reads))


def test_the_limit_counts_one_event_not_the_stream() -> None:
    splitter = SSESplitter(limit=50)
    assert len(splitter.feed(b"data: 0123456789\n\n" * 100)) == 100


@given(
    st.lists(st.tuples(payload_lines, st.sampled_from(LINE_ENDS), st.booleans()), max_size=6),
    st.lists(st.integers(0, 10_000), max_size=12),
)
def test_any_split_and_any_line_end_give_the_same_events(
    events: list[tuple[list[str], bytes, bool]], points: list[int]
) -> None:
    data = b"".join(write_event(lines, end, noise=noise) for lines, end, noise in events)
    expected = ["\n".join(lines).encode() for lines, _, _ in events]
    assert feed_all([data]) == expected
    assert feed_all(cut(data, points)) == expected
    assert feed_all([data[i : i + 1] for i in range(len(data))]) == expected


tokens = st.sampled_from([b"data:", b"data: ", b"data", b"a", b":", b" ", b"\n", b"\r", b"\n\n", b"id"])


@given(
    st.lists(st.one_of(tokens, st.binary(max_size=3)), max_size=30).map(b"".join),
    st.lists(st.integers(0, 10_000), max_size=12),
)
def test_any_bytes_at_all_give_the_same_events_however_they_are_split(data: bytes, points: list[int]) -> None:
    assert feed_all(cut(data, points)) == feed_all([data])


@given(st.binary(min_size=1, max_size=60))
def test_what_is_encoded_is_split_again(payload: bytes) -> None:
    expected = b"\n".join(payload.splitlines())
    assert feed_all([encode(payload)]) == [expected]


def test_a_long_event_byte_by_byte_takes_linear_time() -> None:
    data = b"data: " + b"x" * 1_000_000 + b"\n\n"
    started = time.process_time()
    events = feed_all([data[i : i + 1] for i in range(len(data))])
    assert len(events) == 1
    assert time.process_time() - started < 15  # quadratic would be minutes
