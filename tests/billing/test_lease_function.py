"""`billing_lease_credit` and `billing_end_lease`: credit handed out is never handed out twice."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from billing.books import verify_books
from billing.models import Lease, Wallet, WalletStatus
from billing.services import reap_expired_leases
from tests.factories.money import end_lease, lease, make_payer, make_record, settle

pytestmark = pytest.mark.django_db


def test_a_lease_takes_a_fifth_at_most_of_what_is_wanted() -> None:
    payer = make_payer(1_000)
    assert lease(payer, uuid4(), need=10, want=900) == (200, 800)


def test_what_is_needed_is_always_granted_if_it_is_there() -> None:
    payer = make_payer(1_000)
    assert lease(payer, uuid4(), need=990, want=990) == (990, 10)


def test_too_much_is_refused_and_holds_nothing() -> None:
    payer = make_payer(1_000)
    assert lease(payer, uuid4(), need=1_001, want=0) == (0, 1_000)
    assert payer.wallet.pending == 0
    assert not Lease.objects.exists()


def test_asking_again_enlarges_the_one_open_lease() -> None:
    payer, holder = make_payer(1_000), uuid4()
    lease(payer, holder, 100)
    lease(payer, holder, 50)
    assert payer.lease(holder).granted == 150
    assert payer.wallet.pending == 150


def test_a_blocked_wallet_leases_nothing() -> None:
    payer = make_payer(1_000)
    Wallet.objects.filter(pk=payer.organization.pk).update(status=WalletStatus.BLOCKED)
    assert lease(payer, uuid4(), 1) == (0, 0)


def test_an_unknown_wallet_leases_nothing() -> None:
    payer = make_payer()
    payer.organization.pk = 999_999_999
    assert lease(payer, uuid4(), 1)[0] == 0


def test_ending_gives_back_what_was_not_spent() -> None:
    payer, holder = make_payer(1_000), uuid4()
    lease(payer, holder, 300)
    settle(holder, make_record(payer, 100))
    assert end_lease(payer, holder) == 200
    assert (payer.wallet.posted, payer.wallet.pending) == (900, 0)
    assert end_lease(payer, holder) == 0
    assert verify_books()["ok"]


def test_only_what_expired_is_reaped() -> None:
    payer, dead, alive = make_payer(1_000), uuid4(), uuid4()
    lease(payer, dead, 100, seconds=-60)
    lease(payer, alive, 100, seconds=60)
    reap_expired_leases()
    assert payer.wallet.pending == 100
    assert payer.lease(alive).granted == 100
    assert verify_books()["ok"]


def test_a_lease_that_was_renewed_meanwhile_is_not_reaped() -> None:
    payer, holder = make_payer(1_000), uuid4()
    lease(payer, holder, 100, seconds=60)
    assert end_lease(payer, holder, "reaped", datetime.now(UTC) - timedelta(seconds=5)) == 0
    assert payer.wallet.pending == 100


def test_a_charge_that_comes_after_reaping_takes_what_is_free() -> None:
    payer, holder = make_payer(1_000), uuid4()
    lease(payer, holder, 100, seconds=-60)
    reap_expired_leases()
    settle(holder, make_record(payer, 80))
    assert (payer.wallet.posted, payer.wallet.pending) == (920, 0)
    assert verify_books()["ok"]
