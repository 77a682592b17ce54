"""Credit granted once per fact, leases reaped by the database's clock, partitions that stand in no way."""

import threading
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import time_machine
from django.db import connection, transaction
from structlog.testing import capture_logs

from accounts.models import AuditEvent
from billing import services
from billing.books import verify_books
from billing.lots import CreditTooLarge
from billing.models import Grant
from billing.services import GrantRefused, grant_credit, make_usage_partitions, reap_expired_leases
from common.ids import uuid7_floor
from tests.factories.money import lease, make_payer, make_record, settle

pytestmark = pytest.mark.django_db
MAY_2041 = datetime(2041, 5, 10, tzinfo=UTC)


def test_a_grant_raises_the_balance_and_is_audited() -> None:
    payer = make_payer()
    grant = grant_credit(
        organization=payer.organization, amount_nano=7, reason="  welcome ", fact_key="f1", ip="192.0.2.1"
    )
    assert payer.wallet.posted == 7
    [event] = AuditEvent.objects.filter(action="wallet.credit_granted")
    assert (event.before, event.after) == ({"posted_nano": 0}, {"posted_nano": 7})
    assert (event.reason, event.subject) == ("welcome", f"billing.Grant:{grant.pk}")
    assert verify_books()["ok"]


def test_the_same_fact_again_is_the_first_grant() -> None:
    payer = make_payer()
    first, second = (
        grant_credit(organization=payer.organization, amount_nano=7, reason="r", fact_key="f1")
        for _ in range(2)
    )
    assert first == second
    assert payer.wallet.posted == 7


def test_a_fact_of_another_organization_is_refused() -> None:
    payer, other = make_payer(), make_payer()
    grant_credit(organization=payer.organization, amount_nano=7, reason="r", fact_key="f1")
    with pytest.raises(GrantRefused):
        grant_credit(organization=other.organization, amount_nano=7, reason="r", fact_key="f1")
    assert other.wallet.posted == 0


@pytest.mark.parametrize(
    ("amount", "reason", "param"), [(0, "r", "amount"), (-5, "r", "amount"), (5, " ", "reason")]
)
def test_a_grant_that_makes_no_sense_changes_nothing(amount: int, reason: str, param: str) -> None:
    payer = make_payer()
    with pytest.raises(GrantRefused) as refusal:
        grant_credit(organization=payer.organization, amount_nano=amount, reason=reason, fact_key="f1")
    assert refusal.value.param == param
    assert not Grant.across_all_organizations.exists()


def test_a_grant_beyond_what_a_wallet_holds_is_taken_back_whole() -> None:
    payer = make_payer(2**63 - 1)
    with pytest.raises(CreditTooLarge):
        grant_credit(organization=payer.organization, amount_nano=1, reason="r", fact_key="f1")
    assert Grant.across_all_organizations.count() == 1
    assert verify_books()["ok"]


def test_a_reaper_whose_clock_is_ahead_takes_no_living_lease() -> None:
    payer, holder = make_payer(1_000), uuid4()
    lease(payer, holder, 100)
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=1)):
        assert reap_expired_leases() == 0
    assert payer.lease(holder).granted == 100


def test_a_lease_is_reaped_only_after_its_grace() -> None:
    payer = make_payer(1_000)
    lease(payer, uuid4(), 100, seconds=-3)
    assert reap_expired_leases(grace_s=60) == 0
    assert reap_expired_leases(grace_s=2) == 1
    assert payer.wallet.pending == 0


def test_a_month_astray_keeps_no_other_month_from_its_partition() -> None:
    """A record that a wrong clock dated ahead lies in the default partition when its month comes."""
    payer = make_payer(1_000)
    settle(uuid4(), make_record(payer, 10, request_id=uuid7_floor(MAY_2041)))
    with capture_logs() as logs:
        made = make_usage_partitions(today=MAY_2041, months=1)
    assert made == ["billing_usagerecord_2041_06"]
    assert [entry["event"] for entry in logs] == ["usage_partition_not_made"]
    settle(uuid4(), make_record(payer, 10, request_id=uuid7_floor(MAY_2041 + timedelta(days=1))))
    assert payer.wallet.posted == 980


@pytest.mark.django_db(transaction=True)
def test_a_long_read_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charges would queue up behind the partition maker, and it behind the reader."""
    monkeypatch.setattr(services, "PARTITION_LOCK_MS", 200)
    is_reading, is_over = threading.Event(), threading.Event()

    def read_for_long() -> None:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM billing_usagerecord")
                is_reading.set()
                is_over.wait(20)
        finally:
            is_reading.set()
            connection.close()

    reader = threading.Thread(target=read_for_long)
    reader.start()
    assert is_reading.wait(10)
    assert make_usage_partitions(today=MAY_2041, months=0) == []
    is_over.set()
    reader.join(10)
    assert make_usage_partitions(today=MAY_2041, months=0) == ["billing_usagerecord_2041_05"]
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE billing_usagerecord_2041_05")


def test_with_partitions_ahead_the_default_one_stays_empty() -> None:
    make_usage_partitions()
    payer = make_payer(1_000)
    settle(uuid4(), make_record(payer, 10), make_record(payer, 10))
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM billing_usagerecord_default")
        assert cursor.fetchone() == (0,)
        cursor.execute("SELECT to_regclass(%s)", [f"billing_usagerecord_{_in_months(3):%Y_%m}"])
        assert cursor.fetchone() != (None,)


def _in_months(months: int) -> datetime:
    moment = datetime.now(UTC).replace(day=1)
    for _ in range(months):
        moment = (moment + timedelta(days=31)).replace(day=1)
    return moment
