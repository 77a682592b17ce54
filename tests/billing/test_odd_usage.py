"""Impossible and missing usage is told of once per record, channel and model."""

from uuid import uuid4

import pytest

from accounts.models import OperatorAlert
from billing.aggregation import aggregate_batches
from tests.factories.money import make_payer, make_record, settle

pytestmark = pytest.mark.django_db


def alerts() -> dict[tuple[str, str], int]:
    rows = OperatorAlert.objects.values_list("kind", "subject", "count")
    return {(kind, subject): count for kind, subject, count in rows}


@pytest.mark.parametrize("source", ["clamped", "estimated"])
def test_odd_usage_is_told_of_by_channel_and_model(source: str) -> None:
    payer = make_payer(1_000)
    odd = make_record(payer, 1, usage_source=source, channel="main")
    settle(uuid4(), odd, make_record(payer, 1))
    aggregate_batches()
    aggregate_batches()
    assert alerts() == {(f"usage_{source}", "main gpt-test"): 1}
    assert odd["request_id"].hex in OperatorAlert.objects.get().message


def test_an_answer_that_was_cut_off_has_no_counts_to_report() -> None:
    payer = make_payer(1_000)
    settle(uuid4(), make_record(payer, 1, usage_source="estimated", ending="client_gone"))
    aggregate_batches()
    assert alerts() == {}
