"""The form of an API key: `sk-`, 43 base62 characters (256 random bits), 6 of checksum. Pure.

The checksum turns typing mistakes and scanners away before anything is looked up. What is stored is an
HMAC under the installation's pepper.
"""

import hmac
import secrets
import zlib

PREFIX = "sk-"
RANDOM_BYTES = 32
BODY_LENGTH = 43
CHECKSUM_LENGTH = 6
LENGTH = len(PREFIX) + BODY_LENGTH + CHECKSUM_LENGTH
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def generate_key() -> str:
    body = _base62(int.from_bytes(secrets.token_bytes(RANDOM_BYTES), "big"), BODY_LENGTH)
    return PREFIX + body + _checksum(body)


def is_well_formed(key: str) -> bool:
    if len(key) != LENGTH or not key.startswith(PREFIX) or not key.isascii():
        return False
    body = key[len(PREFIX) : len(PREFIX) + BODY_LENGTH]
    return hmac.compare_digest(key[len(PREFIX) + BODY_LENGTH :], _checksum(body))


def digest_key(key: str, pepper: str) -> bytes:
    return hmac.digest(pepper.encode(), key.encode(), "sha256")


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), CHECKSUM_LENGTH)


def _base62(number: int, length: int) -> str:
    characters = []
    for _ in range(length):
        number, index = divmod(number, len(ALPHABET))
        characters.append(ALPHABET[index])
    return "".join(reversed(characters))
