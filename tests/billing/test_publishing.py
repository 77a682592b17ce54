"""Publication: versions come into force together or not at all, and never where somebody would lose money."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.models import AuditEvent, OperatorAlert, Reseller
from accounts.services import ensure_house_reseller
from billing.models import PriceKind, PriceVersion
from billing.price_rules import (
    PriceOutOfProportion,
    PriceOverlap,
    PriceRefused,
    PriceRetroactive,
    RetailBelowCost,
    RetailBelowWholesale,
    WholesaleBelowCost,
)
from billing.price_shapes import Price, PriceMalformed
from billing.publishing import Publication, publish_price, publish_prices

pytestmark = pytest.mark.django_db
MODEL = "gpt-test"
RETAIL, WHOLESALE, COST = PriceKind.RETAIL, PriceKind.WHOLESALE, PriceKind.COST
DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def nano(dollars: float) -> int:
    return round(dollars * 10**9)


def rates(**dollars: float) -> dict[str, int]:
    return {name: nano(value) for name, value in dollars.items()}


def price(both: float = 1, **parts: Any) -> Price:
    """Input and output at so many dollars; `parts` are more classes, or bands, windows, tiers."""
    lists = {name: parts.pop(name) for name in ("bands", "windows", "tiers") if name in parts}
    return Price(rates(**{"input": both, "output": both, **parts}), **lists)


def band(over: int, both: float) -> Mapping[str, Any]:
    return {"over_prompt_tokens": over, "rates": rates(input=both, output=both)}


def window(begin: int, end: int, both: float, **more: Any) -> Mapping[str, Any]:
    given = {"rates": rates(input=both, output=both), **more}
    return {"days": DAYS, "from_minute": begin, "to_minute": end, **given}


def tier(name: str, both: float, **more: Any) -> Mapping[str, Any]:
    return {"tier": name, "rates": rates(input=both, output=both), **more}


def publish(kind: str, given: Price, **options: Any) -> PriceVersion | None:
    return publish_price(model=MODEL, kind=kind, price=given, **options)


@pytest.fixture
def reseller() -> Reseller:
    ensure_house_reseller()
    return Reseller.objects.create(slug="other", name="Other")


@pytest.fixture
def tomorrow() -> datetime:
    return timezone.now() + timedelta(days=1)


class TestMoments:
    def test_a_price_cannot_begin_in_the_past(self) -> None:
        with pytest.raises(PriceRetroactive, match="gpt-test: a price cannot begin in the past") as caught:
            publish(RETAIL, price(), effective_from=timezone.now() - timedelta(minutes=2))
        assert (caught.value.code, caught.value.param) == ("price_retroactive", "effective_from")

    def test_a_now_of_a_moment_ago_is_now(self) -> None:
        asked = timezone.now() - timedelta(seconds=5)
        version = publish(RETAIL, price(), effective_from=asked)
        assert version is not None
        assert version.effective_from > asked

    def test_two_versions_do_not_begin_at_once(self, tomorrow: datetime) -> None:
        publish(RETAIL, price(1), effective_from=tomorrow)
        with pytest.raises(PriceOverlap, match="another Retail price from") as caught:
            publish(RETAIL, price(2), effective_from=tomorrow)
        assert caught.value.code == "price_overlap"
        assert publish(RETAIL, price(1), effective_from=tomorrow) is None

    def test_nor_do_two_of_one_set(self, tomorrow: datetime) -> None:
        with pytest.raises(PriceOverlap):
            publish_prices(
                [Publication(MODEL, RETAIL, price(one), effective_from=tomorrow) for one in (1, 2)]
            )
        assert not PriceVersion.objects.exists()

    def test_kinds_models_and_resellers_may_begin_at_once(
        self, reseller: Reseller, tomorrow: datetime
    ) -> None:
        wanted = [
            Publication(MODEL, COST, price(), effective_from=tomorrow),
            Publication(MODEL, RETAIL, price(), effective_from=tomorrow),
            Publication("another", RETAIL, price(), effective_from=tomorrow),
            Publication(MODEL, RETAIL, price(2), reseller, tomorrow),
        ]
        assert all(publish_prices(wanted))

    def test_a_set_may_say_now_and_later(self, tomorrow: datetime) -> None:
        wanted = [
            Publication(MODEL, RETAIL, price(2), effective_from=tomorrow),
            Publication(MODEL, RETAIL, price(1)),
            Publication(MODEL, RETAIL, price(2), effective_from=tomorrow + timedelta(days=1)),
        ]
        assert [version is None for version in publish_prices(wanted)] == [False, False, True]


class TestBelow:
    def test_retail_below_wholesale(self, reseller: Reseller) -> None:
        publish(WHOLESALE, price(2), reseller=reseller)
        with pytest.raises(RetailBelowWholesale) as caught:
            publish(RETAIL, price(2, output=1.5), reseller=reseller)
        assert caught.value.code == "retail_below_wholesale"
        assert caught.value.message.startswith(
            "gpt-test, output: the retail price of USD 1.5 is below the wholesale price of USD 2 (other, "
        )

    def test_no_reason_allows_it(self) -> None:
        publish(WHOLESALE, price(2))
        with pytest.raises(RetailBelowWholesale):
            publish(RETAIL, price(1), override_reason="Please")

    def test_wholesale_above_a_retail_price_that_stands(self, reseller: Reseller) -> None:
        publish(RETAIL, price(2), reseller=reseller)
        with pytest.raises(RetailBelowWholesale):
            publish(WHOLESALE, price(3), reseller=reseller)

    def test_the_houses_price_counts_for_a_reseller_without_its_own(self, reseller: Reseller) -> None:
        publish(RETAIL, price(2))
        with pytest.raises(RetailBelowWholesale):
            publish(WHOLESALE, price(3), reseller=reseller)
        publish(RETAIL, price(4), reseller=reseller)
        assert publish(WHOLESALE, price(3), reseller=reseller) is not None
        with pytest.raises(RetailBelowWholesale):
            publish(WHOLESALE, price(2.5))

    @pytest.mark.parametrize(
        ("kind", "refusal", "code"),
        [
            (RETAIL, RetailBelowCost, "retail_below_cost"),
            (WHOLESALE, WholesaleBelowCost, "wholesale_below_cost"),
        ],
    )
    def test_below_cost_without_a_reason(self, kind: str, refusal: type[PriceRefused], code: str) -> None:
        publish(COST, price(2, cache_read=0.5))
        with pytest.raises(refusal) as caught:
            publish(kind, price(3, cache_read=0.4))
        assert (caught.value.code, caught.value.param) == (code, "override_reason")
        assert "cache_read" in caught.value.message
        assert "USD 0.4 is below the vendor cost of USD 0.5" in caught.value.message

    @pytest.mark.parametrize("kind", [RETAIL, WHOLESALE])
    def test_a_reason_allows_it_and_is_kept_and_audited(self, kind: str) -> None:
        publish(COST, price(2))
        version = publish(kind, price(1), override_reason=" Launch offer ")
        assert version is not None
        assert version.override_reason == "Launch offer"
        event = AuditEvent.objects.get(action="price_version.override")
        assert (event.reason, event.subject) == ("Launch offer", f"billing.PriceVersion:{version.pk}")

    def test_what_falls_back_is_compared_as_what_it_costs(self) -> None:
        publish(COST, price(2))
        with pytest.raises(RetailBelowCost, match="cache_write_5m"):
            publish(RETAIL, price(3, cache_write_5m=1))
        publish(COST, price(2, cache_write_1h=3.5))
        with pytest.raises(RetailBelowCost, match=r"cache_write_1h: .* USD 3 is below .* USD 3\.5"):
            publish(RETAIL, price(3))

    def test_the_price_of_a_request_counts_too(self) -> None:
        publish(COST, price(2, per_request=0.01))
        with pytest.raises(RetailBelowCost, match="per_request"):
            publish(RETAIL, price(2))

    @pytest.mark.parametrize(
        ("cost", "retail", "where"),
        [
            (price(1, bands=[band(1000, 3)]), price(2), "prompts of 1,001 tokens"),
            (price(1, bands=[band(1000, 3)]), price(2, bands=[band(1001, 3)]), "prompts of 1,001 tokens"),
            (price(2), price(2, bands=[band(1000, 1)]), "prompts of 1,001 tokens"),
            (price(1, tiers=[tier("priority", 3)]), price(2), "service tier priority"),
            (price(2), price(2, tiers=[tier("flex", 1)]), "service tier flex"),
            (price(1, windows=[window(600, 660, 3)]), price(2), "Mon 10:00 UTC"),
            (price(2), price(2, windows=[window(600, 660, 1)]), "Mon 10:00 UTC"),
            (
                price(1, windows=[window(600, 660, 3)]),
                price(1, windows=[window(600, 659, 3)]),
                "Mon 10:59 UTC",
            ),
            (
                price(2),
                price(2, windows=[window(1380, 60, 2, bands=[band(5, 1)])]),
                "prompts of 6 tokens, Mon",
            ),
            (
                price(1, tiers=[tier("flex", 1, bands=[band(9, 2)])]),
                price(1, tiers=[tier("flex", 1, bands=[band(10, 2)])]),
                "service tier flex, prompts of 10 tokens",
            ),
        ],
    )
    def test_wherever_a_request_may_land(self, cost: Price, retail: Price, where: str) -> None:
        publish(COST, cost)
        with pytest.raises(RetailBelowCost) as caught:
            publish(RETAIL, retail)
        assert where in caught.value.message

    def test_equal_prices_go_together_in_all_their_parts(self) -> None:
        parts = price(
            2, bands=[band(10, 3)], windows=[window(1380, 60, 1, bands=[band(5, 2)])], tiers=[tier("flex", 1)]
        )
        wanted = [Publication(MODEL, kind, parts) for kind in (RETAIL, WHOLESALE, COST)]
        assert all(publish_prices(wanted))


class TestLater:
    def test_what_is_scheduled_counts_from_its_moment_on(self, tomorrow: datetime) -> None:
        publish(RETAIL, price(2))
        publish(WHOLESALE, price(1))
        publish(RETAIL, price(4), effective_from=tomorrow)
        with pytest.raises(RetailBelowWholesale):
            publish(WHOLESALE, price(3))
        later = publish(WHOLESALE, price(3), effective_from=tomorrow)
        assert later is not None

    def test_a_price_must_bear_a_cost_to_come(self, tomorrow: datetime) -> None:
        publish(COST, price(1))
        publish(COST, price(3), effective_from=tomorrow)
        with pytest.raises(RetailBelowCost, match=f"{tomorrow:%Y-%m-%d %H:%M} UTC"):
            publish(RETAIL, price(2))
        wanted = [
            Publication(MODEL, RETAIL, price(2)),
            Publication(MODEL, RETAIL, price(3), effective_from=tomorrow),
        ]
        assert all(publish_prices(wanted))


class TestProportion:
    @pytest.mark.parametrize("retail", [200.000000001, 0.019999999, 0.000002, 2_000_000, 0])
    @pytest.mark.parametrize("kind", [RETAIL, WHOLESALE])
    def test_a_hundred_times_cost_is_a_slip_and_no_reason_allows_it(self, kind: str, retail: float) -> None:
        publish(COST, price(2))
        with pytest.raises(PriceOutOfProportion) as caught:
            publish(kind, price(2, cache_read=retail), override_reason="Really")
        assert caught.value.code == "price_out_of_proportion"
        assert "gpt-test, cache_read" in caught.value.message
        assert "vendor cost of USD 2" in caught.value.message

    @pytest.mark.parametrize("retail", [200, 0.02])
    def test_just_a_hundred_times_is_possible(self, retail: float) -> None:
        publish(COST, price(2))
        assert publish(RETAIL, price(2, cache_read=retail), override_reason="Really") is not None

    def test_a_class_that_costs_nothing_may_have_any_price(self) -> None:
        publish(COST, price(2, cache_write_5m=0))
        assert publish(RETAIL, price(2, per_request=1)) is not None

    @pytest.mark.parametrize("cost", [0.000002, 2_000_000])
    def test_a_cost_typed_per_token_is_refused_as_well(self, cost: float) -> None:
        publish(RETAIL, price(2))
        with pytest.raises(PriceOutOfProportion):
            publish(COST, price(cost))
        assert not OperatorAlert.objects.exists()


class TestDearCosts:
    def test_a_cost_above_the_price_is_written_down_and_told(self) -> None:
        publish(RETAIL, price(2))
        assert publish(COST, price(1)) is not None
        assert not OperatorAlert.objects.exists()
        assert publish(COST, price(3)) is not None
        alert = OperatorAlert.objects.get()
        assert (alert.kind, alert.subject) == ("cost_above_price", MODEL)
        assert alert.message.startswith(
            "gpt-test, input: the retail price of USD 2 is below the vendor cost of USD 3 ("
        )

    def test_it_names_the_reseller_that_would_lose(self, reseller: Reseller) -> None:
        publish(RETAIL, price(4))
        publish(RETAIL, price(2), reseller=reseller)
        publish(COST, price(3))
        assert [alert.subject for alert in OperatorAlert.objects.all()] == ["gpt-test other"]

    def test_all_there_is_to_say_of_a_model_is_one_alert(self, tomorrow: datetime) -> None:
        publish(RETAIL, price(2))
        publish(WHOLESALE, price(2))
        publish(RETAIL, price(2.5), effective_from=tomorrow)
        publish(COST, price(3))
        alert = OperatorAlert.objects.get()
        assert alert.count == 1
        lines = alert.message.splitlines()
        assert [line.partition(" of USD ")[2].split()[0] for line in lines] == ["2", "2", "2.5"]

    def test_a_cost_to_come_is_told_of_before_it_comes(self, tomorrow: datetime) -> None:
        publish(RETAIL, price(2))
        publish(COST, price(3), effective_from=tomorrow)
        assert f"{tomorrow:%Y-%m-%d %H:%M} UTC" in OperatorAlert.objects.get().message

    def test_a_price_that_is_not_touched_is_not_judged_again(self) -> None:
        publish(RETAIL, price(2))
        publish(COST, price(3))
        assert publish(WHOLESALE, price(2), override_reason="As before") is not None


class TestSets:
    def test_price_and_cost_may_rise_together_in_any_order(self) -> None:
        for kinds in ((COST, WHOLESALE, RETAIL), (RETAIL, WHOLESALE, COST)):
            for amount in (1, 50, 2):
                assert all(publish_prices([Publication(MODEL, kind, price(amount)) for kind in kinds]))
        assert not OperatorAlert.objects.exists()

    def test_one_refusal_refuses_all(self) -> None:
        wanted = [
            Publication("good", RETAIL, price(2)),
            Publication(MODEL, COST, price(2)),
            Publication(MODEL, RETAIL, price(1)),
        ]
        with pytest.raises(RetailBelowCost):
            publish_prices(wanted)
        assert not PriceVersion.objects.exists()

    def test_what_says_the_same_is_left_out(self) -> None:
        publish(COST, price(1))
        versions = publish_prices([Publication(MODEL, COST, price(1)), Publication(MODEL, RETAIL, price(1))])
        assert [version is None for version in versions] == [True, False]

    def test_nothing_to_publish_is_nothing(self) -> None:
        assert publish_prices([]) == []

    @given(st.data())
    @settings(max_examples=25, deadline=None)
    def test_what_is_published_keeps_the_order_of_prices_at_all_times(self, data: st.DataObject) -> None:
        """Whatever is tried: afterwards nobody sells below wholesale, at any moment now or later."""
        now = timezone.now()
        for _ in range(4):
            amount = data.draw(st.integers(1, 9))
            kind = data.draw(st.sampled_from((RETAIL, WHOLESALE)))
            moment = now + timedelta(days=data.draw(st.integers(1, 4)))
            try:
                publish_price(model=f"m{id(data)}", kind=kind, price=price(amount), effective_from=moment)
            except PriceRefused:
                continue
        versions = PriceVersion.objects.filter(model=f"m{id(data)}").order_by("effective_from")
        standing: dict[str, int] = {}
        for version in versions:
            standing[version.kind] = version.input
            at_once = versions.filter(effective_from=version.effective_from)
            standing |= {one.kind: one.input for one in at_once}
            if len(standing) == 2:
                assert standing[RETAIL] >= standing[WHOLESALE]


class TestShape:
    @pytest.mark.parametrize(
        "parts",
        [
            {"bands": [{"over_prompt_tokens": 0, "rates": {"input": 1}}]},
            {"bands": [{"over_prompt_tokens": 5, "rates": {"input": -1}}]},
            {"bands": [{"over_prompt_tokens": 5, "rates": {"inputs": 1}}]},
            {"bands": [{"over_prompt_tokens": 5, "rates": {"input": 1.5}}]},
            {"bands": [{"over_prompt_tokens": 5, "rates": {}}] * 2},
            {"windows": [{"days": [], "from_minute": 0, "to_minute": 5, "rates": {}}]},
            {"windows": [{"days": ["someday"], "from_minute": 0, "to_minute": 5, "rates": {}}]},
            {"windows": [{"days": ["mon"], "from_minute": 5, "to_minute": 5, "rates": {}}]},
            {"windows": [{"days": ["mon"], "from_minute": 1440, "to_minute": 5, "rates": {}}]},
            {"windows": [{"days": ["mon"], "from_minute": 0, "to_minute": 1441, "rates": {}}]},
            {"tiers": [{"tier": "", "rates": {}}]},
            {"tiers": [{"tier": "flex", "rates": {}}] * 2},
            {"tiers": [{"tier": "x" * 21, "rates": {}}]},
        ],
    )
    def test_what_no_request_could_be_priced_by_is_no_price(self, parts: dict[str, Any]) -> None:
        with pytest.raises(PriceMalformed):
            Price({"input": 1, "output": 1}, **parts)

    def test_an_unknown_class_is_not_dropped_silently(self) -> None:
        with pytest.raises(PriceMalformed, match="cached"):
            Price({"input": 1, "output": 1, "cached": 1})
