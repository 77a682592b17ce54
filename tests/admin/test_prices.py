from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEvent, Reseller, User
from accounts.services import ensure_house_reseller
from billing.models import PriceKind, PriceVersion
from billing.price_shapes import Price
from billing.publishing import publish_price
from billing.tariffs import load_tariff_book

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


def test_time_windows_are_not_lost_unnoticed(admin: Client, house: Reseller) -> None:
    window = {"days": ["mon"], "from_minute": 30, "to_minute": 510, "rates": {"input": DOLLAR}}
    price = Price(rates={"input": 2 * DOLLAR, "output": 3 * DOLLAR}, windows=[window])
    version = publish_price(model="gpt-test", kind=PriceKind.RETAIL, price=price)
    assert version is not None
    form = admin.get(ADD, {"after": version.pk}).content.decode()
    page = admin.get(reverse("admin:billing_priceversion_change", args=[version.pk])).content.decode()
    assert "Time windows are not carried over" in form
    assert "mon 00:30-08:30 UTC" in page


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
