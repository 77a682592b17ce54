"""A sealed value opens in its place, under a key of the ring, unaltered; otherwise it raises."""

import base64
from typing import Any

import pytest

from common.sealing import SealBroken, is_sealed_by_first_key, seal, unseal

PLACE = "relay_channel.api_keys:main"


def ring_entry(name: str) -> str:
    return f"{name}:{base64.urlsafe_b64encode(name.encode() * 16).decode()}"


@pytest.fixture(autouse=True)
def ring(settings: Any) -> None:
    settings.FIELD_KEYS = (ring_entry("k1"),)


def test_what_was_sealed_opens_in_its_place() -> None:
    assert unseal(seal(b"sk-vendor", place=PLACE), place=PLACE) == b"sk-vendor"


def test_the_same_secret_never_looks_the_same() -> None:
    sealed = seal(b"sk-vendor", place=PLACE)
    assert sealed != seal(b"sk-vendor", place=PLACE)
    assert b"vendor" not in sealed


def test_a_value_moved_elsewhere_does_not_open() -> None:
    sealed = seal(b"sk-vendor", place=PLACE)
    with pytest.raises(SealBroken):
        unseal(sealed, place="relay_channel.api_keys:other")


def test_no_altered_byte_opens() -> None:
    sealed = seal(b"sk-vendor", place=PLACE)
    for position in range(len(sealed)):
        altered = bytearray(sealed)
        altered[position] ^= 1
        with pytest.raises(SealBroken):
            unseal(bytes(altered), place=PLACE)


def test_no_shortened_value_opens() -> None:
    sealed = seal(b"sk-vendor", place=PLACE)
    for length in range(len(sealed)):
        with pytest.raises(SealBroken):
            unseal(sealed[:length], place=PLACE)


def test_another_key_of_the_same_name_does_not_open(settings: Any) -> None:
    sealed = seal(b"sk-vendor", place=PLACE)
    settings.FIELD_KEYS = ("k1:" + base64.urlsafe_b64encode(b"?" * 32).decode(),)
    with pytest.raises(SealBroken):
        unseal(sealed, place=PLACE)


def test_while_keys_rotate_the_second_still_opens(settings: Any) -> None:
    old = seal(b"sk-vendor", place=PLACE)
    settings.FIELD_KEYS = (ring_entry("k2"), ring_entry("k1"))
    new = seal(b"sk-vendor", place=PLACE)
    assert unseal(old, place=PLACE) == unseal(new, place=PLACE) == b"sk-vendor"
    assert (is_sealed_by_first_key(old), is_sealed_by_first_key(new)) == (False, True)


def test_a_key_that_left_the_ring_opens_nothing(settings: Any) -> None:
    sealed = seal(b"sk-vendor", place=PLACE)
    settings.FIELD_KEYS = (ring_entry("k2"),)
    with pytest.raises(SealBroken, match="FIELD_KEYS"):
        unseal(sealed, place=PLACE)
