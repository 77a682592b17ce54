"""Operators read what the books check found, and may ask for another run."""

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, User
from billing.books import check_books
from billing.models import BooksReport, Grant

LIST = reverse("admin:billing_booksreport_changelist")
RUN_NOW = reverse("admin:billing_booksreport_run_now")


@pytest.fixture
def red(grant: Grant) -> BooksReport:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE billing_wallet SET posted = posted + 1")
    report = check_books()
    assert report is not None
    return report


def test_the_list_tells_green_from_red(admin: Client, red: BooksReport) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE billing_wallet SET posted = posted - 1")
    check_books()
    page = admin.get(LIST).content.decode()
    assert page.index("Clean") < page.index("Differences")
    assert "wallets" in page


def test_a_broken_rule_is_said_in_words_with_its_rows(admin: Client, red: BooksReport) -> None:
    page = admin.get(reverse("admin:billing_booksreport_change", args=[red.pk])).content.decode()
    assert "What a wallet holds is what its lots hold" in page
    assert "5,000,000,001" in page
    assert page.index("Broken") < page.index("Holds")


def test_running_now_asks_first(admin: Client) -> None:
    assert admin.get(RUN_NOW).status_code == 200
    assert not AuditEvent.objects.filter(action="books_check.asked_for").exists()


def test_asking_for_a_run_is_written_down(admin: Client, operator: User) -> None:
    assert admin.post(RUN_NOW, REMOTE_ADDR="192.0.2.7").status_code == 302
    event = AuditEvent.objects.get(action="books_check.asked_for")
    assert (event.actor, event.ip) == (operator, "192.0.2.7")
