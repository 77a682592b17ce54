from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent
from billing.models import PriceVersion
from relay.models import Channel, Model, Route


def typed(*routes: dict[str, Any], initial: int = 0, **values: Any) -> dict[str, Any]:
    form = {
        "owned_by": "Tests",
        "is_enabled": "on",
        "context_window": "128000",
        "max_output_tokens": "16000",
        "max_tokens_field": "max_tokens",
        "capabilities": "",
        "lifecycle": "active",
        "route_set-TOTAL_FORMS": str(len(routes)),
        "route_set-INITIAL_FORMS": str(initial),
    }
    for number, route in enumerate(routes):
        form |= {f"route_set-{number}-{name}": value for name, value in route.items()}
    return {**form, **values}


def change(model: Model) -> str:
    return reverse("admin:relay_model_change", args=[model.pk])


def test_a_model_is_made_with_its_routes(admin: Client, channel: Channel) -> None:
    route = {"channel": channel.pk, "upstream_model": "upstream-1"}
    admin.post(reverse("admin:relay_model_add"), typed(route, name="new", capabilities="vision, tools"))
    model = Model.objects.get(name="new")
    assert model.capabilities == ["vision", "tools"]
    assert [route.upstream_model for route in model.route_set.all()] == ["upstream-1"]


def test_changes_of_routes_are_audited_with_their_model(
    admin: Client, model: Model, channel: Channel
) -> None:
    route = Route.objects.get()
    kept = {"id": route.pk, "model": model.pk, "channel": channel.pk, "upstream_model": "gpt-test-2"}
    new = {"model": model.pk, "channel": channel.pk, "upstream_model": "gpt-test-3"}
    admin.post(change(model), typed(kept, new, initial=1))
    changed, created = AuditEvent.objects.order_by("pk")
    assert {changed.subject, created.subject} == {f"relay.Model:{model.pk}"}
    assert (changed.action, changed.before) == ("route.changed", {"upstream_model": "gpt-test-1"})
    assert changed.after == {"upstream_model": "gpt-test-2"}
    assert created.action == "route.created"
    assert created.after is not None
    assert created.after["upstream_model"] == "gpt-test-3"


def test_a_removed_route_is_audited(admin: Client, model: Model, channel: Channel) -> None:
    route = {
        "id": Route.objects.get().pk,
        "model": model.pk,
        "channel": channel.pk,
        "upstream_model": "gpt-test-1",
        "DELETE": "on",
    }
    admin.post(change(model), typed(route, initial=1))
    event = AuditEvent.objects.get()
    assert not Route.objects.exists()
    assert (event.action, event.after) == ("route.deleted", None)
    assert event.before is not None
    assert event.before["upstream_model"] == "gpt-test-1"


def test_a_deleted_model_takes_its_routes_into_the_audit_trail(admin: Client, model: Model) -> None:
    admin.post(reverse("admin:relay_model_delete", args=[model.pk]), {"post": "yes"})
    actions = [event.action for event in AuditEvent.objects.order_by("pk")]
    assert actions == ["route.deleted", "model.deleted"]


def test_the_name_stays_because_prices_know_the_model_by_it(admin: Client, model: Model) -> None:
    admin.post(change(model), typed(name="renamed"))
    model.refresh_from_db()
    assert model.name == "gpt-test"


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({"max_output_tokens": "128001"}, "max_output_tokens"),
        ({"capabilities": "Vision!"}, "capabilities"),
        ({"max_tokens_field": "length"}, "max_tokens_field"),
    ],
)
def test_what_the_catalogue_would_refuse_is_refused_here(
    admin: Client, model: Model, values: dict[str, Any], wrong: str
) -> None:
    response = admin.post(change(model), typed(**values))
    assert response.context["adminform"].form.errors[wrong]


def test_a_route_needs_a_name_that_fits_a_request(admin: Client, model: Model, channel: Channel) -> None:
    route = {"channel": channel.pk, "upstream_model": "two words"}
    admin.post(change(model), typed(route))
    assert Route.objects.count() == 1


def offered(admin: Client) -> str:
    return admin.get(reverse("admin:relay_model_changelist")).content.decode()


def test_the_list_says_why_a_model_is_not_offered(admin: Client, model: Model, channel: Channel) -> None:
    assert "No price" in offered(admin)
    Channel.objects.update(is_enabled=False)
    assert "No channel in use" in offered(admin)
    Model.objects.update(is_enabled=False)
    assert "Disabled" in offered(admin)


def test_the_list_says_that_a_model_is_offered(admin: Client, model: Model, price: PriceVersion) -> None:
    page = offered(admin)
    assert "No price" not in page
    assert "No channel in use" not in page


def test_the_list_asks_the_database_a_fixed_number_of_times(
    admin: Client, model: Model, price: PriceVersion, django_assert_max_num_queries: Any
) -> None:
    for number in range(20):
        Model.objects.create(
            name=f"model-{number}", owned_by="Tests", context_window=1000, max_output_tokens=100
        )
    with django_assert_max_num_queries(20):
        offered(admin)
