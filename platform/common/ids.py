"""Identifiers: uuid7 for what must sort by time, and the prefixes under which people see them."""

import os
import time
from datetime import datetime
from random import Random
from uuid import UUID

_VERSION_AND_VARIANT = (0x7 << 76) | (0x2 << 62)
_RANDOM_BITS = (0xFFF << 64) | ((1 << 62) - 1)
# Ids must not collide, they need not be secret: seeded once from the system, which costs a call each time.
_random = Random(os.urandom(32))  # noqa: S311
os.register_at_fork(after_in_child=lambda: _random.seed(os.urandom(32)))


def uuid7() -> UUID:
    """A version 7 UUID (RFC 9562): 48 bits of Unix milliseconds, then 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    random = _random.getrandbits(80) & _RANDOM_BITS
    return UUID(int=(milliseconds << 80) | _VERSION_AND_VARIANT | random)


def uuid7_floor(moment: datetime) -> UUID:
    """The smallest uuid7-ordered value at `moment`: a bound for ranges over request ids.

    No id is older than 1970, so every earlier moment has the same bound.
    """
    return UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)


def public_id(prefix: str, value: UUID) -> str:
    return f"{prefix}_{value.hex}"


def parse_public_id(prefix: str, text: str) -> UUID | None:
    """The UUID behind a public id, with or without its prefix; None when it is not one."""
    try:
        return UUID(text.removeprefix(f"{prefix}_"))
    except ValueError:
        return None
