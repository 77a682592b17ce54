from importlib import import_module
from uuid import uuid4

import pytest
from django.apps import apps

from accounts.models import AuditEvent
from billing.freezing import freeze_wallet, freezes_of, lift_freeze, unfreeze_wallet
from billing.models import FreezeCause, Wallet
from billing.operators import ReasonMissing
from tests.factories.money import lease, make_payer

pytestmark = pytest.mark.django_db


def test_no_credit_leaves_a_frozen_wallet() -> None:
    payer = make_payer(100)
    freeze_wallet(organization=payer.organization, reason="chargeback")
    assert payer.wallet.status == "frozen"
    assert lease(payer, uuid4(), 10)[0] == 0
    event = AuditEvent.objects.get(action="wallet.frozen")
    assert (event.before, event.after, event.reason) == (
        {"status": "active"},
        {"status": "frozen"},
        "chargeback",
    )


def test_unfreezing_opens_it_again() -> None:
    payer = make_payer(100)
    freeze_wallet(organization=payer.organization, reason="chargeback")
    unfreeze_wallet(organization=payer.organization, reason="won")
    assert payer.wallet.status == "active"
    assert lease(payer, uuid4(), 10)[0] == 10


def test_who_owes_stays_blocked() -> None:
    payer = make_payer()
    Wallet.objects.filter(pk=payer.organization.pk).update(receivable=5, status="blocked")
    freeze_wallet(organization=payer.organization, reason="chargeback")
    assert payer.wallet.status == "frozen"
    unfreeze_wallet(organization=payer.organization, reason="won")
    assert payer.wallet.status == "blocked"


def test_unfreezing_does_not_lift_a_block() -> None:
    payer = make_payer()
    Wallet.objects.filter(pk=payer.organization.pk).update(receivable=5, status="blocked")
    unfreeze_wallet(organization=payer.organization, reason="try")
    assert payer.wallet.status == "blocked"


def test_twice_is_once() -> None:
    payer = make_payer()
    for _ in range(2):
        freeze_wallet(organization=payer.organization, reason="chargeback")
    for _ in range(2):
        unfreeze_wallet(organization=payer.organization, reason="won")
    assert AuditEvent.objects.filter(action__in=["wallet.frozen", "wallet.unfrozen"]).count() == 2


def test_it_needs_a_reason() -> None:
    payer = make_payer()
    with pytest.raises(ReasonMissing):
        freeze_wallet(organization=payer.organization, reason=" ")
    assert payer.wallet.status == "active"


def test_each_cause_lifts_its_own_freeze_only() -> None:
    payer = make_payer()
    for subject in ("dp_1", "dp_2"):
        freeze_wallet(
            organization=payer.organization, reason="disputed", cause=FreezeCause.DISPUTE, subject=subject
        )
    for cause, subject, status in (
        (FreezeCause.FRAUD_WARNING, "dp_1", "frozen"),
        (FreezeCause.DISPUTE, "dp_1", "frozen"),
        (FreezeCause.DISPUTE, "dp_1", "frozen"),
        (FreezeCause.DISPUTE, "dp_2", "active"),
    ):
        lift_freeze(organization=payer.organization, cause=cause, subject=subject, reason="won")
        assert payer.wallet.status == status


def test_what_was_frozen_before_causes_were_kept_only_an_operator_opens() -> None:
    payer, other = make_payer(), make_payer()
    Wallet.objects.filter(pk=payer.organization.pk).update(status="frozen")
    import_module("billing.migrations.0014_freezes").keep_frozen(apps, None)
    assert [freeze.cause for freeze in freezes_of(payer.organization)] == [FreezeCause.OPERATOR]
    assert not freezes_of(other.organization).exists()
    freeze_wallet(organization=payer.organization, reason="r", cause=FreezeCause.DISPUTE, subject="dp_1")
    lift_freeze(
        organization=payer.organization, cause=FreezeCause.DISPUTE, subject="dp_1", reason="It is won"
    )
    assert payer.wallet.status == "frozen"
    unfreeze_wallet(organization=payer.organization, reason="seen to")
    assert payer.wallet.status == "active"
