"""The daily look at vendors' lists, against a vendor that is really asked."""

import pytest

from accounts.models import OperatorAlert
from relay.lifecycle import check_model_lists
from relay.models import Channel, Model, Route
from tests.doubles.process import VendorDouble

pytestmark = pytest.mark.django_db


def route(base_url: str, upstream_model: str) -> None:
    channel = Channel(name=f"to {upstream_model}", vendor="compatible", base_url=base_url)
    channel.set_api_keys(("sk-vendor",))
    channel.save()
    model = Model.objects.create(
        name=f"our {upstream_model}", owned_by="x", context_window=1, max_output_tokens=1
    )
    Route.objects.create(model=model, channel=channel, upstream_model=upstream_model)


def test_operators_hear_of_a_model_that_is_gone_and_of_no_other() -> None:
    with VendorDouble() as vendor:
        route(vendor.base_url, "double")
        route(vendor.base_url, "yesterday")
        assert check_model_lists() == 1
        assert check_model_lists() == 1
    alert = OperatorAlert.objects.get()
    assert (alert.kind, alert.subject, alert.count) == ("model_gone", "to yesterday/yesterday", 2)


def test_a_list_that_cannot_be_had_says_nothing() -> None:
    route("http://127.0.0.1:9/v1", "double")
    assert check_model_lists() == 0
    assert not OperatorAlert.objects.exists()
