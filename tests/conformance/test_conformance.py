"""The page of conformance is true: a run of now gives what it says."""

import pytest

from tests.conformance.desk import Desk
from tests.conformance.page import PAGE, render_page
from tests.conformance.run import FAIL, run_conformance


@pytest.mark.timeout(300)
def test_the_page_says_what_a_run_gives(desks: dict[str, Desk]) -> None:
    results = run_conformance(desks)
    assert {cell: said for cell, said in results.items() if said.startswith(FAIL)} == {}
    assert render_page(results) == PAGE.read_text()
