"""One open alert per thing, however many see it at once; mail when it opens, never instead of work."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core import mail
from django.db import connections, transaction
from django.test import override_settings

from accounts.alerts import open_alerts, raise_alert, resolve_alert
from accounts.models import OperatorAlert, User

pytestmark = pytest.mark.django_db(transaction=True)


def raise_one(message: str = "m", severity: str = "warning") -> None:
    raise_alert(kind="books", subject="nightly", message=message, severity=severity)


def test_the_same_thing_again_counts_up_and_says_the_newest() -> None:
    raise_one("first")
    raise_one("second")
    alert = OperatorAlert.objects.get()
    assert (alert.count, alert.message) == (2, "second")
    assert alert.last_seen_at > alert.opened_at


def test_many_at_once_open_one_alert() -> None:
    def work(_: int) -> None:
        try:
            raise_one()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(40)))
    assert OperatorAlert.objects.get().count == 40


def test_a_resolved_alert_opens_anew() -> None:
    raise_one()
    assert resolve_alert(kind="books", subject="nightly")
    assert not resolve_alert(kind="books", subject="nightly")
    raise_one()
    assert OperatorAlert.objects.count() == 2
    assert open_alerts() == {"warning": 1}


def test_a_critical_alert_stays_critical() -> None:
    raise_one(severity="warning")
    raise_one(severity="critical")
    raise_one(severity="warning")
    assert OperatorAlert.objects.get().severity == "critical"


def test_operators_are_written_to_when_it_opens_and_nobody_else() -> None:
    User.objects.create_user("operator@example.com", is_staff=True)
    User.objects.create_user("gone@example.com", is_staff=True, is_active=False)
    User.objects.create_user("customer@example.com")
    raise_one("The books differ.")
    raise_one("The books differ still.")
    [letter] = mail.outbox
    assert letter.to == ["operator@example.com"]
    assert "The books differ." in letter.body
    assert "/admin/accounts/operatoralert/" in letter.body


def test_no_mail_tells_of_what_was_rolled_back() -> None:
    User.objects.create_user("operator@example.com", is_staff=True)
    with transaction.atomic():
        raise_one()
        transaction.set_rollback(True)
    assert (mail.outbox, OperatorAlert.objects.count()) == ([], 0)


@override_settings(EMAIL_BACKEND="nowhere.to.be.Found")
def test_a_mail_server_that_is_away_fails_nobody() -> None:
    User.objects.create_user("operator@example.com", is_staff=True)
    raise_one()
    assert OperatorAlert.objects.get().count == 1


def test_a_subject_that_is_too_long_is_cut_and_still_found() -> None:
    raise_alert(kind="k", subject="s" * 500, message="m")
    raise_alert(kind="k", subject="s" * 500, message="m")
    assert OperatorAlert.objects.get().count == 2
    assert resolve_alert(kind="k", subject="s" * 500)
