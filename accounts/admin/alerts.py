from django.contrib import admin, messages
from django.db import models
from django.db.models import F
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from typing_extensions import override

from accounts.admin.audited import HistoryInAuditTrail, acting_operator
from accounts.alerts import resolve_alert
from accounts.models import AlertSeverity, OperatorAlert
from common.admin import DayFilter, ReadOnlyAdmin, badge, client_ip, detail_action


class OpenFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    @override
    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("open", gettext("Open")), ("resolved", gettext("Resolved"))]

    @override
    def queryset(
        self, request: HttpRequest, queryset: models.QuerySet[OperatorAlert]
    ) -> models.QuerySet[OperatorAlert]:
        if self.value() not in ("open", "resolved"):
            return queryset
        return queryset.filter(resolved_at__isnull=self.value() == "open")


@admin.register(OperatorAlert)
class OperatorAlertAdmin(HistoryInAuditTrail, ReadOnlyAdmin):
    """Open ones first. Alerts are raised by the system; operators resolve them."""

    list_display = (
        "last_seen_at", "state", "how_bad", "kind", "subject", "message", "count", "opened_at"
    )  # fmt: skip
    list_filter = (OpenFilter, "severity", ("opened_at", DayFilter))
    list_filter_submit = True
    search_fields = ("kind", "subject", "message")
    ordering = (F("resolved_at").desc(nulls_first=True), "-last_seen_at", "-pk")
    fields = (
        "state", "how_bad", "kind", "subject", "message", "count", "opened_at", "last_seen_at",
        "resolved_at", "resolved_by",
    )  # fmt: skip
    actions = ("resolve_selected",)
    actions_detail = ("resolve",)
    actions_detail_hide_default = False

    @admin.display(description=_("state"), ordering="resolved_at")
    def state(self, alert: OperatorAlert) -> SafeString:
        return badge(gettext("Resolved")) if alert.resolved_at else badge(gettext("Open"), "warning")

    @admin.display(description=_("severity"), ordering="severity")
    def how_bad(self, alert: OperatorAlert) -> SafeString:
        kind = "danger" if alert.severity == AlertSeverity.CRITICAL else "warning"
        return badge(alert.get_severity_display(), kind)

    @detail_action(_("Resolve"), path="resolve", icon="check_circle")
    def resolve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Asks first: a GET changes nothing."""
        alert = get_object_or_404(self.get_queryset(request), pk=object_id)
        if request.method == "POST":
            self._resolve(request, alert)
            messages.success(request, gettext("The alert is resolved."))
            return redirect("admin:accounts_operatoralert_changelist")
        return self.form_page(
            request,
            Form(),
            title=gettext("Resolve %(alert)s") % {"alert": alert},
            submit=_("Resolve"),
            explanation=_("When the same thing is seen again, a new alert opens."),
            original=alert,
        )

    @admin.action(description=_("Resolve the selected alerts"))
    def resolve_selected(self, request: HttpRequest, queryset: models.QuerySet[OperatorAlert]) -> None:
        for alert in queryset.filter(resolved_at=None):
            self._resolve(request, alert)
        messages.success(request, gettext("The selected alerts are resolved."))

    def _resolve(self, request: HttpRequest, alert: OperatorAlert) -> None:
        """One that was resolved before stays as it is, also where its like is open again."""
        if alert.resolved_at is None:
            resolve_alert(
                kind=alert.kind,
                subject=alert.subject,
                actor=acting_operator(request),
                ip=client_ip(request),
            )
