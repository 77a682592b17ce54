"""The price list: what a model costs now, at other hours, in other tiers, and from when on something else."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.utils import timezone

from accounts.models import Reseller
from accounts.services import ensure_house_reseller
from billing.models import PriceKind
from billing.price_shapes import Price
from billing.publishing import publish_price
from relay.models import Channel, Model, Route, Vendor
from relay.web.price_list import PricedModel, price_list

pytestmark = pytest.mark.django_db
DOLLAR = 10**9
MODEL = "gpt-test"
DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def rates(dollars: int) -> dict[str, int]:
    return {"input": dollars * DOLLAR, "output": dollars * DOLLAR}


def publish(price: Price, *, kind: str = PriceKind.RETAIL, since: datetime | None = None) -> None:
    publish_price(model=MODEL, kind=kind, price=price, effective_from=since)


@pytest.fixture(autouse=True)
def offered(db: None) -> None:
    channel = Channel(name="main", vendor=Vendor.OPENAI, base_url="https://vendor.example/v1")
    channel.set_api_keys(("vendor-secret-1",))
    channel.save()
    model = Model.objects.create(name=MODEL, owned_by="Tests", context_window=1000, max_output_tokens=100)
    Route.objects.create(model=model, channel=channel, upstream_model="gpt-test-1")


def listed() -> PricedModel:
    [(_owner, [model])] = price_list(ensure_house_reseller().pk)
    return model


def window(begin: int, end: int, dollars: int) -> dict[str, object]:
    return {"days": DAYS, "from_minute": begin, "to_minute": end, "rates": rates(dollars)}


def test_a_plain_price_is_one_line() -> None:
    publish(Price(rates(2)))
    model = listed()
    assert model.price.rates.input == 2 * DOLLAR
    assert model.variations == []


def test_hours_of_one_price_share_a_line_and_tiers_have_their_own() -> None:
    windows = [window(0, 60, 1), window(60, 90, 3), window(120, 180, 1)]
    publish(Price(rates(2), windows=windows, tiers=[{"tier": "flex", "rates": rates(1)}]))
    lines = listed().variations
    assert [line.rates.input // DOLLAR for line in lines] == [1, 3, 1]
    assert [[one.from_minute for one in line.windows] for line in lines] == [[0, 120], [60], []]
    assert [line.tier for line in lines] == ["", "", "flex"]


def test_the_hours_that_are_now_are_marked() -> None:
    publish(Price(rates(2), windows=[window(0, 720, 1), window(720, 1440, 3)]))
    tomorrow = (timezone.now() + timedelta(days=1)).replace(minute=0)
    shown = []
    for hour in (9, 15):
        with time_machine.travel(tomorrow.replace(hour=hour), tick=False):
            shown.append([line.is_open for line in listed().variations])
    assert shown == [[True, False], [False, True]]


def test_what_is_to_come_says_from_when_on() -> None:
    later = datetime(2090, 12, 1, tzinfo=UTC)
    publish(Price(rates(2)))
    publish(Price(rates(4), tiers=[{"tier": "flex", "rates": rates(1)}]), since=later)
    model = listed()
    assert model.price.since is None
    assert [(line.since, line.tier, line.rates.input // DOLLAR) for line in model.variations] == [
        (later, "", 4),
        (later, "flex", 1),
    ]


def test_what_others_pay_is_not_shown() -> None:
    publish(Price(rates(3)))
    publish(Price(rates(1)), kind=PriceKind.COST)
    publish(Price(rates(2)), kind=PriceKind.WHOLESALE)
    later = timezone.now() + timedelta(hours=5)
    publish(Price(rates(2)), kind=PriceKind.COST, since=later)
    publish(Price(rates(3)), kind=PriceKind.WHOLESALE, since=later)
    other = Reseller.objects.create(slug="other", name="Other")
    for reseller_id in (ensure_house_reseller().pk, other.pk):
        [(_owner, [model])] = price_list(reseller_id)
        assert (model.price.rates.input, model.variations) == (3 * DOLLAR, [])


def test_a_model_that_is_for_sale_later_only_is_not_listed() -> None:
    publish(Price(rates(3)), since=timezone.now() + timedelta(hours=5))
    assert price_list(ensure_house_reseller().pk) == []
