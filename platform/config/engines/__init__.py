"""The two engines, PostgreSQL and Valkey: where they answer, how they are made, started and shared.

Pure Python on purpose: settings ask for addresses before Django exists.
"""

from config.engines.addresses import (
    SocketPaths,
    broker_url,
    django_database,
    redis_url,
    socket_paths,
)
from config.engines.errors import ConfigurationError
from config.engines.sharing import engines_available

__all__ = [
    "ConfigurationError",
    "SocketPaths",
    "broker_url",
    "django_database",
    "engines_available",
    "redis_url",
    "socket_paths",
]
