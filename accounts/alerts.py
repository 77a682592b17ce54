"""What operators should look at: one open alert for each thing, told once by mail and counted after that."""

from typing import cast

import structlog
from django.conf import settings
from django.core.mail import send_mail
from django.db import connection, transaction
from django.db.models import CharField, Count
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext, override

from accounts.models import AlertSeverity, OperatorAlert, User
from accounts.services import record_audit

# A critical alert stays critical: what comes after it does not make it harmless.
OPEN = """
INSERT INTO accounts_operatoralert AS a (kind, subject, message, severity, count, opened_at, last_seen_at)
VALUES (%(kind)s, %(subject)s, %(message)s, %(severity)s, 1, now(), now())
ON CONFLICT (kind, subject) WHERE resolved_at IS NULL DO UPDATE SET
    count = a.count + 1, last_seen_at = greatest(a.last_seen_at, EXCLUDED.last_seen_at),
    message = EXCLUDED.message,
    severity = CASE WHEN a.severity = 'critical' THEN a.severity ELSE EXCLUDED.severity END
RETURNING id, count
"""

log = structlog.get_logger(__name__)


def raise_alert(*, kind: str, subject: str, message: str, severity: str = AlertSeverity.WARNING) -> None:
    """Open an alert, or count up the open one of this kind and subject and give it the newest message.

    Operators get a mail when it opens, after the commit; a mail that cannot be sent fails nobody. Inside a
    transaction it is part of that one and holds the alert's row to its end: call it last.
    """
    kind, subject = _cut(kind, "kind"), _cut(subject, "subject")
    values = {"kind": kind, "subject": subject, "message": message, "severity": AlertSeverity(severity)}
    with connection.cursor() as cursor:
        cursor.execute(OPEN, values)
        [(pk, count)] = cursor.fetchall()
    tell = log.critical if severity == AlertSeverity.CRITICAL else log.warning
    tell("operator_alert", kind=kind, subject=subject, message=message, count=count)
    if count == 1:
        transaction.on_commit(lambda: _mail_operators(pk), robust=True)


@transaction.atomic
def resolve_alert(*, kind: str, subject: str, actor: User | None = None, ip: str | None = None) -> bool:
    """Close the open alert of this kind and subject, if there is one; False where there is none.

    `actor` None: what it told of has ended by itself.
    """
    found = (
        OperatorAlert.objects.select_for_update(of=("self",))
        .filter(kind=_cut(kind, "kind"), subject=_cut(subject, "subject"), resolved_at=None)
        .first()
    )
    if found is None:
        return False
    found.resolved_at = timezone.now()
    found.resolved_by = actor
    found.save(update_fields=["resolved_at", "resolved_by"])
    record_audit(
        action="operator_alert.resolved",
        subject=found,
        actor=actor,
        after={"kind": found.kind, "subject": found.subject, "count": found.count},
        ip=ip,
    )
    return True


def open_alerts() -> dict[str, int]:
    """How many are open, by severity."""
    rows = OperatorAlert.objects.filter(resolved_at=None).values_list("severity")
    return dict(rows.annotate(Count("pk")).order_by())


def _mail_operators(alert_id: int) -> None:
    """Each to each: operators need not learn each other's addresses."""
    alert = OperatorAlert.objects.get(pk=alert_id)
    addresses = list(User.objects.filter(is_staff=True, is_active=True).values_list("email", flat=True))
    with override(settings.LANGUAGE_CODE):
        title = f"[Farebox] {alert.get_severity_display()}: {alert.kind} {alert.subject}".replace("\n", " ")
        page = settings.PUBLIC_URL + reverse("admin:accounts_operatoralert_change", args=[alert.pk])
        text = f"{alert.message}\n\n{gettext('Look at it and resolve it here:')} {page}\n"
    for address in addresses:
        send_mail(title[:200], text, None, [address])


def _cut(text: str, field: str) -> str:
    return text[: cast("CharField[str, str]", OperatorAlert._meta.get_field(field)).max_length]
