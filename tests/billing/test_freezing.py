from uuid import uuid4

import pytest

from accounts.models import AuditEvent
from billing.freezing import freeze_wallet, unfreeze_wallet
from billing.models import Wallet
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
