from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags

from accounts.models import AuditEvent, Reseller, User
from accounts.services import ensure_house_reseller
from billing.models import PriceKind, PriceVersion
from billing.tariffs import DAYS, load_tariff_book

DOLLAR = 10**9
ADD = "/admin/billing/priceversion/add/"


@pytest.fixture
def house(db: None) -> Reseller:
    return ensure_house_reseller()


def typed(house: Reseller, **values: Any) -> dict[str, Any]:
    form = {"reseller": house.pk, "model": "gpt-test", "kind": "retail", "input": "2.50", "output": "10"}
    return {**form, **values}


def test_prices_typed_in_usd_are_published_in_nano_units(
    admin: Client, operator: User, house: Reseller
) -> None:
    admin.post(ADD, typed(house, input="0.0375", cache_read="0.003750001"))
    version = PriceVersion.objects.get()
    assert (version.input, version.output, version.cache_read) == (37_500_000, 10 * DOLLAR, 3_750_001)
    assert (version.created_by, version.cache_write_5m) == (operator, None)


def test_publishing_is_audited(admin: Client, operator: User, house: Reseller) -> None:
    admin.post(ADD, typed(house), REMOTE_ADDR="192.0.2.7")
    event = AuditEvent.objects.get(action="price_version.created")
    assert (event.actor, event.ip, event.before) == (operator, "192.0.2.7", None)
    assert event.after is not None
    assert event.after["input"] == 2_500_000_000


def test_a_published_price_is_in_force_at_once(admin: Client, house: Reseller) -> None:
    admin.post(ADD, typed(house))
    found = load_tariff_book().find(house.pk, "gpt-test")
    assert found is not None
    assert found.retail.rates.input == 2_500_000_000


def test_context_bands_are_written_one_a_line(admin: Client, house: Reseller) -> None:
    bands = "400000: input 9, output 30\n200000: input 5.5, output 20, cache_read 0.5\n"
    admin.post(ADD, typed(house, bands=bands))
    assert PriceVersion.objects.get().bands == [
        {
            "over_prompt_tokens": 200_000,
            "rates": {"input": 5_500_000_000, "output": 20 * DOLLAR, "cache_read": 500_000_000},
        },
        {"over_prompt_tokens": 400_000, "rates": {"input": 9 * DOLLAR, "output": 30 * DOLLAR}},
    ]


@pytest.mark.parametrize(
    "bands",
    [
        "200000",
        "200000: input 5",
        "200000: input 5, output",
        "200000: input 5, output 7, other 9",
        "200000: input -5, output 7",
        "x: input 5, output 7",
        "200000: input 5, output 7\n200000: input 6, output 8",
    ],
)
def test_bands_that_cannot_be_read_are_refused(admin: Client, house: Reseller, bands: str) -> None:
    response = admin.post(ADD, typed(house, bands=bands))
    assert response.context["form"].errors["bands"]
    assert not PriceVersion.objects.exists()


@pytest.mark.parametrize("field", ["input", "output"])
def test_input_and_output_need_a_price(admin: Client, house: Reseller, field: str) -> None:
    response = admin.post(ADD, typed(house, **{field: ""}))
    assert response.context["form"].errors[field]
    assert not PriceVersion.objects.exists()


@pytest.mark.parametrize("amount", ["-1", "1e9", "free", "0.0000000001"])
def test_what_is_no_amount_is_refused(admin: Client, house: Reseller, amount: str) -> None:
    response = admin.post(ADD, typed(house, reasoning=amount))
    assert response.context["form"].errors["reasoning"]


def test_the_price_in_force_is_not_published_again(admin: Client, house: Reseller) -> None:
    admin.post(ADD, typed(house))
    response = admin.post(ADD, typed(house))
    assert response.context["form"].non_field_errors()
    assert PriceVersion.objects.count() == 1


def test_a_price_may_begin_later(admin: Client, house: Reseller) -> None:
    later = timezone.now() + timedelta(days=3)
    admin.post(ADD, typed(house, effective_from=later.strftime("%Y-%m-%dT%H:%M")))
    assert load_tariff_book().find(house.pk, "gpt-test") is None
    assert load_tariff_book(later).find(house.pk, "gpt-test") is not None


def test_requests_of_the_past_keep_their_price(admin: Client, house: Reseller) -> None:
    response = admin.post(ADD, typed(house, effective_from="2020-01-01T00:00"))
    assert response.context["form"].errors["effective_from"]


def test_two_prices_do_not_begin_at_the_same_moment(admin: Client, house: Reseller) -> None:
    later = (timezone.now() + timedelta(days=3)).strftime("%Y-%m-%dT%H:%M")
    admin.post(ADD, typed(house, effective_from=later))
    response = admin.post(ADD, typed(house, effective_from=later, input="3"))
    assert response.context["form"].errors["effective_from"]


def test_the_form_begins_with_the_price_it_is_to_replace(admin: Client, price: PriceVersion) -> None:
    link = reverse("admin:billing_priceversion_publish_next", args=[price.pk])
    form = admin.get(link, follow=True).context["form"]
    shown = {name: form[name].value() for name in ("model", "input", "cache_read", "bands")}
    assert shown == {
        "model": "gpt-test",
        "input": "2.5",
        "cache_read": "0.0375",
        "bands": "200000: input 5, output 20",
    }


PARTS = {
    "windows": "mon-fri 22:00-06:00: input 1.5, output 6\nmon-fri 22:00-06:00 over 1000: input 2, output 8",
    "tiers": "flex: input 1.25, output 5\nflex over 1000: input 2, output 6\npriority: input 5, output 20",
}


