"""Operators see open alerts first, and resolving one is written down."""

import pytest
from django.test import Client
from django.urls import reverse

from accounts.alerts import raise_alert, resolve_alert
from accounts.models import AuditEvent, OperatorAlert, User

LIST = reverse("admin:accounts_operatoralert_changelist")


def page(alert: OperatorAlert, name: str) -> str:
    return reverse(f"admin:accounts_operatoralert_{name}", args=[alert.pk])


def test_open_alerts_come_first(admin: Client, alert: OperatorAlert) -> None:
    resolve_alert(kind=alert.kind, subject=alert.subject)
    raise_alert(kind="test", subject="older and open", message="m")
    OperatorAlert.objects.filter(subject="older and open").update(last_seen_at="2001-01-01T00:00Z")
    listed = admin.get(LIST).context["cl"].result_list
    assert [one.subject for one in listed] == ["older and open", "channel main"]


def test_lists_can_be_narrowed_to_open_ones(admin: Client, alert: OperatorAlert) -> None:
    assert list(admin.get(LIST, {"state": "open"}).context["cl"].result_list) == [alert]
    assert list(admin.get(LIST, {"state": "resolved"}).context["cl"].result_list) == []


def test_resolving_asks_first(admin: Client, alert: OperatorAlert) -> None:
    assert admin.get(page(alert, "resolve")).status_code == 200
    alert.refresh_from_db()
    assert alert.resolved_at is None


def test_an_operator_resolves_an_alert(admin: Client, operator: User, alert: OperatorAlert) -> None:
    admin.post(page(alert, "resolve"), REMOTE_ADDR="192.0.2.7")
    alert.refresh_from_db()
    event = AuditEvent.objects.get(action="operator_alert.resolved")
    assert alert.resolved_by == operator
    assert (event.actor, event.ip) == (operator, "192.0.2.7")


def test_chosen_alerts_are_resolved_together(admin: Client, alert: OperatorAlert) -> None:
    raise_alert(kind="test", subject="another", message="m")
    chosen = [str(pk) for pk in OperatorAlert.objects.values_list("pk", flat=True)]
    admin.post(LIST, {"action": "resolve_selected", "_selected_action": chosen})
    assert not OperatorAlert.objects.filter(resolved_at=None).exists()


def test_resolving_an_old_page_leaves_the_new_alert_open(admin: Client, alert: OperatorAlert) -> None:
    resolve_alert(kind=alert.kind, subject=alert.subject)
    raise_alert(kind=alert.kind, subject=alert.subject, message="again")
    admin.post(page(alert, "resolve"))
    assert OperatorAlert.objects.get(resolved_at=None).message == "again"


@pytest.mark.parametrize(("severity", "colour"), [("critical", "bg-red-100"), ("warning", "bg-orange-100")])
def test_the_overview_counts_open_alerts(admin: Client, severity: str, colour: str) -> None:
    overview = reverse("admin:index")
    assert "open alert" not in admin.get(overview).content.decode()
    for subject in ("one", "two"):
        raise_alert(kind="test", subject=subject, message="m", severity=severity)
    shown = admin.get(overview).content.decode()
    assert "2 open alerts" in shown
    assert colour in shown
