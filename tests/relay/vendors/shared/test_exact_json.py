"""Arguments to the digit."""

import pytest

from relay.errors import UpstreamFailed
from relay.vendors.shared.exact_json import has_inexact_numbers, read_exactly, write_json


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1.10,"b":[1e400,-0.0],"c":12345678901234567890123}',
        '{"é":"世\\n🚃","d":[true,false,null,{}]}',
        "[]",
        '"1.10"',
    ],
)
def test_what_was_written_is_written_again(text: str) -> None:
    assert write_json(read_exactly(text.encode())) == text


@pytest.mark.parametrize(
    ("payload", "inexact"), [(b'{"a":1}', False), (b'{"a":1.0}', True), (b"1e5", True), (b"1" * 16, True)]
)
def test_numbers_that_need_it(payload: bytes, inexact: bool) -> None:
    assert has_inexact_numbers(payload) is inexact


def test_what_is_nested_too_deeply_is_an_error() -> None:
    with pytest.raises(UpstreamFailed):
        read_exactly(b"[" * 100_000 + b"]" * 100_000)
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(UpstreamFailed):
        write_json(deep)
