"""Engines for the tests: the real ones, in `var/test`, kept between runs so that only the first is slow."""

from collections.abc import Iterator

import pytest

from config.engines import engines_available


@pytest.fixture(scope="session")
def engines() -> Iterator[None]:
    """PostgreSQL and Valkey of the test settings, running."""
    with engines_available():
        yield


@pytest.fixture(scope="session")
def django_db_modify_db_settings(engines: None) -> None:
    """pytest-django asks for this before it makes the test database."""