def test_windows_and_tiers_are_written_one_a_line(admin: Client, house: Reseller) -> None:
    admin.post(ADD, typed(house, **PARTS))
    version = PriceVersion.objects.get()
    [window] = version.windows
    assert (window["days"], window["from_minute"], window["to_minute"]) == (list(DAYS[:5]), 1320, 360)
    assert window["rates"] == {"input": 1_500_000_000, "output": 6 * DOLLAR}
    assert window["bands"] == [
        {"over_prompt_tokens": 1000, "rates": {"input": 2 * DOLLAR, "output": 8 * DOLLAR}}
    ]
    assert [tier["tier"] for tier in version.tiers] == ["flex", "priority"]
    assert [len(tier.get("bands", [])) for tier in version.tiers] == [1, 0]


def test_the_form_begins_with_windows_and_tiers_as_they_were_written(admin: Client, house: Reseller) -> None:
    admin.post(ADD, typed(house, **PARTS))
    form = admin.get(ADD, {"after": PriceVersion.objects.get().pk}).context["form"]
    assert {name: form[name].value() for name in PARTS} == PARTS


@pytest.mark.parametrize(
    ("field", "lines"),
    [
        ("windows", "mon-fri: input 1, output 2"),
        ("windows", "someday 10:00-12:00: input 1, output 2"),
        ("windows", "fri-mon 10:00-12:00: input 1, output 2"),
        ("windows", "mon 10:60-12:00: input 1, output 2"),
        ("windows", "mon 10:00-24:01: input 1, output 2"),
        ("windows", "mon 10:00-12:00: input 1"),
        ("windows", "mon 10:00-12:00 over 5: input 1, output 2"),
        ("tiers", "Flex: input 1, output 2"),
        ("tiers", "flex over many: input 1, output 2"),
        ("tiers", "flex over 5: input 1, output 2"),
        ("tiers", "input 1, output 2"),
    ],
)
def test_windows_and_tiers_that_cannot_be_read_are_refused(
    admin: Client, house: Reseller, field: str, lines: str
) -> None:
    response = admin.post(ADD, typed(house, **{field: lines}))
    assert "is not like" in str(response.context["form"].errors[field])
    assert not PriceVersion.objects.exists()


@pytest.mark.parametrize(
    ("field", "lines"),
    [("windows", "mon 10:00-10:00: input 1, output 2"), ("tiers", "flex: input 1, output 2\n" * 2)],
)
def test_parts_that_no_request_could_be_priced_by_are_refused(
    admin: Client, house: Reseller, field: str, lines: str
) -> None:
    assert admin.post(ADD, typed(house, **{field: lines})).context["form"].errors[field]
    assert not PriceVersion.objects.exists()


def test_the_page_of_a_price_says_all_of_it_in_words(admin: Client, house: Reseller) -> None:
    admin.post(ADD, typed(house, **PARTS, bands="200000: input 9, output 30"))
    version = PriceVersion.objects.get()
    admin.post(ADD, typed(house, input="3", effective_from="2090-01-01T00:00"))
    page = strip_tags(admin.get(_page_of(version)).content.decode()).replace("\N{EN DASH}", "-")
    for words in (
        "over 200,000 tokens: input $9.00, output $30.00",
        "Mon-Fri 22:00-06:00 (next day) UTC: input $1.50, output $6.00",
        "Mon-Fri 22:00-06:00 (next day) UTC, over 1,000 tokens: input $2.00, output $8.00",
        "flex: input $1.25, output $5.00",
        "flex, over 1,000 tokens: input $2.00, output $6.00",
        "from Jan 1, 2090, 00:00: input $3.00, output $10.00",
    ):
        assert words in page


def test_a_price_below_cost_asks_for_a_reason_and_takes_it(
    admin: Client, operator: User, house: Reseller
) -> None:
    admin.post(ADD, typed(house, kind="cost", input="3"))
    refused = admin.post(ADD, typed(house))
    [error] = refused.context["form"].errors["override_reason"]
    assert "gpt-test, input: the retail price of USD 2.5 is below the vendor cost of USD 3" in error
    assert PriceVersion.objects.count() == 1
    admin.post(ADD, typed(house, override_reason="Launch offer"), REMOTE_ADDR="192.0.2.7")
    version = PriceVersion.objects.get(kind=PriceKind.RETAIL)
    event = AuditEvent.objects.get(action="price_version.override")
    assert (event.actor, event.ip, event.reason) == (operator, "192.0.2.7", "Launch offer")
    assert "Launch offer" in admin.get(_page_of(version)).content.decode()


def test_a_slip_of_the_unit_is_refused_on_the_form(admin: Client, house: Reseller) -> None:
    admin.post(ADD, typed(house, kind="cost"))
    response = admin.post(ADD, typed(house, input="0.0000025", override_reason="Sure"))
    [error] = response.context["form"].non_field_errors()
    assert "not between a hundredth and a hundred times" in error


def _page_of(version: PriceVersion) -> str:
    return reverse("admin:billing_priceversion_change", args=[version.pk])


def test_lists_can_be_narrowed_to_what_is_in_force(admin: Client, house: Reseller) -> None:
    admin.post(ADD, typed(house))
    admin.post(ADD, typed(house, input="3"))
    admin.post(ADD, typed(house, input="4", effective_from="2090-01-01T00:00"))
    found = {
        state: [version.input // DOLLAR for version in _listed(admin, state)]
        for state in ("now", "later", "past")
    }
    assert found == {"now": [3], "later": [4], "past": [2]}


def _listed(admin: Client, state: str) -> list[PriceVersion]:
    response = admin.get(reverse("admin:billing_priceversion_changelist"), {"state": state})
    return list(response.context["cl"].result_list)
