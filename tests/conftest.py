"""Engines for the tests: the real ones, in `var/test`, kept between runs so that only the first is slow."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from config.engines import engines_available, socket_paths
from config.env import ENV
from tests.installation import Installation


@pytest.fixture(scope="session")
def engines() -> Iterator[None]:
    """PostgreSQL and Valkey of the test settings, running."""
    with engines_available():
        if not ENV.database_url:
            _stop_syncing()
        yield


def _stop_syncing() -> None:
    """Commits need not outlive this machine: what tests kill is processes, and those leave the pages.

    Tests of durability start engines of their own.
    """
    place = socket_paths(ENV.home).postgres_dir
    with psycopg.connect(dbname="postgres", user="farebox", host=str(place), autocommit=True) as connection:
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            connection.execute(f"ALTER SYSTEM SET {name} = off".encode())
        connection.execute("SELECT pg_reload_conf()")


@pytest.fixture(scope="session")
def django_db_modify_db_settings(engines: None) -> None:
    """pytest-django asks for this before it makes the test database."""


@pytest.fixture(scope="session")
def installation() -> Iterator[Installation]:
    """Everything, started once by `manage.py up`. Tests that break something start their own."""
    with Installation() as running:
        yield running


@pytest.fixture(scope="session")
def live_url(installation: Installation) -> str:
    """Where a browser finds the installation."""
    if shutil.which("chromium") is None:
        pytest.skip("no chromium here: the browser tests need it (tests/install_browser.sh)")
    return installation.url


@pytest.fixture(scope="session")
def mail_dir(installation: Installation) -> Path:
    """Where the installation puts its mails."""
    return installation.mail_dir
