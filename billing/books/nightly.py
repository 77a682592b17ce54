"""The books check as it runs by itself: kept as a report, and an alert while the last one is red."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, time, timedelta
from time import monotonic
from typing import Any

from celery import current_app
from django.db import connection, transaction
from django.utils import timezone

from accounts.alerts import raise_alert, resolve_alert
from accounts.models import AlertSeverity, AuditEvent, User
from accounts.services import record_audit
from billing.books.verify import verify_books
from billing.models import BooksReport

EVERY_NIGHT_AT = time(3, 17)
KEPT = timedelta(days=90)
ALERT = "books_differ"
ASKED = "books_check.asked_for"
SUBJECT = "verify_books"


def check_books() -> BooksReport | None:
    """Run the check and keep what it found; None while another run goes on.

    Red raises a critical alert, clean resolves it. Old reports go.
    """
    with _alone() as is_mine:
        return _keep(verify_books) if is_mine else None


def check_books_if_due() -> BooksReport | None:
    """Run the check unless it has run since last night's moment, and since somebody asked for it.

    A machine that was off at night makes up for it.
    """
    last = BooksReport.objects.order_by("-started_at").values_list("started_at", flat=True).first()
    asked = AuditEvent.objects.filter(action=ASKED).order_by("-pk").values_list("at", flat=True).first()
    wanted = _last_night(timezone.now())
    if last is not None and last >= max(wanted, asked or wanted):
        return None
    return check_books()


@transaction.atomic
def ask_for_check(*, actor: User, ip: str | None = None) -> None:
    """Let a worker run the check now. Written down first: a message that is lost only means later."""
    record_audit(action=ASKED, subject=actor, actor=actor, ip=ip)
    transaction.on_commit(_wake_worker, robust=True)


def _wake_worker() -> None:
    current_app.send_task("billing.tasks.check_books", expires=600, retry=False)


def _keep(verify: Any) -> BooksReport:
    started_at, began = timezone.now(), monotonic()
    found = verify()
    with transaction.atomic():
        report = BooksReport.objects.create(
            started_at=started_at,
            seconds=round(monotonic() - began, 3),
            is_clean=found["ok"],
            report=found,
        )
        BooksReport.objects.filter(started_at__lt=started_at - KEPT).delete()
        _tell(report)
    return report


def _tell(report: BooksReport) -> None:
    if report.is_clean:
        resolve_alert(kind=ALERT, subject=SUBJECT)
        return
    broken = ", ".join(check["name"] for check in report.report["checks"] if not check["ok"])
    raise_alert(
        kind=ALERT,
        subject=SUBJECT,
        message=f"The books differ. Rules that are broken: {broken}. See the books check of"
        f" {report.started_at:%Y-%m-%d %H:%M} UTC.",
        severity=AlertSeverity.CRITICAL,
    )


def _last_night(now: datetime) -> datetime:
    tonight = now.replace(hour=EVERY_NIGHT_AT.hour, minute=EVERY_NIGHT_AT.minute, second=0, microsecond=0)
    return tonight if tonight <= now else tonight - timedelta(days=1)


@contextmanager
def _alone() -> Iterator[bool]:
    """A lock of the session, not of a transaction: the check has a snapshot of its own. It dies with us."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(hashtext('books check'))")
        [(is_mine,)] = cursor.fetchall()
    try:
        yield is_mine
    finally:
        if is_mine:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(hashtext('books check'))")
