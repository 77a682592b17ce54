"""What an amount buys: models the customer knows, and of each vendor one they could call."""

import pytest

from accounts.services import ensure_house_reseller
from billing.models import PriceKind
from billing.price_shapes import Price
from billing.publishing import publish_price
from relay.models import Channel, LifecycleState, Model, Route, Vendor
from relay.templatetags.examples import Example, what_it_buys

pytestmark = pytest.mark.django_db
DOLLAR = 10**9
MILLION = 10**6


@pytest.fixture(autouse=True)
def channel(db: None) -> Channel:
    made = Channel(name="main", vendor=Vendor.OPENAI, base_url="https://vendor.example/v1")
    made.set_api_keys(("vendor-secret-1",))
    made.save()
    return made


def offer(channel: Channel, name: str, owner: str, *, dollars: int, lifecycle: str = "active") -> None:
    model = Model.objects.create(
        name=name, owned_by=owner, context_window=1000, max_output_tokens=100, lifecycle=lifecycle
    )
    Route.objects.create(model=model, channel=channel, upstream_model=name)
    price = Price({"input": dollars * DOLLAR, "output": 2 * dollars * DOLLAR})
    publish_price(model=name, kind=PriceKind.RETAIL, price=price)


def bought(*used: str) -> list[str]:
    return [one.model for one in what_it_buys(20 * DOLLAR, ensure_house_reseller().pk, used)]


def test_an_amount_is_told_in_tokens(channel: Channel) -> None:
    offer(channel, "a", "Tests", dollars=5)
    assert what_it_buys(20 * DOLLAR, ensure_house_reseller().pk, []) == [
        Example("a", input_tokens=4 * MILLION, output_tokens=2 * MILLION)
    ]


def test_before_the_first_call_it_is_the_middle_one_of_each_vendor(channel: Channel) -> None:
    for name, dollars in (("large", 9), ("small", 1), ("middle", 4)):
        offer(channel, name, "Tests", dollars=dollars)
    offer(channel, "other", "Others", dollars=3)
    assert bought() == ["middle", "other"]


def test_what_was_used_comes_first_where_it_can_still_be_called(channel: Channel) -> None:
    for name, dollars in (("large", 9), ("small", 1), ("middle", 4)):
        offer(channel, name, "Tests", dollars=dollars)
    assert bought("gone", "small") == ["small", "middle"]


def test_what_costs_nothing_or_ends_soon_is_no_example(channel: Channel) -> None:
    offer(channel, "old", "Tests", dollars=1, lifecycle=LifecycleState.DEPRECATED)
    offer(channel, "free", "Others", dollars=0)
    assert bought() == []
