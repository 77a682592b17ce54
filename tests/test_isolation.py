"""Another organization's rows are not there: every page, asked for with somebody else's ids.

A route that is missing from the table fails the first test: decide what it must not show, then add it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import orjson
import pytest
from allauth.account.models import EmailAddress
from django.db import connection
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from accounts.models import APIKey, Membership, Organization, User
from accounts.services import create_api_key, create_organization
from billing.budgets import set_budget
from billing.campaigns import on_sign_up
from billing.models import Budget, CampaignKind, PriceKind, SavedCard, TopUp, TopUpOrigin, UsageRecord
from billing.price_shapes import Price
from billing.publishing import publish_price
from billing.referrals import referral_code
from billing.services import grant_credit
from common.ids import public_id, uuid7
from common.models import ScopeMissing
from tests.factories.campaigns import make_campaign

# Route → whether its address carries an id that belongs to an organization.
ROUTES = {
    "overview": False,
    "credit": False,
    "redeem_code": False,
    "top_ups": False,
    "start_top_up": False,
    "top_up": True,
    "pay_top_up": True,
    "recharge": False,
    "turn_on_recharge": False,
    "turn_off_recharge": False,
    "remove_card": True,
    "refer": False,
    "usage": False,
    "receipt": True,
    "budgets": False,
    "delete_budget": True,
    "api_keys": False,
    "create_key": False,
    "rename_key": True,
    "revoke_key": True,
    "models": False,
}
# Not ours, or nobody's: allauth's own pages, the language switch, probes, Stripe's letter box, and the
# operators' site.
OUTSIDE = ("accounts/", "language/", "admin/", "healthz", "readyz", "stripe/webhook")


@dataclass(frozen=True)
class Tenant:
    user: User
    organization: Organization
    api_key: APIKey
    request_id: str
    budget: Budget
    top_up: TopUp
    card: SavedCard

    def addresses(self) -> dict[str, str]:
        """Every route that carries an id, with this tenant's."""
        return {
            "receipt": reverse("receipt", args=[self.request_id]),
            "delete_budget": reverse("delete_budget", args=[self.budget.pk]),
            "top_up": reverse("top_up", args=[self.top_up.pk]),
            "pay_top_up": reverse("pay_top_up", args=[self.top_up.pk]),
            "remove_card": reverse("remove_card", args=[self.card.pk]),
            "rename_key": reverse("rename_key", args=[self.api_key.pk]),
            "revoke_key": reverse("revoke_key", args=[self.api_key.pk]),
        }


@pytest.fixture
def tenants(db: None) -> tuple[Tenant, Tenant]:
    publish_price(model="gpt-secret", kind=PriceKind.RETAIL, price=Price({"input": 10**9, "output": 10**9}))
    make_campaign(CampaignKind.REFERRAL)
    ours, theirs = make_tenant("Ours"), make_tenant("Theirs")
    on_sign_up(theirs.organization, None, code=referral_code(ours.organization))
    return ours, theirs


def make_tenant(name: str) -> Tenant:
    user = User.objects.create_user(f"{name.lower()}@example.com", "a password")
    EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=True)
    organization = create_organization(owner=user, name=f"{name} Inc")
    grant_credit(organization=organization, amount_nano=10**9, reason="test", fact_key=name)
    api_key = create_api_key(organization=organization, name=f"{name} key", created_by=user).api_key
    budget = set_budget(organization=organization, limit_nano=10**9, period="day", api_key=api_key)
    top_up = TopUp.across_all_organizations.create(
        organization=organization,
        origin=TopUpOrigin.CHECKOUT,
        state="open",
        attempt_key=name,
        amount_minor=7_77,
        payment_brand=f"{name} Bank",
    )
    card = SavedCard.across_all_organizations.create(
        organization=organization, payment_method_id=f"pm_{name}", brand=f"{name}card", last4="7777"
    )
    return Tenant(user, organization, api_key, settle_one(organization, api_key, name), budget, top_up, card)


