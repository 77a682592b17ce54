from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from django.conf import settings
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, User
from common.broadcast import CHANNEL
from relay.models import Channel

Notices = Callable[[], list[bytes]]


@pytest.fixture
def notices(django_capture_on_commit_callbacks: Any, db: None) -> Iterator[Notices]:
    """What is announced over Valkey from here on, once the transactions so far count as committed."""
    with (
        redis.Redis.from_url(settings.REDIS_URL) as valkey,
        valkey.pubsub(ignore_subscribe_messages=True) as subscription,
    ):
        subscription.subscribe(CHANNEL)
        subscription.get_message(timeout=5)

        def received() -> list[bytes]:
            found = []
            while (message := subscription.get_message(timeout=0.5)) is not None:
                found.append(message["data"])
            return found

        yield received


def typed(**values: Any) -> dict[str, Any]:
    form = {
        "vendor": "openai",
        "base_url": "https://vendor.example/v1",
        "is_enabled": "on",
        "priority": "10",
        "weight": "1",
        "max_concurrency": "500",
        "timeout_first_token_s": "30",
    }
    return {**form, **values}


def change(channel: Channel) -> str:
    return reverse("admin:relay_channel_change", args=[channel.pk])


def add() -> str:
    return reverse("admin:relay_channel_add")


def test_a_new_channel_seals_its_keys_to_its_name(admin: Client) -> None:
    admin.post(add(), typed(name="new", new_api_keys="key-1\nkey-2\n"))
    assert Channel.objects.get(name="new").open_api_keys() == ("key-1", "key-2")


def test_a_credential_is_never_shown(admin: Client, channel: Channel) -> None:
    pages = [
        admin.get(change(channel)),
        admin.get(reverse("admin:relay_channel_changelist")),
        admin.post(change(channel), typed(new_api_keys="vendor-secret-2", priority="x")),
    ]
    assert all(page.status_code == 200 for page in pages)
    assert not any(b"vendor-secret" in page.content for page in pages)


def test_an_empty_field_keeps_the_credential(admin: Client, channel: Channel) -> None:
    admin.post(change(channel), typed(priority="20"))
    channel.refresh_from_db()
    assert (channel.priority, channel.open_api_keys()) == (20, ("vendor-secret-1",))


def test_a_credential_is_replaced(admin: Client, channel: Channel) -> None:
    admin.post(change(channel), typed(new_api_keys="vendor-secret-2"))
    channel.refresh_from_db()
    assert channel.open_api_keys() == ("vendor-secret-2",)


def test_a_credential_is_removed(admin: Client, channel: Channel) -> None:
    admin.post(change(channel), typed(without_api_keys="on"))
    channel.refresh_from_db()
    assert not channel.has_credential


def test_replacing_and_removing_at_once_is_refused(admin: Client, channel: Channel) -> None:
    admin.post(change(channel), typed(new_api_keys="vendor-secret-2", without_api_keys="on"))
    channel.refresh_from_db()
    assert channel.open_api_keys() == ("vendor-secret-1",)


def test_what_cannot_stand_in_a_header_is_no_credential(admin: Client, channel: Channel) -> None:
    response = admin.post(change(channel), typed(new_api_keys="schlüssel"))
    assert response.context["adminform"].form.errors["new_api_keys"]


def test_the_name_stays_because_the_credential_is_sealed_to_it(admin: Client, channel: Channel) -> None:
    admin.post(change(channel), typed(name="renamed"))
    channel.refresh_from_db()
    assert channel.name == "main"


def test_a_change_is_audited_with_what_differs(admin: Client, operator: User, channel: Channel) -> None:
    admin.post(change(channel), typed(priority="20"), REMOTE_ADDR="192.0.2.7")
    event = AuditEvent.objects.get()
    assert (event.action, event.subject) == ("channel.changed", f"relay.Channel:{channel.pk}")
    assert (event.actor, event.ip) == (operator, "192.0.2.7")
    assert (event.before, event.after) == ({"priority": 10}, {"priority": 20})


def test_the_audit_trail_tells_that_a_credential_changed_and_not_which(
    admin: Client, channel: Channel
) -> None:
    admin.post(change(channel), typed(new_api_keys="vendor-secret-2"))
    event = AuditEvent.objects.get()
    assert (event.before, event.after) == ({"sealed_api_keys": "•••"}, {"sealed_api_keys": "•••"})


def test_saving_without_a_change_is_no_event(admin: Client, channel: Channel) -> None:
    assert admin.post(change(channel), typed()).status_code == 302
    assert not AuditEvent.objects.exists()


def test_creation_and_deletion_are_audited(admin: Client) -> None:
    admin.post(add(), typed(name="new", new_api_keys="key-1"))
    admin.post(reverse("admin:relay_channel_delete", args=[Channel.objects.get().pk]), {"post": "yes"})
    created, deleted = AuditEvent.objects.order_by("pk")
    assert (created.action, created.before) == ("channel.created", None)
    assert (deleted.action, deleted.after) == ("channel.deleted", None)
    assert deleted.before is not None
    assert (deleted.before["name"], deleted.before["sealed_api_keys"]) == ("new", "•••")


def test_the_history_of_a_channel_is_its_audit_trail(admin: Client, channel: Channel) -> None:
    admin.post(change(channel), typed(priority="20"))
    response = admin.get(reverse("admin:relay_channel_history", args=[channel.pk]), follow=True)
    assert [event.action for event in response.context["cl"].result_list] == ["channel.changed"]


@pytest.mark.parametrize(("action", "becomes"), [("disable", False), ("enable", True)])
def test_several_channels_are_switched_at_once(
    admin: Client, channel: Channel, action: str, becomes: bool
) -> None:
    Channel.objects.update(is_enabled=not becomes)
    admin.post(
        reverse("admin:relay_channel_changelist"), {"action": action, "_selected_action": [channel.pk]}
    )
    channel.refresh_from_db()
    assert channel.is_enabled is becomes
    assert AuditEvent.objects.get().after == {"is_enabled": becomes}


def test_every_change_is_announced_to_the_relay(
    admin: Client, channel: Channel, notices: Notices, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        admin.post(change(channel), typed(priority="20"))
    assert b"catalog:" in notices()
    with django_capture_on_commit_callbacks(execute=True):
        admin.post(
            reverse("admin:relay_channel_changelist"),
            {"action": "disable", "_selected_action": [channel.pk]},
        )
    assert b"catalog:" in notices()
