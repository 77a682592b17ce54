from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, Organization, User

PASSWORD = "correct-horse-battery"
NO_ADDRESSES = {"emailaddress_set-TOTAL_FORMS": "0", "emailaddress_set-INITIAL_FORMS": "0"}


def change(user: User) -> str:
    return reverse("admin:accounts_user_change", args=[user.pk])


def new_user(email: str) -> dict[str, str]:
    passwords = {"usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}
    return {"email": email, "name": "New", **passwords}


def test_a_user_is_added_with_the_address_in_lower_case(admin: Client) -> None:
    admin.post(reverse("admin:accounts_user_add"), new_user("New@Example.com"))
    user = User.objects.get(email="new@example.com")
    assert user.check_password(PASSWORD)
    assert not user.is_staff


def test_an_address_is_taken_in_any_case(admin: Client, owner: User) -> None:
    response = admin.post(reverse("admin:accounts_user_add"), new_user("OWNER@example.com"))
    assert response.context["adminform"].form.errors["email"]


def test_the_audit_trail_does_not_hold_passwords(admin: Client) -> None:
    admin.post(reverse("admin:accounts_user_add"), new_user("new@example.com"))
    event = AuditEvent.objects.get(action="user.created")
    assert event.after is not None
    assert event.after["password"] == "•••"


def test_a_password_is_changed_and_the_change_audited(admin: Client, operator: User, owner: User) -> None:
    form = {"usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}
    admin.post(f"/admin/accounts/user/{owner.pk}/password/", form, REMOTE_ADDR="192.0.2.7")
    owner.refresh_from_db()
    event = AuditEvent.objects.get(action="user.changed")
    assert owner.check_password(PASSWORD)
    assert (event.actor, event.ip) == (operator, "192.0.2.7")
    assert (event.before, event.after) == ({"password": "•••"}, {"password": "•••"})


def test_a_password_that_is_too_easy_is_refused(admin: Client, owner: User) -> None:
    form = {"usable_password": "true", "password1": "123", "password2": "123"}
    admin.post(f"/admin/accounts/user/{owner.pk}/password/", form)
    owner.refresh_from_db()
    assert owner.check_password("owner-password")


def test_a_user_is_made_an_operator(admin: Client, owner: User) -> None:
    admin.post(change(owner), {**NO_ADDRESSES, "name": "", "is_active": "on", "is_staff": "on"})
    event = AuditEvent.objects.get(action="user.changed")
    assert (event.before, event.after) == ({"is_staff": False}, {"is_staff": True})


def test_operators_do_not_shut_themselves_out(admin: Client, operator: User) -> None:
    admin.post(change(operator), {**NO_ADDRESSES, "name": "Me"})
    operator.refresh_from_db()
    assert (operator.name, operator.is_active, operator.is_staff) == ("Me", True, True)


def test_the_address_of_a_user_stays(admin: Client, owner: User) -> None:
    admin.post(change(owner), {**NO_ADDRESSES, "email": "other@example.com", "is_active": "on"})
    owner.refresh_from_db()
    assert owner.email == "owner@example.com"


def test_users_are_not_deleted(admin: Client, owner: User) -> None:
    delete = reverse("admin:accounts_user_delete", args=[owner.pk])
    assert admin.post(delete, {"post": "yes"}).status_code == 403


def test_an_operator_vouches_for_an_address(admin: Client, owner: User) -> None:
    address = EmailAddress.objects.create(user=owner, email=owner.email, primary=True)
    form: dict[str, Any] = {
        "name": "",
        "is_active": "on",
        "emailaddress_set-TOTAL_FORMS": "1",
        "emailaddress_set-INITIAL_FORMS": "1",
        "emailaddress_set-0-id": address.pk,
        "emailaddress_set-0-user": owner.pk,
        "emailaddress_set-0-verified": "on",
    }
    admin.post(change(owner), form)
    address.refresh_from_db()
    event = AuditEvent.objects.get(action="email_address.changed")
    assert (address.verified, event.after) == (True, {"verified": True})


@pytest.mark.parametrize("words", ["owner@ex", "acme"])
def test_a_user_is_found_by_address_or_organization(
    admin: Client, organization: Organization, words: str
) -> None:
    response = admin.get(reverse("admin:accounts_user_changelist"), {"q": words})
    assert [user.email for user in response.context["cl"].result_list] == ["owner@example.com"]
    assert "Acme" in response.content.decode()
