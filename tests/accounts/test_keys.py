"""The form of a key: enough randomness, one alphabet, a checksum that catches mistakes."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.keys import ALPHABET, BODY_LENGTH, LENGTH, digest_key, generate_key, is_well_formed

BASE62 = set(string.ascii_letters + string.digits)
KEY = generate_key()


def test_a_key_is_prefix_body_and_checksum_in_base62() -> None:
    for key in (generate_key() for _ in range(200)):
        assert key.startswith("sk-")
        assert len(key) == LENGTH == 52
        assert set(key.removeprefix("sk-")) <= BASE62
        assert is_well_formed(key)


def test_the_body_holds_all_256_random_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(ALPHABET) ** BODY_LENGTH >= 2**256
    monkeypatch.setattr("secrets.token_bytes", lambda count: b"\xff" * count)
    highest = generate_key()[3 : 3 + BODY_LENGTH]
    number = 0
    for character in highest:
        number = number * 62 + ALPHABET.index(character)
    assert number == 2**256 - 1


def test_no_two_keys_are_alike() -> None:
    assert len({generate_key() for _ in range(1_000)}) == 1_000


@given(st.integers(3, LENGTH - 1), st.sampled_from(ALPHABET))
def test_a_mistyped_character_is_caught(position: int, character: str) -> None:
    mistyped = KEY[:position] + character + KEY[position + 1 :]
    assert is_well_formed(mistyped) == (mistyped == KEY)


@given(st.integers(3, LENGTH - 2))
def test_two_characters_changed_about_are_caught(position: int) -> None:
    swapped = KEY[:position] + KEY[position + 1] + KEY[position] + KEY[position + 2 :]
    assert is_well_formed(swapped) == (swapped == KEY)


@pytest.mark.parametrize(
    "text",
    ["", "sk-", KEY[:-1], KEY + "0", "pk-" + KEY[3:], " " + KEY, KEY[:-1] + "é", "sk-" + "é" * 49],
    ids=["empty", "head", "short", "long", "other head", "blank", "accent", "accents"],
)
def test_other_texts_are_not_keys(text: str) -> None:
    assert not is_well_formed(text)


@given(st.text())
def test_no_text_at_all_breaks_the_check(text: str) -> None:
    assert not is_well_formed(text)


def test_a_digest_depends_on_key_and_pepper() -> None:
    digests = {digest_key(KEY, "a"), digest_key(KEY, "b"), digest_key(generate_key(), "a")}
    assert len(digests) == 3
    assert {len(digest) for digest in digests} == {32}
    assert digest_key(KEY, "a") in digests
