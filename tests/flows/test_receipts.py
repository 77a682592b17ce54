"""The bill, worked out twice: by Farebox, and by this file from what the vendor says it served."""

from typing import Any

import pytest
from openai import OpenAI

from tests.flows.asking import ask, sdk, stream
from tests.installation import Customer, Installation, price_of, request_hex

CALLS: list[tuple[str, bool, dict[str, Any]]] = [
    ("gpt-4o", False, {"prompt_tokens": 1, "completion_tokens": 1}),
    ("gpt-4o", True, {"prompt_tokens": 333, "completion_tokens": 77}),
    ("gpt-4o", False, {"prompt_tokens": 4096, "cached_tokens": 3967, "completion_tokens": 1}),
    ("gpt-4o", True, {"prompt_tokens": 2048, "cached_tokens": 2048, "completion_tokens": 10}),
    ("tiny", False, {"prompt_tokens": 1, "completion_tokens": 0, "chunks": 0}),
    ("tiny", True, {"prompt_tokens": 3, "completion_tokens": 1}),
    ("tiny", False, {"prompt_tokens": 7, "cached_tokens": 4, "completion_tokens": 13}),
    ("banded", False, {"prompt_tokens": 200_000, "cached_tokens": 1, "completion_tokens": 3}),
    ("banded", True, {"prompt_tokens": 200_001, "cached_tokens": 150_000, "completion_tokens": 3}),
    ("thinker", True, {"prompt_tokens": 11, "completion_tokens": 900, "reasoning_tokens": 850}),
]


@pytest.fixture(scope="module")
def answers(customer: Customer) -> list[str]:
    """The ids of one answer for each of CALLS, in that order, served from an empty log."""
    customer.installation.vendor.reset()
    with sdk(customer) as client:
        return [_id_of(client, *call) for call in CALLS]


def _id_of(client: OpenAI, model: str, streamed: bool, tell: dict[str, Any]) -> str:
    if streamed:
        return stream(client, model=model, tell=tell)[0].id
    return ask(client, model=model, tell=tell).id


@pytest.fixture(scope="module")
def served(customer: Customer, answers: list[str]) -> list[dict[str, Any]]:
    """What the double wrote down for them, in the same order."""
    return customer.installation.vendor.records()


@pytest.fixture(scope="module")
def export(customer: Customer, answers: list[str]) -> list[dict[str, Any]]:
    """The customer's lines as they were printed."""
    return customer.usage()


@pytest.fixture(scope="module")
def bill(export: list[dict[str, Any]], answers: list[str]) -> list[dict[str, Any]]:
    """The line of each answer, in the order of the answers."""
    lines = {request_hex(line["request_id"]): line for line in export}
    assert len(lines) == len(export) == len(answers)
    return [lines[request_hex(answer)] for answer in answers]


class TestCharges:
    def test_each_charge_is_the_price_of_what_was_served(
        self, bill: list[dict[str, Any]], served: list[dict[str, Any]]
    ) -> None:
        assert [line["charge_nano"] for line in bill] == [price_of(one) for one in served]

    def test_the_wallet_is_what_was_credited_less_every_charge(
        self, customer: Customer, bill: list[dict[str, Any]]
    ) -> None:
        wallet = customer.wallet()
        assert wallet["posted_nano"] == customer.credit_nano - sum(line["charge_nano"] for line in bill)
        assert wallet["available_nano"] == wallet["posted_nano"] - wallet["pending_nano"]

    def test_one_token_of_a_tiny_price_is_38_nano(self, bill: list[dict[str, Any]]) -> None:
        [line] = [line for line in bill if line["model"] == "tiny" and line["completion_tokens"] == 0]
        assert (line["prompt_tokens"], line["charge_nano"]) == (1, 38)

    def test_nothing_was_left_uncollected(self, bill: list[dict[str, Any]]) -> None:
        assert {line["uncollected_nano"] for line in bill} == {0}

    def test_what_the_vendor_charges_is_kept_beside_it(self, bill: list[dict[str, Any]]) -> None:
        first = bill[0]
        assert (first["charge_nano"], first["cost_nano"]) == (12_500, 10_000)


class TestLines:
    def test_tokens_are_as_the_customer_saw_them(
        self, bill: list[dict[str, Any]], served: list[dict[str, Any]]
    ) -> None:
        assert [(line["prompt_tokens"], line["completion_tokens"]) for line in bill] == [
            (one["prompt_tokens"], one["completion_tokens"]) for one in served
        ]

    def test_classes_are_disjoint_and_add_up(self, bill: list[dict[str, Any]]) -> None:
        for line in bill:
            assert line["input_tokens"] + line["cache_read_tokens"] == line["prompt_tokens"]
            assert line["output_tokens"] + line["reasoning_tokens"] == line["completion_tokens"]

    def test_the_route_taken_is_named(self, bill: list[dict[str, Any]]) -> None:
        assert (bill[0]["channel"], bill[0]["upstream_model"]) == ("main", "gpt-4o-2024-08-06")
        assert {line["usage_source"] for line in bill} == {"reported"}
        assert {line["ending"] for line in bill} == {"complete"}

    def test_lines_come_oldest_first(self, export: list[dict[str, Any]], bill: list[dict[str, Any]]) -> None:
        assert export == bill

    def test_since_leaves_out_what_came_before(self, customer: Customer, bill: list[dict[str, Any]]) -> None:
        organization = str(customer.organization)
        moment = bill[5]["ended_at"]
        later = customer.installation.usage_export("--since", moment, "--organization", organization)
        assert later == bill[6:]


def test_the_books_balance(installation: Installation, bill: list[dict[str, Any]]) -> None:
    assert installation.command("verify_books")["ok"]
