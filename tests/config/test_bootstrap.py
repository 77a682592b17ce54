"""The first start introduces an operator and a demo customer; every later one changes nothing."""

from dataclasses import replace

import pytest

from accounts.models import Organization, Reseller, User
from accounts.services import find_api_key
from billing.models import PriceVersion, Wallet
from config import bootstrap
from config.bootstrap import DEMO_CREDIT_NANO, OPERATOR_EMAIL, prepare
from config.env import ENV

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def embedded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "ENV", replace(ENV, database_url=None, catalog=None))


def test_the_first_start_introduces_an_operator_and_a_demo_customer() -> None:
    first = prepare()
    assert first is not None
    operator = User.objects.get(email=OPERATOR_EMAIL)
    assert operator.is_staff
    assert operator.check_password(first.operator_password)
    demo = find_api_key(first.demo_api_key).organization
    assert Wallet.objects.get(pk=demo.pk).posted == DEMO_CREDIT_NANO


def test_a_second_start_introduces_nobody_and_publishes_nothing() -> None:
    prepare()
    counts = [table.objects.count() for table in (User, Organization, Reseller, PriceVersion)]
    assert prepare() is None
    assert [table.objects.count() for table in (User, Organization, Reseller, PriceVersion)] == counts


def test_a_database_of_ones_own_gets_no_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "ENV", replace(ENV, database_url="postgresql://x", catalog=None))
    assert prepare() is None
    assert not User.objects.exists()
    assert Reseller.objects.get().is_house
