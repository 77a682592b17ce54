"""Where the engines answer. Asking has no side effect, so that settings may do it in every process."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import environ

from config.engines.errors import ConfigurationError
from config.env import Env

DATABASE = USER = "farebox"
POSTGRES_PORT = 5432  # only part of a socket's name: nothing listens on TCP
SOCKET_PATH_BYTES = 107
# Not the TMPDIR of the moment: every process of an installation must come to the same place.
SHORT_ROOT = Path("/tmp")  # noqa: S108 - the folder inside is made 0700 and its owner is checked

POSTGRES_SCHEMES = ("postgres", "postgresql", "pgsql")
REDIS_SCHEMES = ("redis", "rediss", "unix")


@dataclass(frozen=True)
class SocketPaths:
    """Unix sockets only; `keeper` is where commands share engines that one of them started."""

    postgres_dir: Path
    valkey_socket: Path
    keeper_socket: Path

    @property
    def postgres_socket(self) -> Path:
        return self.postgres_dir / f".s.PGSQL.{POSTGRES_PORT}"


def socket_paths(home: Path) -> SocketPaths:
    """The sockets of the installation in `home`, elsewhere when the system could not address them there."""
    usual = _inside(home / "run")
    path = os.fsencode(usual.postgres_socket)
    if len(path) <= SOCKET_PATH_BYTES and b"," not in path:  # libpq reads a comma as the end of a host
        return usual
    owner = os.geteuid()
    name = hashlib.sha256(os.fsencode(home) + b"\0%d" % owner).hexdigest()[:16]
    return _inside(SHORT_ROOT / f"farebox-{owner}-{name}")


def _inside(folder: Path) -> SocketPaths:
    return SocketPaths(folder / "pg", folder / "valkey.sock", folder / "keeper.sock")


def django_database(env: Env) -> dict[str, Any]:
    """The entry of DATABASES; raises ConfigurationError for an address that is not PostgreSQL's."""
    if env.database_url:
        return _given_database(env.database_url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": DATABASE,
        "USER": USER,
        "HOST": str(socket_paths(env.home).postgres_dir),
        "PORT": str(POSTGRES_PORT),
    }


def _given_database(url: str) -> dict[str, Any]:
    if urlsplit(url).scheme not in POSTGRES_SCHEMES:
        raise ConfigurationError("DATABASE_URL must begin with postgresql://")
    try:
        given: dict[str, Any] = environ.Env.db_url_config(url)
    except ValueError as error:
        raise ConfigurationError("DATABASE_URL cannot be read as an address") from error
    return {**given, "ENGINE": "django.db.backends.postgresql"}


def redis_url(env: Env) -> str:
    """For redis-py; raises ConfigurationError for a scheme it does not know."""
    if not env.redis_url:
        return f"unix://{quote(str(socket_paths(env.home).valkey_socket))}"
    if urlsplit(env.redis_url).scheme not in REDIS_SCHEMES:
        raise ConfigurationError("REDIS_URL must begin with redis://, rediss:// or unix://")
    return env.redis_url


def broker_url(env: Env) -> str:
    """The same server for Celery, whose transport spells Unix sockets differently."""
    url = redis_url(env)
    parts = urlsplit(url)
    if parts.scheme != "unix":
        return url
    database = dict(parse_qsl(parts.query)).get("db", "0")
    return f"redis+socket://{quote(unquote(parts.path))}?virtual_host={quote(database)}"
