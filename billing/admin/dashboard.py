"""The first page of the admin site: how the installation does, and what was last changed by hand."""

from datetime import timedelta
from typing import Any

from django.db.models import Count, Min, Sum
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.alerts import open_alerts
from accounts.models import AlertSeverity, AuditEvent
from billing.models import Adjustment, AdjustmentState, SettlementBatch, UsageRollup, Wallet
from common.admin import NOTHING, usd
from common.templatetags.formats import count, moment

LATELY = timedelta(hours=24)
EVENTS_SHOWN = 10
WAITING_SHOWN = 5


def add_overview(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001 - unfold calls it
    return {
        **context,
        "title": _("Overview"),
        "alerts": _alerts(),
        "waiting": _waiting(),
        "cards": [*_credit(), *_traffic(), *_sweep()],
        "events": AuditEvent.objects.select_related("actor", "organization").order_by("-pk")[:EVENTS_SHOWN],
    }


def _alerts() -> dict[str, Any] | None:
    """None where nothing is open."""
    by_severity = open_alerts()
    total = sum(by_severity.values())
    if not total:
        return None
    text = ngettext("%(count)s open alert", "%(count)s open alerts", total) % {"count": count(total)}
    return {"text": text, "is_critical": AlertSeverity.CRITICAL in by_severity}


def _waiting() -> dict[str, Any] | None:
    """What waits for a second operator, the oldest first; None where nothing does."""
    rows = Adjustment.across_all_organizations.filter(state=AdjustmentState.REQUESTED)
    total = rows.count()
    if not total:
        return None
    shown = rows.select_related("organization", "requested_by").order_by("requested_at")[:WAITING_SHOWN]
    text = ngettext(
        "%(count)s request waits for a second operator",
        "%(count)s requests wait for a second operator",
        total,
    )
    return {"text": text % {"count": count(total)}, "rows": [(row, usd(row.amount_nano)) for row in shown]}


def _credit() -> list[tuple[str, object]]:
    sums = Wallet.objects.aggregate(
        Sum("posted", default=0), Sum("pending", default=0), Sum("receivable", default=0)
    )
    return [
        (_("Credit in wallets"), usd(int(sums["posted__sum"]))),
        (_("Held by leases"), usd(int(sums["pending__sum"]))),
        (_("Customers owe"), usd(int(sums["receivable__sum"]))),
    ]


def _traffic() -> list[tuple[str, object]]:
    """Out of the rollups, so a few seconds behind."""
    sums = UsageRollup.across_all_organizations.filter(bucket__gte=timezone.now() - LATELY).aggregate(
        Sum("requests", default=0), Sum("charge_nano", default=0), Sum("cost_nano", default=0)
    )
    charge, cost = int(sums["charge_nano__sum"]), int(sums["cost_nano__sum"])
    return [
        (_("Requests, 24 h"), count(int(sums["requests__sum"]))),
        (_("Charged, 24 h"), usd(charge)),
        (_("Vendor cost, 24 h"), usd(cost)),
        (_("Margin, 24 h"), usd(charge - cost)),
    ]


def _sweep() -> list[tuple[str, object]]:
    """Batches that wait for long mean that the worker does not run."""
    waiting = SettlementBatch.objects.filter(aggregated_at=None).aggregate(Count("pk"), Min("created_at"))
    since = waiting["created_at__min"]
    return [
        (_("Batches waiting for rollups"), count(waiting["pk__count"])),
        (_("The oldest waits since"), moment(since, "seconds") if since else NOTHING),
    ]
