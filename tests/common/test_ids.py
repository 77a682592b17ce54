"""Identifiers: version 7, sorted by time, never the same twice."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest

from common.ids import parse_public_id, public_id, uuid7, uuid7_floor


def test_an_id_says_its_version_and_its_moment() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid7()
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000


def test_ids_of_many_threads_differ() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: [uuid7() for _ in range(500)], range(8)))
    assert len({one for some in made for one in some}) == 4_000


def test_a_forked_process_draws_other_ids() -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, uuid7().bytes)
        os._exit(0)
    ours = uuid7()
    os.waitpid(child, 0)
    theirs = UUID(bytes=os.read(reading, 16))
    os.close(reading)
    os.close(writing)
    random_bits = (1 << 62) - 1
    assert ours.int & random_bits != theirs.int & random_bits


def test_a_floor_is_below_every_id_of_its_moment() -> None:
    now = datetime.now(UTC)
    assert uuid7_floor(now) <= uuid7() < uuid7_floor(now + timedelta(seconds=5))


def test_a_floor_is_of_the_moment_not_of_the_zone() -> None:
    midnight = datetime(2026, 11, 1, tzinfo=UTC)
    elsewhere = midnight.astimezone(timezone(timedelta(hours=5, minutes=45)))
    assert uuid7_floor(elsewhere) == uuid7_floor(midnight)


@pytest.mark.parametrize("year", [1, 1969])
def test_a_floor_before_there_were_ids_is_the_lowest(year: int) -> None:
    assert uuid7_floor(datetime(year, 1, 1, tzinfo=UTC)) == UUID(int=0)


def test_a_public_id_reads_back_with_and_without_its_prefix() -> None:
    made = uuid7()
    assert parse_public_id("req", public_id("req", made)) == made
    assert parse_public_id("req", str(made)) == made
    assert parse_public_id("req", "req_nothing") is None
    assert parse_public_id("req", f"key_{made.hex}") is None
