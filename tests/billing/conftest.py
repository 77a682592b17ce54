"""What tests with real transactions leave behind."""

from collections.abc import Iterator

import pytest
from django.db import connection


@pytest.fixture(autouse=True)
def no_usage_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """pytest-django empties the tables that Django manages; the partitioned one is ours to empty."""
    marker = request.node.get_closest_marker("django_db")
    is_real = marker is not None and marker.kwargs.get("transaction", False)
    if is_real:
        request.getfixturevalue("transactional_db")
    yield
    if is_real:
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE billing_usagerecord")
