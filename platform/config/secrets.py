"""Secrets of an embedded installation: made once, kept in `<home>/secrets.json`, readable by the owner.

Whoever sets SECRET_KEY, KEY_PEPPER and FIELD_KEYS needs no file. Losing the pepper makes every API key
invalid; losing a field key makes what it sealed unreadable: back the file up with the database.
"""

import base64
import json
import os
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path

from common.errors import AppError
from config.env import Env


@dataclass(frozen=True)
class Secrets:
    secret_key: str
    key_pepper: str
    field_keys: tuple[str, ...]

    def __repr__(self) -> str:
        return "Secrets(…)"


class SecretsUnusable(AppError):
    """The file with the installation's secrets cannot be read or made."""

    code = "secrets_unusable"


def load_secrets(env: Env) -> Secrets:
    """Secrets from the environment, the missing ones from the file, which is made when it is needed."""
    if env.secret_key and env.key_pepper and env.field_keys:
        return Secrets(env.secret_key, env.key_pepper, env.field_keys)
    try:
        kept = _read_or_create(env.home / "secrets.json")
        return Secrets(
            secret_key=env.secret_key or str(kept["secret_key"]),
            key_pepper=env.key_pepper or str(kept["key_pepper"]),
            field_keys=env.field_keys or tuple(kept["field_keys"]),
        )
    except (OSError, ValueError, LookupError, TypeError) as error:  # the last two: not what we wrote
        raise SecretsUnusable(
            f"{env.home / 'secrets.json'} cannot be used: {type(error).__name__}: {error}"
        ) from error


def _read_or_create(path: Path) -> dict[str, str | list[str]]:
    if not path.exists():
        _create(path)
    kept: dict[str, str | list[str]] = json.loads(path.read_text())
    return kept


def _create(path: Path) -> None:
    """Write the file in one step; of several processes that try at once, the first one's file stays."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    content = {
        "secret_key": secrets.token_urlsafe(48),
        "key_pepper": secrets.token_urlsafe(48),
        "field_keys": ["k1:" + base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()],
    }
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".secrets-")
    with os.fdopen(handle, "w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(temporary, path)
    except FileExistsError:
        return
    finally:
        Path(temporary).unlink()
