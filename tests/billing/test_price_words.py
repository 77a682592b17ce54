"""Prices in words: opening hours as people read them, receipts that name what decided, the list of prices."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import translation
from django.utils.html import strip_tags

from accounts.models import User
from billing.archive import make_usage_partitions
from billing.contracts import Window
from billing.models import PriceKind, PriceVersion, SettlementBatch, UsageRecord
from billing.price_shapes import Price
from billing.publishing import publish_price
from billing.selectors import TOKEN_CLASSES, Receipt, receipt_of
from billing.tariffs import complete_rates
from billing.templatetags.prices import hours
from common.ids import public_id, uuid7
from tests.factories.money import Payer, make_payer

pytestmark = pytest.mark.django_db
DOLLAR = 10**9
MILLION = 10**6
MODEL = "gpt-test"
NOW = datetime.now(UTC)


def window(days: str, begin: int, end: int) -> Window:
    return Window(frozenset(map(int, days)), begin, end, complete_rates({"input": 1, "output": 1}))


@pytest.mark.parametrize(
    ("windows", "words"),
    [
        ([window("0123456", 0, 1440)], "daily 00:00-24:00 UTC"),
        ([window("01234", 60, 240), window("01234", 360, 600)], "Mon-Fri 01:00-04:00, 06:00-10:00 UTC"),
        ([window("56", 0, 1440)], "Sat, Sun 00:00-24:00 UTC"),
        ([window("0124", 0, 60), window("6", 1, 2)], "Mon-Wed, Fri 00:00-01:00; Sun 00:01-00:02 UTC"),
        ([window("4", 1320, 360)], "Fri 22:00-06:00 (next day) UTC"),
        ([window("4", 1320, 0)], "Fri 22:00-24:00 UTC"),
    ],
)
def test_windows_are_said_as_opening_hours(windows: list[Window], words: str) -> None:
    assert hours(windows).replace("\N{EN DASH}", "-") == words


def test_days_have_the_names_of_the_page() -> None:
    with translation.override("zh-hans"):
        assert hours(window("4", 0, 60)).startswith("周五 ")


def rates(dollars: int) -> dict[str, int]:
    return {"input": dollars * DOLLAR, "output": dollars * DOLLAR}


PRICE = Price(
    rates(9),
    bands=[{"over_prompt_tokens": MILLION, "rates": rates(18)}],
    windows=[
        {
            "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
            "from_minute": 600,
            "to_minute": 660,
            "rates": rates(3),
            "bands": [{"over_prompt_tokens": MILLION, "rates": rates(6)}],
        }
    ],
    tiers=[{"tier": "flex", "rates": rates(4)}],
)


@pytest.fixture
def version() -> PriceVersion:
    published = publish_price(model=MODEL, kind=PriceKind.RETAIL, price=PRICE)
    assert published is not None
    return published


def receipt(version: PriceVersion, **facts: Any) -> Receipt:
    """Of a record as it is read: nothing else of it matters to its price."""
    tokens = {f"{name}_tokens": 0 for name in TOKEN_CLASSES}
    return receipt_of(UsageRecord(retail_version=version, **{**tokens, "service_tier": "", **facts}))


AT_TEN = NOW.replace(hour=10, minute=0, second=0, microsecond=0)


@pytest.mark.parametrize(
    ("facts", "dollars", "decided"),
    [
        ({}, 9, (False, "", None)),
        ({"input_tokens": MILLION + 1}, 18, (False, "", MILLION)),
        ({"started_at": AT_TEN}, 3, (True, "", None)),
        ({"started_at": AT_TEN + timedelta(hours=1)}, 9, (False, "", None)),
        ({"started_at": AT_TEN, "input_tokens": MILLION + 1}, 6, (True, "", MILLION)),
        ({"started_at": AT_TEN, "service_tier": "flex"}, 4, (False, "flex", None)),
        ({"service_tier": "priority"}, 9, (False, "", None)),
    ],
)
def test_a_receipt_names_the_window_tier_and_band_that_decided(
    version: PriceVersion, facts: dict[str, Any], dollars: int, decided: tuple[bool, str, int | None]
) -> None:
    given = {"started_at": AT_TEN - timedelta(hours=1), "input_tokens": MILLION, **facts}
    shown = receipt(version, **given)
    assert shown.lines[0].rate_nano == dollars * DOLLAR
    assert shown.price_nano == shown.sum_nano == given["input_tokens"] * dollars * 1000
    assert (shown.window is not None, shown.tier, shown.over_prompt_tokens) == decided


def test_the_page_of_a_receipt_says_so_in_words(version: PriceVersion, client: Client) -> None:
    make_usage_partitions()
    payer = make_payer()
    record = record_of(payer, version, started_at=AT_TEN, service_tier="priority")
    tiered = record_of(payer, version, started_at=AT_TEN, service_tier="flex")
    client.force_login(User.objects.get())
    pages = [
        strip_tags(client.get(reverse("receipt", args=[public_id("req", one.request_id)])).content.decode())
        for one in (record, tiered)
    ]
    pages = [" ".join(page.split()).replace("\N{EN DASH}", "-") for page in pages]
    assert "Time of day daily 10:00-11:00 UTC Service tier priority charged like the default" in pages[0]
    assert "Context band prompts over 1,000,000 tokens" in pages[0]
    assert "Service tier flex Tokens counted by" in pages[1]


def record_of(payer: Payer, version: PriceVersion, **facts: Any) -> UsageRecord:
    batch = SettlementBatch.objects.create(
        id=uuid7(), holder=uuid7(), created_at=NOW, records=1, charge_nano=1
    )
    record: UsageRecord = UsageRecord.across_all_organizations.create(
        request_id=uuid7(),
        batch=batch,
        organization=payer.organization,
        reseller_id=payer.organization.reseller_id,
        api_key=payer.api_key,
        retail_version=version,
        model=MODEL,
        channel="main",
        upstream_model="upstream",
        **{f"{name}_tokens": 0 for name in TOKEN_CLASSES if name != "input"},
        input_tokens=MILLION + 1,
        **dict.fromkeys(("charge_nano", "uncollected_nano", "cost_nano", "wholesale_nano"), 0),
        usage_source="reported",
        ending="complete",
        is_stream=False,
        ended_at=facts["started_at"],
        **facts,
    )
    return record
