"""The list of calls: tokens that the vendor did not count are marked."""

import pytest
from allauth.account.models import EmailAddress
from django.test import Client
from django.urls import reverse

from accounts.models import Membership, Role, User
from tests.factories.credit import arrive, spend
from tests.factories.money import Payer, make_payer, make_price

pytestmark = pytest.mark.django_db


@pytest.fixture
def payer() -> Payer:
    return make_payer()


@pytest.fixture
def member(client: Client, payer: Payer) -> Client:
    user = User.objects.create_user("viewer@example.com")
    EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=True)
    Membership.across_all_organizations.create(organization=payer.organization, user=user, role=Role.VIEWER)
    client.force_login(user)
    return client


@pytest.mark.parametrize(
    ("source", "mark"), [("estimated", "Estimated"), ("clamped", "Corrected"), ("reported", None)]
)
def test_what_we_counted_ourselves_is_marked(
    member: Client, payer: Payer, source: str, mark: str | None
) -> None:
    arrive(payer, 1_000)
    spend(payer, 5, retail_version_id=make_price().pk, usage_source=source)
    text = member.get(reverse("usage")).content.decode()
    assert [word for word in ("Estimated", "Corrected") if word in text] == ([mark] if mark else [])
