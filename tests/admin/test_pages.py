"""Every page of the site opens for operators, whoever the rows belong to, and for nobody else."""

from typing import Any

import pytest
from django.contrib import admin as django_admin
from django.test import Client
from django.urls import reverse

from accounts.models import APIKey, Organization, User
from billing.models import UsageRecord

REGISTERED = sorted(django_admin.site._registry, key=lambda kind: kind._meta.label)
each_class = pytest.mark.parametrize("kind", REGISTERED, ids=lambda kind: kind._meta.label)


def address(kind: type[Any], page: str, *args: object) -> str:
    return reverse(f"admin:{kind._meta.app_label}_{kind._meta.model_name}_{page}", args=args)


@each_class
def test_the_list_opens(kind: type[Any], admin: Client, rows: dict[type[Any], Any]) -> None:
    assert admin.get(address(kind, "changelist")).status_code == 200


@each_class
def test_the_page_of_a_row_opens(kind: type[Any], admin: Client, rows: dict[type[Any], Any]) -> None:
    assert admin.get(address(kind, "change", rows[kind].pk)).status_code == 200


@each_class
def test_a_search_finds_or_does_not_find_but_answers(
    kind: type[Any], admin: Client, rows: dict[type[Any], Any]
) -> None:
    assert admin.get(address(kind, "changelist"), {"q": "1 acme@"}).status_code == 200


@each_class
def test_filters_are_drawn_in_chinese_too(kind: type[Any], admin: Client, rows: dict[type[Any], Any]) -> None:
    response = admin.get(address(kind, "changelist"), headers={"accept-language": "zh-hans"})
    assert response.status_code == 200


@each_class
def test_visitors_and_customers_are_sent_to_sign_in(kind: type[Any], client: Client, owner: User) -> None:
    for _who in ("visitor", "customer"):
        response = client.get(address(kind, "changelist"))
        assert response.status_code == 302
        assert "login" in response["Location"]
        client.force_login(owner)


def test_an_operator_who_was_made_inactive_is_out(admin: Client, operator: User) -> None:
    User.objects.filter(pk=operator.pk).update(is_active=False)
    assert admin.get(reverse("admin:index")).status_code == 302


def test_being_an_operator_is_enough(client: Client, owner: User, organization: Organization) -> None:
    User.objects.filter(pk=owner.pk).update(is_staff=True)
    client.force_login(owner)
    assert client.get(address(Organization, "change", organization.pk)).status_code == 200


def test_several_rows_at_once_cannot_be_deleted(admin: Client, rows: dict[type[Any], Any]) -> None:
    for kind in REGISTERED:
        chosen = {"action": "delete_selected", "_selected_action": [str(rows[kind].pk)], "post": "yes"}
        admin.post(address(kind, "changelist"), chosen)
        assert rows[kind]._meta.base_manager.filter(pk=rows[kind].pk).exists()


def test_lists_can_be_narrowed_to_an_organization(admin: Client, usage: UsageRecord, api_key: APIKey) -> None:
    for kind in (UsageRecord, APIKey):
        mine = admin.get(address(kind, "changelist"), {"organization__id__exact": api_key.organization_id})
        other = admin.get(address(kind, "changelist"), {"organization__id__exact": 0})
        assert (len(mine.context["cl"].result_list), len(other.context["cl"].result_list)) == (1, 0)


def test_the_overview_shows_money_and_the_latest_events(admin: Client, rows: dict[type[Any], Any]) -> None:
    response = admin.get(reverse("admin:index"))
    cards = {str(name): str(value) for name, value in response.context["cards"]}
    assert "$45.00" in cards["Credit in wallets"]
    assert "$0.0004525" in cards["Charged, 24 h"]
    assert b"wallet.credit_granted" in response.content