def settle_one(organization: Organization, api_key: APIKey, name: str) -> str:
    request_id = uuid7()
    now = datetime.now(UTC)
    record = {
        "request_id": request_id,
        "organization_id": organization.pk,
        "reseller_id": organization.reseller_id,
        "api_key_id": api_key.pk,
        "model": f"model-of-{name}",
        "channel": "c",
        "upstream_model": "m",
        **{f"{kind}_tokens": 1 for kind in ("input", "output", "reasoning")},
        **{f"cache_{kind}_tokens": 0 for kind in ("read", "write_5m", "write_1h")},
        **{f"{kind}_tokens": 0 for kind in ("audio_input", "audio_output", "image_input")},
        "price_nano": 3_000,
        "cost_nano": 0,
        "retail_version_id": _version(),
        "cost_version_id": None,
        "usage_source": "reported",
        "ending": "complete",
        "is_stream": False,
        "started_at": now,
        "first_output_at": now,
        "ended_at": now,
    }
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT * FROM billing_settle(%s, %s, %s)", [uuid4(), uuid4(), orjson.dumps([record]).decode()]
        )
    return public_id("req", request_id)


def _version() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT max(id) FROM billing_priceversion")
        return int(cursor.fetchone()[0])


def own_routes() -> Iterator[str]:
    for pattern in _patterns(get_resolver().url_patterns, ""):
        route, name = pattern
        if not route.startswith(OUTSIDE):
            yield name


def _patterns(entries: list[URLPattern | URLResolver], prefix: str) -> Iterator[tuple[str, str]]:
    for entry in entries:
        route = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from _patterns(entry.url_patterns, route)
        else:
            yield route, str(entry.name)


def test_every_route_is_in_the_table() -> None:
    assert set(own_routes()) == set(ROUTES)


@pytest.mark.parametrize("route", [name for name, has_id in ROUTES.items() if has_id])
@pytest.mark.parametrize("method", ["get", "post"])
def test_another_organizations_ids_are_not_there(
    client: Client, tenants: tuple[Tenant, Tenant], route: str, method: str
) -> None:
    ours, theirs = tenants
    client.force_login(ours.user)
    response = getattr(client, method)(theirs.addresses()[route], {"name": "taken over"})
    assert response.status_code in ({404, 405} if method == "get" else {403, 404, 405})
    assert SavedCard.across_all_organizations.filter(removed_at=None).count() == 2
    kept = APIKey.across_all_organizations.get(pk=theirs.api_key.pk)
    assert (kept.name, kept.revoked_at) == ("Theirs key", None)
    assert Budget.across_all_organizations.filter(removed_at=None).count() == 2


@pytest.mark.parametrize(
    "route",
    [name for name, has_id in ROUTES.items() if not has_id and name not in {"create_key", "redeem_code"}],
)
def test_pages_show_nothing_of_another_organization(
    client: Client, tenants: tuple[Tenant, Tenant], route: str
) -> None:
    ours, theirs = tenants
    client.force_login(ours.user)
    page = client.get(reverse(route)).content.decode()
    assert theirs.organization.name not in page
    assert theirs.api_key.tail not in page
    assert theirs.request_id not in page
    assert "model-of-Theirs" not in page
    assert "Theirscard" not in page
    assert "Theirs Bank" not in page


@pytest.mark.parametrize("route", ROUTES)
def test_visitors_are_sent_to_sign_in(client: Client, tenants: tuple[Tenant, Tenant], route: str) -> None:
    ours, _ = tenants
    address = ours.addresses().get(route) or reverse(route)
    response = client.get(address)
    assert response.status_code in {302, 405}
    if response.status_code == 302:
        assert response["Location"].startswith(reverse("account_login"))


def test_rows_without_a_scope_raise(tenants: tuple[Tenant, Tenant]) -> None:
    for model in (APIKey, Membership, UsageRecord):
        with pytest.raises(ScopeMissing):
            model.objects.all()
