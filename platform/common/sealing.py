"""Secrets at rest: AES-256-GCM under a key ring, bound to the place where they are kept.

A sealed value is `key id, NUL, 12-byte nonce, ciphertext`. The first key of FIELD_KEYS seals, all of them
open. Fails closed: what cannot be opened raises, it is never handed on as it is.
"""

import base64
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

from common.errors import AppError

NONCE_BYTES = 12


class SealBroken(AppError):
    """A sealed value does not open: its key is gone from the ring, or the value was moved or altered."""

    code = "seal_broken"
    http_status = 500


def seal(plaintext: bytes, *, place: str) -> bytes:
    """`place` names table, column and row; the value opens nowhere else."""
    key_id, key = next(iter(_ring().items()))
    nonce = os.urandom(NONCE_BYTES)
    return key_id.encode() + b"\0" + nonce + AESGCM(key).encrypt(nonce, plaintext, place.encode())


def unseal(sealed: bytes, *, place: str) -> bytes:
    """Raises SealBroken."""
    key_id, _, rest = bytes(sealed).partition(b"\0")
    key = _ring().get(key_id.decode(errors="replace"))
    if key is None:
        raise SealBroken(f"the key that sealed {place} is not in FIELD_KEYS")
    try:
        return AESGCM(key).decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], place.encode())
    except (InvalidTag, ValueError) as error:  # the latter where not even the nonce is whole
        raise SealBroken(f"what is sealed at {place} was altered or moved") from error


def is_sealed_by_first_key(sealed: bytes) -> bool:
    """False for what an older key sealed, which `rotate_keys` seals anew."""
    return sealed.partition(b"\0")[0].decode(errors="replace") == next(iter(_ring()))


def _ring() -> dict[str, bytes]:
    ring = {}
    for entry in settings.FIELD_KEYS:
        key_id, _, encoded = entry.partition(":")
        ring[key_id] = base64.urlsafe_b64decode(encoded)
    return ring
