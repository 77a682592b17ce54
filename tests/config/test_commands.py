"""The commands scripts rely on: what they print, and how they end."""

import json
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from accounts.models import APIKey, Organization
from accounts.services import create_api_key
from billing import aggregation
from billing.models import PriceVersion, UsageRollup
from common.ids import public_id, uuid7_floor
from relay.models import Channel
from tests.config.catalog_text import write_catalog
from tests.factories.money import lease, make_payer, make_record, settle

pytestmark = pytest.mark.django_db
EXPORTED = {
    "request_id", "organization", "api_key", "model", "channel", "upstream_model", "prompt_tokens",
    "completion_tokens", "input_tokens", "cache_read_tokens", "cache_write_5m_tokens",
    "cache_write_1h_tokens", "output_tokens", "reasoning_tokens", "charge_nano", "cost_nano",
    "usage_source", "ending", "started_at", "ended_at",
}  # fmt: skip


def output_of(*words: str) -> str:
    out = StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


def answer_of(*words: str) -> Any:
    return json.loads(output_of(*words))


def exported(*words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output_of("usage_export", *words).splitlines()]


def test_create_customer_prints_organization_key_and_wallet() -> None:
    made = answer_of("create_customer", "--email", "new@example.com", "--credit", "5.00")
    assert set(made) == {"organization", "api_key", "wallet"}
    assert Organization.objects.get(pk=made["organization"]).name == "new@example.com"
    assert made["api_key"].startswith("sk-")
    assert made["wallet"] == {
        "posted_nano": 5 * 10**9,
        "pending_nano": 0,
        "available_nano": 5 * 10**9,
        "currency": "USD",
    }


@pytest.mark.parametrize(
    "words",
    [("--credit", "free"), ("--credit", "-5"), ("--credit", "1e400"), ("--reseller", "nobody")],
)
def test_create_customer_refuses_in_one_line(words: tuple[str, ...]) -> None:
    with pytest.raises(CommandError) as refusal:
        output_of("create_customer", "--email", "new@example.com", *words)
    assert "\n" not in str(refusal.value)
    assert not Organization.objects.exists()


def test_wallet_prints_what_is_there_and_what_is_held() -> None:
    payer = make_payer(1_000)
    lease(payer, uuid4(), 300)
    assert answer_of("wallet", str(payer.organization.pk)) == {
        "posted_nano": 1_000,
        "pending_nano": 300,
        "available_nano": 700,
        "currency": "USD",
    }


@pytest.mark.parametrize("number", ["999999", "9" * 30])
def test_wallet_of_nobody_is_an_error(number: str) -> None:
    with pytest.raises(CommandError, match="no organization"):
        output_of("wallet", number)


def test_usage_export_has_the_agreed_fields() -> None:
    payer = make_payer(1_000)
    record = make_record(payer, 10, input_tokens=3, cache_read_tokens=4, output_tokens=5, reasoning_tokens=6)
    settle(uuid4(), record)
    [line] = exported()
    assert set(line) >= EXPORTED
    assert line["request_id"] == public_id("req", record["request_id"])
    assert (line["organization"], line["api_key"]) == (payer.organization.pk, payer.api_key.pk)
    assert (line["prompt_tokens"], line["completion_tokens"], line["charge_nano"]) == (7, 11, 10)
    assert datetime.fromisoformat(line["started_at"]) == record["started_at"]


def test_usage_export_is_ordered_and_filtered() -> None:
    first, second = make_payer(1_000), make_payer(1_000)
    then = datetime.now(UTC) - timedelta(days=2)
    old = make_record(first, 1, request_id=uuid7_floor(then), started_at=then)
    new = make_record(second, 2)
    settle(uuid4(), new, old)
    assert [line["charge_nano"] for line in exported()] == [1, 2]
    assert [line["charge_nano"] for line in exported("--organization", str(first.organization.pk))] == [1]
    yesterday = datetime.now(UTC) - timedelta(days=1)
    for since in (yesterday.isoformat(), f"{yesterday:%Y-%m-%d}"):
        assert [line["charge_nano"] for line in exported("--since", since)] == [2]
    assert len(exported("--since", "1960-01-01")) == 2


