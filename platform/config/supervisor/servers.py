"""Servers that DATABASE_URL and REDIS_URL name: are they there, and are they what we need?"""

import contextlib
from typing import Any

import psycopg
import redis

from config.engines import django_database, redis_url
from config.engines.errors import ConfigurationError
from config.env import Env

CONNECT_SECONDS = 5
OLDEST_POSTGRES = 15


def check_given_servers(env: Env) -> None:
    """Raises ConfigurationError for a server that does not answer or is too old."""
    if env.database_url:
        _check_database(django_database(env))
    if env.redis_url:
        _check_redis(redis_url(env))


def _check_database(given: dict[str, Any]) -> None:
    address = {
        "dbname": given["NAME"],
        "user": given["USER"],
        "password": given["PASSWORD"],
        "host": given["HOST"],
        "port": given["PORT"],
    }
    wanted = {name: value for name, value in address.items() if value}
    options = {"connect_timeout": CONNECT_SECONDS, **given.get("OPTIONS", {})}
    try:
        with psycopg.connect(**wanted, **options) as connection:
            major = connection.info.server_version // 10_000
    except psycopg.Error as error:
        raise ConfigurationError(f"DATABASE_URL: no connection ({_first_line(error)})") from error
    if major < OLDEST_POSTGRES:
        raise ConfigurationError(f"DATABASE_URL: PostgreSQL {major} is too old, {OLDEST_POSTGRES} is needed")


def _check_redis(url: str) -> None:
    timeouts = {"socket_connect_timeout": CONNECT_SECONDS, "socket_timeout": CONNECT_SECONDS}
    try:
        with contextlib.closing(redis.Redis.from_url(url, **timeouts)) as client:
            client.ping()
    except (redis.RedisError, ValueError) as error:
        raise ConfigurationError(f"REDIS_URL: no connection ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
