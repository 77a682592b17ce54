from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, Membership, Organization, Reseller, Role, User
from accounts.services import ensure_house_reseller
from billing.models import Grant, Wallet


def change(organization: Organization) -> str:
    return reverse("admin:accounts_organization_change", args=[organization.pk])


def memberships(organization: Organization) -> list[Membership]:
    rows = Membership.across_all_organizations.filter(organization=organization).order_by("pk")
    return list(rows)


def typed(*members: dict[str, Any], initial: int, name: str = "Acme") -> dict[str, Any]:
    form: dict[str, Any] = {
        "name": name,
        "membership_set-TOTAL_FORMS": str(len(members)),
        "membership_set-INITIAL_FORMS": str(initial),
    }
    for number, member in enumerate(members):
        form |= {f"membership_set-{number}-{field}": value for field, value in member.items()}
    return form


def as_typed(membership: Membership, **values: Any) -> dict[str, Any]:
    known = {"id": membership.pk, "user": membership.user_id, "role": membership.role}
    return {**known, "organization": membership.organization_id, **values}


@pytest.fixture
def other(db: None) -> User:
    return User.objects.create_user("other@example.com")


def test_a_new_organization_has_an_owner_and_a_wallet(admin: Client, operator: User, owner: User) -> None:
    house = ensure_house_reseller()
    admin.post(
        reverse("admin:accounts_organization_add"),
        {"name": "New", "reseller": house.pk, "owner": "OWNER@example.com"},
    )
    organization = Organization.objects.get(name="New")
    assert [(one.user, one.role) for one in memberships(organization)] == [(owner, Role.OWNER)]
    assert Wallet.objects.get(pk=organization.pk).posted == 0
    events = {event.action: event.actor for event in AuditEvent.objects.filter(organization=organization)}
    assert events == {"organization.created": operator, "membership.created": operator}


def test_the_owner_of_a_new_organization_must_have_an_account(admin: Client) -> None:
    house = ensure_house_reseller()
    response = admin.post(
        reverse("admin:accounts_organization_add"),
        {"name": "New", "reseller": house.pk, "owner": "nobody@example.com"},
    )
    assert response.context["adminform"].form.errors["owner"]
    assert not Organization.objects.exists()


def test_a_member_is_added(admin: Client, organization: Organization, other: User) -> None:
    [owner] = memberships(organization)
    new = {"user": other.pk, "role": "developer", "organization": organization.pk}
    admin.post(change(organization), typed(as_typed(owner), new, initial=1))
    assert [one.role for one in memberships(organization)] == ["owner", "developer"]
    event = AuditEvent.objects.get(action="membership.created")
    assert event.organization == organization


def test_nobody_is_a_member_twice(admin: Client, organization: Organization, owner: User) -> None:
    [membership] = memberships(organization)
    again = {"user": owner.pk, "role": "viewer", "organization": organization.pk}
    response = admin.post(change(organization), typed(as_typed(membership), again, initial=1))
    assert response.status_code == 200
    assert memberships(organization) == [membership]


def test_the_last_owner_stays(admin: Client, organization: Organization) -> None:
    [owner] = memberships(organization)
    for values in ({"role": "viewer"}, {"DELETE": "on"}):
        response = admin.post(change(organization), typed(as_typed(owner, **values), initial=1))
        assert response.status_code == 200
        assert [one.role for one in memberships(organization)] == ["owner"]


def test_a_new_name_is_audited(admin: Client, organization: Organization) -> None:
    [owner] = memberships(organization)
    admin.post(change(organization), typed(as_typed(owner), initial=1, name="Renamed"))
    event = AuditEvent.objects.get(action="organization.changed")
    assert (event.before, event.after) == ({"name": "Acme"}, {"name": "Renamed"})


def test_an_organization_keeps_its_reseller_and_is_not_deleted(
    admin: Client, organization: Organization
) -> None:
    other = Reseller.objects.create(slug="other", name="Other")
    [owner] = memberships(organization)
    admin.post(change(organization), {**typed(as_typed(owner), initial=1), "reseller": other.pk})
    organization.refresh_from_db()
    assert organization.reseller.is_house
    delete = reverse("admin:accounts_organization_delete", args=[organization.pk])
    assert admin.post(delete, {"post": "yes"}).status_code == 403


def test_the_list_shows_the_balance(admin: Client, grant: Grant) -> None:
    page = admin.get(reverse("admin:accounts_organization_changelist")).content.decode()
    assert 'title="5,000,000,000 nano-units">$5.00<' in page


@pytest.mark.parametrize("words", ["acm", "owner@example", "{pk}"])
def test_an_organization_is_found_by_name_member_or_number(
    admin: Client, organization: Organization, words: str
) -> None:
    address = reverse("admin:accounts_organization_changelist")
    response = admin.get(address, {"q": words.format(pk=organization.pk)})
    assert list(response.context["cl"].result_list) == [organization]


def test_the_history_of_an_organization_is_all_that_happened_to_it(
    admin: Client, organization: Organization, grant: Grant
) -> None:
    address = reverse("admin:accounts_organization_history", args=[organization.pk])
    response = admin.get(address, follow=True)
    actions = {event.action for event in response.context["cl"].result_list}
    assert actions == {"organization.created", "wallet.credit_granted"}


def test_users_are_offered_for_members_as_they_are_typed(
    admin: Client, organization: Organization, other: User
) -> None:
    response = admin.get(
        reverse("admin:autocomplete"),
        {"app_label": "accounts", "model_name": "membership", "field_name": "user", "term": "other@"},
    )
    assert [found["id"] for found in response.json()["results"]] == [str(other.pk)]


def test_a_reseller_keeps_its_slug(admin: Client, organization: Organization) -> None:
    house = organization.reseller
    admin.post(
        reverse("admin:accounts_reseller_change", args=[house.pk]), {"name": "House", "slug": "renamed"}
    )
    house.refresh_from_db()
    assert (house.name, house.slug) == ("House", "house")
