"""One installation before all the doubles, for every test of this folder."""

from collections.abc import Iterator

import pytest

from tests.conformance.desk import Desk
from tests.conformance.run import open_desks
from tests.conformance.vendors import VENDORS


@pytest.fixture(scope="session")
def desks() -> Iterator[dict[str, Desk]]:
    with open_desks() as desks:
        yield desks


@pytest.fixture(params=[vendor.name for vendor in VENDORS])
def desk(request: pytest.FixtureRequest, desks: dict[str, Desk]) -> Desk:
    return desks[request.param]