def test_usage_export_from_the_moment_of_a_record_on_has_the_record() -> None:
    """Its id was made before it started."""
    started = datetime.now(UTC)
    settle(
        uuid4(),
        make_record(
            make_payer(1_000),
            10,
            request_id=uuid7_floor(started - timedelta(seconds=3)),
            started_at=started,
        ),
    )
    assert len(exported("--since", started.isoformat())) == 1
    assert exported("--since", (started + timedelta(microseconds=1)).isoformat()) == []


@pytest.mark.parametrize("since", ["yesterday", "2026-13-01", "2026-01-01T99:00"])
def test_usage_export_refuses_what_is_no_time(since: str) -> None:
    with pytest.raises(CommandError, match="ISO 8601"):
        exported("--since", since)


def test_verify_books_is_content_with_balanced_books() -> None:
    settle(uuid4(), make_record(make_payer(1_000), 10))
    aggregation.aggregate_batches()
    report = answer_of("verify_books")
    assert report["ok"]
    assert report["totals"]["charged_nano"] == 10


@pytest.mark.parametrize(
    "change", ["UPDATE billing_usagerecord SET charge_nano = 9", "DELETE FROM billing_usagerecord"]
)
def test_verify_books_ends_with_1_and_prints_json_when_a_row_was_tampered_with(
    capsys: pytest.CaptureFixture[str], change: str
) -> None:
    settle(uuid4(), make_record(make_payer(1_000), 10))
    aggregation.aggregate_batches()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE billing_usagerecord DISABLE TRIGGER append_only")
        cursor.execute(change)
        cursor.execute("ALTER TABLE billing_usagerecord ENABLE TRIGGER append_only")
    with pytest.raises(SystemExit) as end:
        call_command("verify_books")
    assert end.value.code == 1
    report = json.loads(capsys.readouterr().out)
    broken = {check["name"] for check in report["checks"] if not check["ok"]}
    assert broken >= {"batches", "rollups", "usage_by_customer"}


def test_rebuild_rollups_ends_with_1_until_they_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    settle(uuid4(), make_record(make_payer(1_000), 10))
    aggregation.aggregate_batches()
    assert answer_of("rebuild_rollups")["ok"]
    UsageRollup.across_all_organizations.update(charge_nano=11)
    with pytest.raises(SystemExit) as end:
        call_command("rebuild_rollups")
    assert end.value.code == 1
    [difference] = json.loads(capsys.readouterr().out)["differences"]
    assert (difference["kept_charge_nano"], difference["staged_charge_nano"]) == (11, 10)
    assert answer_of("rebuild_rollups", "--write")["written"]
    assert answer_of("rebuild_rollups")["ok"]


def test_apply_catalog_tries_first_and_applies_once(tmp_path: Path) -> None:
    path = str(write_catalog(tmp_path))
    assert output_of("apply_catalog", path, "--dry-run").endswith("5 differences (dry run)\n")
    assert not Channel.objects.exists()
    assert not PriceVersion.objects.exists()
    assert output_of("apply_catalog", path).endswith("5 differences\n")
    assert output_of("apply_catalog", path) == "0 differences\n"


def test_apply_catalog_refuses_a_missing_file_in_words(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be read"):
        output_of("apply_catalog", str(tmp_path / "missing.toml"))


@pytest.mark.parametrize("named_by", ["key", "id", "key_id"])
def test_revoke_key_takes_the_key_or_its_id(named_by: str) -> None:
    made = create_api_key(organization=make_payer().organization, name="second")
    number = made.api_key.pk
    names = {"key": made.secret, "id": str(number), "key_id": f"key_{number}"}
    out = output_of("revoke_key", names[named_by])
    assert json.loads(out)["api_key"] == number
    assert made.secret not in out
    revoked = APIKey.across_all_organizations.exclude(revoked_at=None)
    assert [key.pk for key in revoked] == [number]


def test_revoke_key_of_an_unknown_key_is_an_error() -> None:
    with pytest.raises(CommandError, match="no such API key"):
        output_of("revoke_key", "sk-unknown")
