"""A customer made by hand: person, organization, credit and key, or nothing at all."""

import pytest
from allauth.account.models import EmailAddress

from accounts.models import Organization, Reseller, User
from accounts.services import find_api_key
from billing.models import Grant
from billing.services import GrantRefused
from config.customers import ResellerUnknown, create_customer

pytestmark = pytest.mark.django_db


def test_a_customer_has_all_it_takes_to_call() -> None:
    made = create_customer(email=" New@Example.com", organization_name="Acme", credit_nano=5)
    person = User.objects.get(email="new@example.com")
    assert list(person.organizations.all()) == [made.organization]
    assert EmailAddress.objects.get(user=person).verified
    assert not person.has_usable_password()
    assert find_api_key(made.api_key).organization == made.organization
    assert (made.organization.name, made.wallet.posted) == ("Acme", 5)
    assert made.api_key not in repr(made)


def test_a_person_who_is_there_already_gets_another_organization() -> None:
    first, second = (create_customer(email="new@example.com") for _ in range(2))
    assert first.organization != second.organization
    assert User.objects.count() == 1


def test_without_credit_there_is_no_grant() -> None:
    assert create_customer(email="new@example.com").wallet.posted == 0
    assert not Grant.across_all_organizations.exists()


def test_a_reseller_is_named_by_its_slug() -> None:
    reseller = Reseller.objects.create(slug="other", name="Other")
    assert create_customer(email="a@example.com", reseller_slug="other").organization.reseller == reseller
    assert create_customer(email="b@example.com").organization.reseller.is_house


def test_what_is_refused_leaves_nothing_behind() -> None:
    with pytest.raises(ResellerUnknown):
        create_customer(email="new@example.com", reseller_slug="nobody")
    with pytest.raises(GrantRefused):
        create_customer(email="new@example.com", credit_nano=-5)
    assert not Organization.objects.exists()
    assert not User.objects.exists()
