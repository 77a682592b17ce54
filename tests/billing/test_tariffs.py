"""The price versions in force, as frozen tariffs: fallbacks, bands, resellers, moments."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import IntegrityError, connection
from django.utils import timezone

from accounts.models import Reseller
from accounts.services import ensure_house_reseller
from billing.contracts import TokenUsage
from billing.models import PriceKind, PriceVersion
from billing.price_shapes import Price
from billing.publishing import publish_price
from billing.tariffs import DAYS, complete_rates, load_tariff_book, price_recorded, tariff_of

pytestmark = pytest.mark.django_db
DOLLAR = 10**9
MODEL = "gpt-test"


def publish(
    kind: str = PriceKind.RETAIL,
    reseller: Reseller | None = None,
    effective_from: datetime | None = None,
    **rates: int,
) -> PriceVersion | None:
    return publish_price(
        model=MODEL,
        kind=kind,
        price=Price({"input": 0, "output": 0} | rates),
        reseller=reseller,
        effective_from=effective_from,
    )


def retail_input(reseller_id: int | None = None, moment: datetime | None = None) -> int | None:
    found = load_tariff_book(moment).find(reseller_id or ensure_house_reseller().pk, MODEL)
    return found.retail.rates.input if found else None


@pytest.fixture
def reseller() -> Reseller:
    ensure_house_reseller()
    return Reseller.objects.create(slug="other", name="Other")


def test_what_has_no_rate_of_its_own_costs_what_it_falls_back_to() -> None:
    rates = complete_rates({"input": 3, "output": 7, "cache_write_5m": 4})
    assert (rates.cache_read, rates.audio_input, rates.image_input) == (3, 3, 3)
    assert (rates.cache_write_5m, rates.cache_write_1h) == (4, 4)
    assert (rates.reasoning, rates.audio_output) == (7, 7)
    assert rates.per_request == 0


def test_a_rate_of_zero_is_a_price_and_no_gap() -> None:
    rates = complete_rates({"input": 3, "output": 7, "cache_read": 0, "reasoning": 0})
    assert (rates.cache_read, rates.reasoning) == (0, 0)


def test_a_band_names_its_rates_again_and_the_rest_follows_them() -> None:
    version = PriceVersion(
        pk=1,
        input=1,
        output=2,
        cache_read=0,
        per_request=9,
        bands=[
            {"over_prompt_tokens": 500, "rates": {"input": 30, "output": 40}},
            {"over_prompt_tokens": 100, "rates": {"input": 10, "output": 20, "cache_read": 5}},
        ],
    )
    bands = tariff_of(version).bands
    assert [band.over_prompt_tokens for band in bands] == [100, 500]
    assert [band.rates.cache_read for band in bands] == [5, 30]
    assert [band.rates.reasoning for band in bands] == [20, 40]
    assert [band.rates.per_request for band in bands] == [9, 9]


def test_a_reseller_without_a_price_sells_at_the_houses(reseller: Reseller) -> None:
    publish(input=1)
    assert retail_input(reseller.pk) == 1
    publish(reseller=reseller, input=2)
    assert (retail_input(reseller.pk), retail_input()) == (2, 1)


def test_a_resellers_price_is_nobody_elses(reseller: Reseller) -> None:
    publish(reseller=reseller, input=2)
    assert retail_input() is None


def test_a_cost_alone_makes_no_price() -> None:
    publish(PriceKind.COST, input=1)
    publish(PriceKind.WHOLESALE, input=1)
    assert retail_input() is None


def test_the_vendor_charges_the_house_whoever_sells(reseller: Reseller) -> None:
    publish(reseller=reseller, input=5)
    publish(PriceKind.COST, input=3)
    publish(PriceKind.COST, reseller=reseller, input=4)
    tariffs = load_tariff_book().find(reseller.pk, MODEL)
    assert tariffs is not None
    assert tariffs.cost is not None
    assert tariffs.cost.rates.input == 3


class TestByTheClock:
    """One book, loaded once, asked for different moments."""

    def test_a_scheduled_price_holds_from_its_own_instant_on(self) -> None:
        publish(input=1)
        later = timezone.now() + timedelta(hours=30)
        publish(input=2, effective_from=later)
        book, house = load_tariff_book(), ensure_house_reseller().pk
        moments = [later - timedelta(microseconds=1), later, later + timedelta(days=400)]
        found = [book.find(house, MODEL, moment) for moment in (*moments, moments[0])]
        assert [one.retail.rates.input for one in found if one] == [1, 2, 2, 1]

    def test_without_a_moment_the_clock_decides(self) -> None:
        publish(input=1)
        later = timezone.now() + timedelta(seconds=61)
        publish(input=2, effective_from=later)
        book, house = load_tariff_book(), ensure_house_reseller().pk
        with time_machine.travel(later - timedelta(milliseconds=1), tick=False) as clock:
            before = book.find(house, MODEL)
            clock.move_to(later)
            after = book.find(house, MODEL)
        assert [one.retail.rates.input for one in (before, after) if one] == [1, 2]

    def test_nothing_is_sold_before_the_first_price_begins(self) -> None:
        later = timezone.now() + timedelta(hours=1)
        publish(input=1, effective_from=later)
        book, house = load_tariff_book(), ensure_house_reseller().pk
        assert book.find(house, MODEL) is None
        assert book.find(house, MODEL, later) is not None

    def test_a_request_that_began_before_the_book_was_loaded_has_the_price_of_then(self) -> None:
        publish(input=1)
        began = timezone.now()
        publish(input=2)
        book, house = load_tariff_book(), ensure_house_reseller().pk
        found = [book.find(house, MODEL, moment) for moment in (began, None)]
        assert [one.retail.rates.input for one in found if one] == [1, 2]

    def test_cost_and_wholesale_change_by_the_clock_too(self, reseller: Reseller) -> None:
        later = timezone.now() + timedelta(hours=1)
        publish(input=9)
        for kind, rate in ((PriceKind.COST, 2), (PriceKind.WHOLESALE, 5)):
            publish(kind, input=rate)
            publish(kind, input=rate + 1, effective_from=later)
        book = load_tariff_book()
        found = [book.find(reseller.pk, MODEL, moment) for moment in (None, later)]
        tariffs = [(one.cost, one.wholesale) for one in found if one]
        assert [(c.rates.input, w.rates.input) for c, w in tariffs if c and w] == [(2, 5), (3, 6)]

    def test_windows_are_resolved_for_the_moment(self) -> None:
        hour = {"days": list(DAYS), "from_minute": 600, "to_minute": 660, "rates": {"input": 3, "output": 4}}
        price = Price({"input": 5, "output": 6}, windows=[hour])
        version = publish_price(model=MODEL, kind=PriceKind.RETAIL, price=price)
        assert version is not None
        book, house = load_tariff_book(), ensure_house_reseller().pk
        day = (timezone.now() + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        moments = [day + timedelta(minutes=600, microseconds=offset) for offset in (-1, 0)]
        moments += [day + timedelta(minutes=660, microseconds=offset) for offset in (-1, 0)]
        found = [book.find(house, MODEL, moment) for moment in moments]
        assert [one.retail.rates.input for one in found if one] == [5, 3, 3, 5]
        assert {one.retail.windows for one in found if one} == {()}
        usage = TokenUsage(input_tokens=10**6)
        assert [price_recorded(version, usage, moment) for moment in moments] == [5, 3, 3, 5]

    def test_an_ordinary_model_is_answered_with_the_same_object(self, reseller: Reseller) -> None:
        publish(input=1)
        book, house = load_tariff_book(timezone.now() + timedelta(days=1)), ensure_house_reseller().pk
        assert book.find(house, MODEL) is book.find(house, MODEL, timezone.now())

    def test_within_a_minute_a_window_is_worked_out_once(self) -> None:
        hour = {"days": list(DAYS), "from_minute": 600, "to_minute": 660, "rates": {"input": 3, "output": 4}}
        price = Price({"input": 5, "output": 6}, windows=[hour])
        publish_price(model=MODEL, kind=PriceKind.RETAIL, price=price)
        book, house = load_tariff_book(), ensure_house_reseller().pk
        moment = (timezone.now() + timedelta(days=1)).replace(second=10)
        assert book.find(house, MODEL, moment) is book.find(house, MODEL, moment + timedelta(seconds=40))

    def test_a_plan_says_what_holds_now_and_what_is_to_come(self) -> None:
        publish(input=1)
        publish(input=2)
        later = [timezone.now() + timedelta(days=days) for days in (1, 40)]
        for rate, moment in enumerate(later, 3):
            publish(input=rate, effective_from=moment)
        plan = load_tariff_book().plan(ensure_house_reseller().pk, MODEL)
        assert [one.tariffs.retail.rates.input for one in plan if one.tariffs] == [2, 3, 4]
        assert [one.since for one in plan[1:]] == later


class TestWholesale:
    def wholesale_input(self, reseller_id: int) -> int | None:
        found = load_tariff_book().find(reseller_id, MODEL)
        assert found is not None
        return found.wholesale.rates.input if found.wholesale else None

    def test_a_reseller_buys_at_its_own_price_else_at_the_houses(self, reseller: Reseller) -> None:
        publish(input=9)
        assert self.wholesale_input(reseller.pk) is None
        publish(PriceKind.WHOLESALE, input=5)
        assert self.wholesale_input(reseller.pk) == 5
        publish(PriceKind.WHOLESALE, reseller=reseller, input=4)
        assert self.wholesale_input(reseller.pk) == 4

    def test_the_house_buys_at_no_wholesale_price(self, reseller: Reseller) -> None:
        publish(input=9)
        publish(PriceKind.WHOLESALE, input=5)
        assert self.wholesale_input(ensure_house_reseller().pk) is None


def test_a_later_version_is_in_force_from_its_moment_on() -> None:
    publish(input=1)
    later = datetime.now(UTC) + timedelta(days=30)
    assert publish(input=2, effective_from=later) is not None
    assert retail_input() == 1
    assert retail_input(moment=later - timedelta(microseconds=1)) == 1
    assert retail_input(moment=later) == 2


def test_the_same_price_again_is_no_new_version() -> None:
    first = publish(input=1, cache_read=0)
    assert publish(input=1, cache_read=0) is None
    assert publish(input=1) is not None  # no rate is not a rate of zero
    assert first is not None


def test_a_price_goes_back_by_a_version_of_its_own() -> None:
    assert [publish(input=rate) is not None for rate in (1, 2, 1)] == [True, True, True]
    assert retail_input() == 1


def test_what_is_to_come_does_not_hide_what_is_the_same_now() -> None:
    publish(input=1)
    publish(input=2, effective_from=datetime.now(UTC) + timedelta(days=1))
    assert publish(input=1) is None
    assert publish(input=2) is not None


def test_bands_and_windows_make_a_version_another_one() -> None:
    rates = {"input": 1, "output": 2}
    band = {"over_prompt_tokens": 100, "rates": {"input": 2, "output": 4}}
    window = {"days": ["mon"], "from_minute": 0, "to_minute": 60, "rates": {"input": 0, "output": 1}}
    prices = [Price(rates), Price(rates, bands=[band]), Price(rates, windows=[window])]
    for price in prices:
        assert publish_price(model=MODEL, kind=PriceKind.RETAIL, price=price) is not None
        assert publish_price(model=MODEL, kind=PriceKind.RETAIL, price=price) is None


def test_kinds_and_resellers_have_prices_of_their_own(reseller: Reseller) -> None:
    assert publish(input=1) is not None
    assert publish(PriceKind.COST, input=1) is not None
    assert publish(reseller=reseller, input=1) is not None


def test_a_rate_below_zero_is_refused_by_the_database() -> None:
    with pytest.raises(IntegrityError, match="rates_not_negative"):
        publish(input=-1)


@pytest.mark.parametrize(
    "change", ["UPDATE billing_priceversion SET input = 0", "DELETE FROM billing_priceversion"]
)
def test_a_published_price_cannot_be_changed(change: str) -> None:
    publish(input=1)
    with pytest.raises(IntegrityError, match="append-only"), connection.cursor() as cursor:
        cursor.execute(change)


@pytest.mark.parametrize("rate", [-1, 1.5, "1"])
@pytest.mark.parametrize("column", ["bands", "windows", "tiers"])
def test_a_nested_rate_is_an_amount_to_the_database_too(column: str, rate: object) -> None:
    nested = [{"rates": {"input": 1}, "bands": [{"rates": {"input": rate}}]}]
    with pytest.raises(IntegrityError, match="nested_rates_are_amounts"):
        PriceVersion.objects.create(
            reseller=ensure_house_reseller(),
            model=MODEL,
            kind=PriceKind.RETAIL,
            effective_from=timezone.now(),
            input=1,
            output=1,
            **{column: nested},
        )
