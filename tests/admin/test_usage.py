from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.models import APIKey
from billing.models import PriceVersion, UsageRecord
from common.ids import public_id, uuid7_floor

LIST = "/admin/billing/usagerecord/"


def listed(admin: Client, **parameters: str) -> list[UsageRecord]:
    return list(admin.get(LIST, parameters).context["cl"].result_list)


def test_the_list_never_counts_the_table(admin: Client, usage: UsageRecord) -> None:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        admin.get(LIST)
        admin.get(LIST, {"_facets": "True"})
    asked = [query["sql"] for query in queries if "billing_usagerecord" in query["sql"]]
    assert asked
    assert not any("COUNT(" in sql for sql in asked)
    assert all('ORDER BY "billing_usagerecord"."request_id" DESC' in sql for sql in asked)


def test_an_order_without_an_index_is_not_offered(admin: Client, usage: UsageRecord) -> None:
    with CaptureQueriesContext(connection) as queries:
        admin.get(LIST, {"o": "1"})
    asked = [query["sql"] for query in queries if "billing_usagerecord" in query["sql"]]
    assert all('ORDER BY "billing_usagerecord"."request_id" DESC' in sql for sql in asked)


def test_days_bound_the_request_id(admin: Client, usage: UsageRecord) -> None:
    today = timezone.now().date()
    tomorrow = today + timedelta(days=1)
    assert listed(admin, started_at_from=f"{today}", started_at_to=f"{today}") == [usage]
    assert listed(admin, started_at_from=f"{tomorrow}") == []
    assert listed(admin, started_at_to=f"{today - timedelta(days=1)}") == []
    with CaptureQueriesContext(connection) as queries:
        listed(admin, started_at_from=f"{today}")
    [sql] = [query["sql"] for query in queries if "billing_usagerecord" in query["sql"]]
    start = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    assert f"\"request_id\" >= '{uuid7_floor(start).hex}'" in sql


@pytest.mark.parametrize("day", ["", "yesterday", "2026-13-45"])
def test_what_is_no_day_narrows_nothing(admin: Client, usage: UsageRecord, day: str) -> None:
    assert listed(admin, started_at_from=day) == [usage]


def test_a_request_is_found_by_its_id(admin: Client, usage: UsageRecord) -> None:
    assert listed(admin, q=public_id("req", usage.request_id)) == [usage]
    assert listed(admin, q=str(usage.request_id)) == [usage]
    assert listed(admin, q="req_unknown") == []


def test_the_page_of_a_record_shows_tokens_times_and_prices(admin: Client, usage: UsageRecord) -> None:
    page = admin.get(reverse("admin:billing_usagerecord_change", args=[usage.pk])).content.decode()
    assert public_id("req", usage.request_id) in page
    for text in ("1,490", "$0.0004525", "120 ms", "production"):
        assert text in page


def test_pages_go_on_without_a_count(
    admin: Client, usage: UsageRecord, api_key: APIKey, price: PriceVersion
) -> None:
    assert listed(admin, p="2") == []
