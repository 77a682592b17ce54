"""Credit granted once per fact, leases reaped by the database's clock."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import time_machine

from accounts.models import AuditEvent
from billing.books import verify_books
from billing.lots import CreditTooLarge
from billing.models import Grant
from billing.services import GrantRefused, grant_credit, reap_expired_leases
from tests.factories.money import lease, make_payer

pytestmark = pytest.mark.django_db


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
