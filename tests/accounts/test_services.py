"""Use cases of accounts: what is written, what is audited, what is told to other processes."""

from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.db import IntegrityError, connection

from accounts.keys import digest_key
from accounts.models import APIKey, AuditEvent, Membership, Organization, Reseller, Role, User
from accounts.selectors import principal_for_digest
from accounts.services import (
    KeyUnknown,
    NameInvalid,
    create_api_key,
    create_operator,
    create_organization,
    ensure_house_reseller,
    find_api_key,
    rename_api_key,
    revoke_api_key,
)
from billing.models import Wallet
from tests.factories.money import make_payer

pytestmark = pytest.mark.django_db
KEYS = APIKey.across_all_organizations


@pytest.fixture
def owner() -> User:
    return User.objects.create_user("Owner@Example.com ")


@pytest.fixture
def notices(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What would have been announced once the transaction is durable; tests end before that."""
    told: list[tuple[str, ...]] = []
    monkeypatch.setattr("accounts.services.announce_on_commit", lambda *notice: told.append(notice))
    return told


def events(action: str) -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(action=action).order_by("pk"))


def test_addresses_are_kept_in_lower_case(owner: User) -> None:
    assert owner.email == "owner@example.com"
    with pytest.raises(IntegrityError):
        User.objects.create(email="OWNER@example.com")


def test_the_house_reseller_is_made_once() -> None:
    assert ensure_house_reseller() == ensure_house_reseller()
    assert list(Reseller.objects.values_list("slug", "is_house")) == [("house", True)]


def test_an_organization_has_an_owner_and_a_wallet_from_the_start(owner: User) -> None:
    organization = create_organization(owner=owner, name="  Acme  ", ip="192.0.2.1")
    [member] = Membership.across_all_organizations.filter(organization=organization)
    assert (organization.name, member.user, member.role) == ("Acme", owner, Role.OWNER)
    assert organization.reseller.is_house
    wallet = Wallet.objects.get(pk=organization.pk)
    assert (wallet.posted, wallet.pending, wallet.status, wallet.currency) == (0, 0, "active", "USD")
    [event] = events("organization.created")
    assert (event.actor, event.organization, event.ip) == (owner, organization, "192.0.2.1")


def test_every_way_of_making_an_organization_makes_a_wallet() -> None:
    house = ensure_house_reseller()
    Organization.objects.bulk_create([Organization(reseller=house, name=name) for name in "ab"])
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO accounts_organization (reseller_id, name, created_at) VALUES (%s, 'c', now())",
            [house.pk],
        )
    assert Wallet.objects.count() == Organization.objects.count() == 3


@pytest.mark.parametrize("name", ["", " ", "n" * 400])
def test_a_name_that_is_missing_or_too_long_makes_no_trouble(name: str) -> None:
    owner = User.objects.create_user("x" * 200 + "@example.com")
    assert 0 < len(create_organization(owner=owner, name=name).name) <= 150


def test_the_text_of_a_key_is_in_the_answer_and_nowhere_else(settings: Any, owner: User) -> None:
    organization = create_organization(owner=owner, name="Acme")
    made = create_api_key(organization=organization, name="  my \t key ", created_by=owner)
    row = KEYS.get(pk=made.api_key.pk)
    assert bytes(row.digest) == digest_key(made.secret, settings.KEY_PEPPER)
    assert (row.head, row.tail, row.name) == (made.secret[:7], made.secret[-4:], "my key")
    assert made.secret not in repr(made) + str(row) + str([event.after for event in AuditEvent.objects.all()])


@pytest.mark.parametrize("name", ["", " \n ", "n" * 101])
def test_a_key_needs_a_name_of_a_hundred_characters_at_most(name: str) -> None:
    payer = make_payer()
    with pytest.raises(NameInvalid) as refusal:
        create_api_key(organization=payer.organization, name=name)
    assert refusal.value.param == "name"
    with pytest.raises(NameInvalid):
        rename_api_key(api_key=payer.api_key, name=name)
    assert KEYS.filter(organization=payer.organization).count() == 1


def test_renaming_is_audited_with_both_names() -> None:
    key = make_payer().api_key
    assert rename_api_key(api_key=key, name="other").name == "other"
    [event] = events("api_key.renamed")
    assert (event.before, event.after) == ({"name": "test"}, {"name": "other"})


def test_a_revoked_key_has_no_principal_and_every_process_is_told(notices: list[tuple[str, ...]]) -> None:
    payer = make_payer()
    digest = bytes(payer.api_key.digest)
    principal = principal_for_digest(digest)
    assert principal is not None
    assert (principal.api_key_id, principal.organization_id) == (payer.api_key.pk, payer.organization.pk)
    revoke_api_key(api_key=payer.api_key)
    assert principal_for_digest(digest) is None
    assert notices == [("key", digest.hex())]


def test_revoking_twice_keeps_the_first_moment_and_tells_again(notices: list[tuple[str, ...]]) -> None:
    key = make_payer().api_key
    first = revoke_api_key(api_key=key).revoked_at
    assert revoke_api_key(api_key=key).revoked_at == first
    assert len(events("api_key.revoked")) == 1
    assert len(notices) == 2  # the first notice may have been lost


def test_a_key_is_found_by_its_text_and_by_its_id() -> None:
    organization = make_payer().organization
    made = create_api_key(organization=organization, name="second")
    for name in (made.secret, str(made.api_key.pk), f"key_{made.api_key.pk}"):
        assert find_api_key(name) == made.api_key


@pytest.mark.parametrize("name", ["", "key_", "sk-unknown", "999999999", "9" * 30, "key_-1", "key_sk-"])
def test_what_names_no_key_is_unknown(name: str) -> None:
    make_payer()
    with pytest.raises(KeyUnknown):
        find_api_key(name)


def test_an_operator_may_sign_in_at_once() -> None:
    operator, password = create_operator(email="Op@Example.com")
    assert operator.is_staff
    assert operator.check_password(password)
    assert EmailAddress.objects.get(user=operator).verified


@pytest.mark.parametrize(
    "change", ["DELETE FROM accounts_auditevent", "UPDATE accounts_auditevent SET reason = ''"]
)
def test_what_was_audited_cannot_be_changed(change: str) -> None:
    make_payer()
    with pytest.raises(IntegrityError, match="append-only"), connection.cursor() as cursor:
        cursor.execute(change)
