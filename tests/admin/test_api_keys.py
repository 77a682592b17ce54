from django.test import Client
from django.urls import reverse

from accounts.models import APIKey, AuditEvent, User


def page(api_key: APIKey, name: str) -> str:
    return reverse(f"admin:accounts_apikey_{name}", args=[api_key.pk])


def is_revoked(api_key: APIKey) -> bool:
    found: APIKey = APIKey.across_all_organizations.get(pk=api_key.pk)
    return found.is_revoked


def test_keys_are_shown_masked(admin: Client, api_key: APIKey) -> None:
    assert api_key.masked in admin.get(page(api_key, "change")).content.decode()
    assert api_key.masked in admin.get(reverse("admin:accounts_apikey_changelist")).content.decode()


def test_revoking_asks_first(admin: Client, api_key: APIKey) -> None:
    assert admin.get(page(api_key, "revoke")).status_code == 200
    assert not is_revoked(api_key)


def test_an_operator_revokes_a_key(admin: Client, operator: User, api_key: APIKey) -> None:
    admin.post(page(api_key, "revoke"), REMOTE_ADDR="192.0.2.7")
    event = AuditEvent.objects.get(action="api_key.revoked")
    assert is_revoked(api_key)
    assert (event.actor, event.ip, event.organization) == (operator, "192.0.2.7", api_key.organization)


def test_chosen_keys_are_revoked_together(admin: Client, api_key: APIKey) -> None:
    chosen = {"action": "revoke_selected", "_selected_action": [api_key.pk]}
    admin.post(reverse("admin:accounts_apikey_changelist"), chosen)
    assert is_revoked(api_key)


def test_keys_are_not_made_changed_or_deleted_here(admin: Client, api_key: APIKey) -> None:
    assert admin.get(reverse("admin:accounts_apikey_add")).status_code == 403
    assert admin.post(page(api_key, "change"), {"name": "other"}).status_code == 403
    assert admin.post(page(api_key, "delete"), {"post": "yes"}).status_code == 403


def test_the_history_of_a_key_is_its_audit_trail(admin: Client, api_key: APIKey) -> None:
    admin.post(page(api_key, "revoke"))
    response = admin.get(page(api_key, "history"), follow=True)
    actions = [event.action for event in response.context["cl"].result_list]
    assert actions == ["api_key.revoked", "api_key.created"]


def test_lists_can_be_narrowed_to_keys_in_use(admin: Client, api_key: APIKey) -> None:
    address = reverse("admin:accounts_apikey_changelist")
    assert list(admin.get(address, {"state": "active"}).context["cl"].result_list) == [api_key]
    assert list(admin.get(address, {"state": "revoked"}).context["cl"].result_list) == []
