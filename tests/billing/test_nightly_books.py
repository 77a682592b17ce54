"""The books check by itself: kept, told of when red, made up for when it was missed, never twice at once."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import connection
from django.utils import timezone

from accounts.alerts import open_alerts
from accounts.models import OperatorAlert, User
from billing.books import ask_for_check, check_books, check_books_if_due
from billing.models import BooksReport
from tests.factories.money import make_payer

pytestmark = pytest.mark.django_db
NOON = datetime(2031, 5, 10, 12, tzinfo=UTC)


def tamper(by: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE billing_wallet SET posted = posted + %s", [by])


def test_what_was_found_is_kept() -> None:
    make_payer(1_000)
    report = check_books()
    assert report is not None
    assert report.is_clean
    assert BooksReport.objects.get().report["totals"]["posted_nano"] == 1_000


def test_red_raises_a_critical_alert_and_clean_resolves_it() -> None:
    make_payer(1_000)
    tamper(1)
    check_books()
    alert = OperatorAlert.objects.get()
    assert (alert.severity, "wallets" in alert.message) == ("critical", True)
    check_books()
    assert open_alerts() == {"critical": 1}
    tamper(-1)
    check_books()
    assert open_alerts() == {}


def test_it_runs_once_a_night() -> None:
    with time_machine.travel(NOON, tick=False):
        assert check_books_if_due() is not None
        assert check_books_if_due() is None
    with time_machine.travel(NOON.replace(day=11, hour=3, minute=16), tick=False):
        assert check_books_if_due() is None
    with time_machine.travel(NOON.replace(day=11, hour=3, minute=17), tick=False):
        assert check_books_if_due() is not None


def test_a_night_that_was_missed_is_made_up_for() -> None:
    with time_machine.travel(NOON, tick=False):
        check_books_if_due()
    with time_machine.travel(NOON + timedelta(days=3), tick=False):
        assert check_books_if_due() is not None


def test_it_runs_when_somebody_asks() -> None:
    operator = User.objects.create_user("operator@example.com", is_staff=True)
    check_books_if_due()
    assert check_books_if_due() is None
    ask_for_check(actor=operator, ip="192.0.2.7")
    assert check_books_if_due() is not None
    assert check_books_if_due() is None


def test_reports_of_long_ago_go() -> None:
    BooksReport.objects.create(
        started_at=timezone.now() - timedelta(days=91), seconds=1, is_clean=True, report={}
    )
    check_books()
    assert BooksReport.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_at_once_do_not_run() -> None:
    is_running, is_over = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_lock(hashtext('books check'))")
                is_running.set()
                is_over.wait(20)
                cursor.execute(
                    "SELECT pg_advisory_unlock(hashtext('books check'))"
                )  # closing may take a while
        finally:
            is_running.set()
            connection.close()

    other = threading.Thread(target=hold)
    other.start()
    assert is_running.wait(10)
    assert check_books() is None
    is_over.set()
    other.join(10)
    assert check_books() is not None
