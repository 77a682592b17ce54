import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, Organization, User
from accounts.services import create_organization
from billing.models import Adjustment, Wallet

DOLLAR = 10**9


@pytest.fixture
def address(organization: Organization) -> str:
    return reverse("admin:billing_wallet_grant_credit", args=[organization.pk])


def form_of(admin: Client, address: str, **typed: str) -> dict[str, str]:
    form_id = admin.get(address).context["form"]["form_id"].value()
    return {"form_id": str(form_id), "amount": "25", "reason": "Goodwill", **typed}


def posted(organization: Organization) -> int:
    return Wallet.objects.get(pk=organization.pk).posted


def test_credit_reaches_the_wallet_with_its_reason(
    admin: Client, operator: User, organization: Organization, address: str
) -> None:
    response = admin.post(address, form_of(admin, address, amount="0.0375"), follow=True)
    assert "$0.0375" in response.content.decode()
    given = Adjustment.across_all_organizations.get()
    assert (given.kind, given.state) == ("goodwill", "posted")
    assert (given.amount_nano, given.reason, given.requested_by) == (37_500_000, "Goodwill", operator)
    assert posted(organization) == 37_500_000


def test_a_grant_is_audited(admin: Client, operator: User, organization: Organization, address: str) -> None:
    admin.post(address, form_of(admin, address), REMOTE_ADDR="192.0.2.7")
    event = AuditEvent.objects.get(action="adjustment.posted")
    assert (event.actor, event.organization, event.reason) == (operator, organization, "Goodwill")
    assert event.ip == "192.0.2.7"
    assert event.after is not None
    assert event.after["posted_nano"] == 25 * DOLLAR


def test_the_same_form_sent_twice_grants_once(
    admin: Client, organization: Organization, address: str
) -> None:
    form = form_of(admin, address)
    admin.post(address, form)
    admin.post(address, form)
    assert posted(organization) == 25 * DOLLAR


def test_a_form_sent_again_with_another_amount_says_that_nothing_was_added(
    admin: Client, organization: Organization, address: str
) -> None:
    form = form_of(admin, address)
    admin.post(address, form)
    response = admin.post(address, {**form, "amount": "99"}, follow=True)
    assert "nothing was added" in response.content.decode()
    assert posted(organization) == 25 * DOLLAR


def test_every_display_of_the_form_is_a_grant_of_its_own(
    admin: Client, organization: Organization, address: str
) -> None:
    for _time in range(2):
        admin.post(address, form_of(admin, address))
    assert posted(organization) == 50 * DOLLAR


def test_one_form_does_not_stand_for_another_organization(
    admin: Client, owner: User, organization: Organization, address: str
) -> None:
    other = create_organization(owner=owner, name="Other")
    form = form_of(admin, address)
    admin.post(address, form)
    admin.post(reverse("admin:billing_wallet_grant_credit", args=[other.pk]), form)
    assert (posted(organization), posted(other)) == (25 * DOLLAR, 25 * DOLLAR)


@pytest.mark.parametrize("amount", ["", "0", "-1", "1e3", "ten", "0.0000000001", "NaN", "12345678901"])
def test_what_is_no_amount_is_refused_on_the_form(
    admin: Client, organization: Organization, address: str, amount: str
) -> None:
    response = admin.post(address, form_of(admin, address, amount=amount))
    assert response.status_code == 200
    assert response.context["form"].errors["amount"]
    assert posted(organization) == 0


def test_a_grant_without_a_reason_is_refused_on_the_form(
    admin: Client, organization: Organization, address: str
) -> None:
    response = admin.post(address, form_of(admin, address, reason="  "))
    assert response.context["form"].errors["reason"]
    assert posted(organization) == 0


def test_looking_at_the_form_grants_nothing(admin: Client, organization: Organization, address: str) -> None:
    admin.get(address, {"amount": "5", "reason": "x"})
    assert posted(organization) == 0


def test_a_post_from_another_site_is_refused(
    operator: User, organization: Organization, address: str
) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(operator)
    assert browser.post(address, form_of(browser, address)).status_code == 403


def test_customers_cannot_grant(
    client: Client, owner: User, organization: Organization, address: str
) -> None:
    client.force_login(owner)
    assert client.post(address, {"amount": "5", "reason": "me"}).status_code == 302
    assert posted(organization) == 0


def test_a_wallet_that_is_not_there_is_not_found(admin: Client) -> None:
    assert admin.get(reverse("admin:billing_wallet_grant_credit", args=[999_999])).status_code == 404


def test_over_the_limit_it_waits_for_a_second_operator(
    admin: Client, organization: Organization, address: str
) -> None:
    response = admin.post(address, form_of(admin, address, amount="100.01"), follow=True)
    assert "a second operator decides" in response.content.decode()
    assert Adjustment.across_all_organizations.get().state == "requested"
    assert posted(organization) == 0


def test_the_page_of_an_organization_leads_to_the_form(
    admin: Client, organization: Organization, address: str
) -> None:
    page = admin.get(reverse("admin:accounts_organization_change", args=[organization.pk]))
    link = reverse("admin:accounts_organization_grant_credit", args=[organization.pk])
    assert link in page.content.decode()
    assert admin.get(link)["Location"] == address
