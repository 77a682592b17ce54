"""The audit itself: it must see what it is there to see."""

from dataclasses import fields, replace
from typing import Any
from uuid import uuid4

import pytest

from tests.chaos.reckoning import Evidence, Figures

SERVED = {
    number: {
        "model": "gpt-4o-2024-08-06",
        "prompt_tokens": 100,
        "cached_tokens": 0,
        "completion_tokens": number,
        "served": True,
    }
    for number in (1, 2, 3)
}
PRICES = {1: 260_000, 2: 270_000, 3: 280_000}
ZEROS: dict[str, Any] = {field.name: 0 for field in fields(Figures)}
CLEAN = Figures(**{**ZEROS, "charged_for_complete": 5, "served_at_price": 5})


def record(number: int, **changes: Any) -> dict[str, Any]:
    values = {
        "request_id": uuid4(),
        "organization_id": 1,
        "upstream_model": f"gpt-4o-2024-08-06:{number:08d}",
        "charge_nano": PRICES.get(number, 1),
        "uncollected_nano": 0,
    }
    return {**values, **changes}


def evidence(*records: dict[str, Any]) -> Evidence:
    return Evidence([], [], list(records), SERVED, {1: {"posted": 0, "receivable": 0}})


def test_charges_at_the_price_of_what_was_served_are_in_order() -> None:
    found = evidence(record(1), record(2), record(3, charge_nano=0, uncollected_nano=PRICES[3]))
    assert (found.double_charges(), found.given_away()) == (0, 0)
    assert (found.charged_off_price(), found.not_served()) == ([], [])


def test_it_counts_what_was_charged_twice() -> None:
    assert evidence(record(1), record(1), record(1), record(2)).double_charges() == 2


def test_it_sees_a_single_nano_too_much() -> None:
    off = record(2, charge_nano=PRICES[2] + 1)
    assert evidence(record(1), off).charged_off_price() == [off]


@pytest.mark.parametrize("name", ["gpt-4o-2024-08-06:00000009", "gpt-4o-2024-08-06", ""])
def test_it_sees_a_charge_for_what_nobody_served(name: str) -> None:
    invented = record(9, upstream_model=name)
    assert evidence(record(1), invented).not_served() == [invented]


def test_what_was_served_and_not_charged_is_given_away() -> None:
    assert evidence(record(1)).given_away() == PRICES[2] + PRICES[3]


def test_a_debt_is_an_overdraft() -> None:
    found = Evidence([], [], [], {}, {1: {"posted": 5, "receivable": 7}, 2: {"posted": -2, "receivable": 0}})
    assert found.overdraft() == 9


@pytest.mark.parametrize(
    "name",
    ["complete_but_uncharged", "double_charges", "overdraft", "pending", "open_leases", "verify_books_exit"],
)
def test_what_must_be_zero_is_a_fault_when_it_is_not(name: str) -> None:
    assert CLEAN.faults() == {}
    changes: dict[str, Any] = {name: 1}
    assert replace(CLEAN, **changes).faults() == changes


def test_so_is_any_difference() -> None:
    assert replace(CLEAN, charged_for_complete=4).faults() == {"difference": -1}
