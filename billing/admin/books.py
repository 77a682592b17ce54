"""The books check: what each run found, rule by rule; and asking for a run now."""

from typing import Any

from django.contrib import admin, messages
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action

from accounts.admin.audited import acting_operator
from billing.books import ask_for_check
from billing.models import BooksReport
from common.admin import NOTHING, DayFilter, EndlessAdmin, badge, client_ip


@admin.register(BooksReport)
class BooksReportAdmin(EndlessAdmin):
    list_display = ("started_at", "result", "broken_rules", "records", "seconds")
    list_filter = ("is_clean", ("started_at", DayFilter))
    list_filter_submit = True
    ordering = ("-started_at",)
    fields = ("started_at", "result", "seconds", "totals", "checks")
    actions_list = ("run_now",)

    @admin.display(description=_("result"))
    def result(self, report: BooksReport) -> SafeString:
        if report.is_clean:
            return badge(gettext("Clean"), "success")
        return badge(gettext("Differences"), "danger")

    @admin.display(description=_("broken rules"))
    def broken_rules(self, report: BooksReport) -> str:
        return ", ".join(check["name"] for check in _checks(report) if not check["ok"]) or NOTHING

    @admin.display(description=_("usage records"))
    def records(self, report: BooksReport) -> str:
        return f"{report.report.get('totals', {}).get('usage_records', 0):,}"

    @admin.display(description=_("totals"))
    def totals(self, report: BooksReport) -> SafeString:
        rows = [[name, _grouped(value)] for name, value in report.report.get("totals", {}).items()]
        return render_to_string("admin/billing/rows.html", {"rows": rows})

    @admin.display(description=_("rules"))
    def checks(self, report: BooksReport) -> SafeString:
        """The broken ones first, each with the rows that break it."""
        checks = sorted(_checks(report), key=lambda check: check["ok"])
        shown = [
            {
                "badge": badge(gettext("Holds"), "success")
                if check["ok"]
                else badge(gettext("Broken"), "danger"),
                "name": check["name"],
                "words": gettext(check["rule"]),
                "names": list(check["differences"][0]) if check["differences"] else [],
                "rows": [[_grouped(value) for value in row.values()] for row in check["differences"]],
            }
            for check in checks
        ]
        return render_to_string("admin/billing/checks.html", {"checks": shown})

    @action(description=_("Run now"), url_path="run-now", icon="play_arrow")  # type: ignore[untyped-decorator] # unfold ships no types
    def run_now(self, request: HttpRequest) -> HttpResponse:
        """Asks first: a GET changes nothing."""
        if request.method == "POST":
            ask_for_check(actor=acting_operator(request), ip=client_ip(request))
            messages.success(request, gettext("The books check has been asked for; its result comes here."))
            return redirect("admin:billing_booksreport_changelist")
        return self.form_page(
            request,
            Form(),
            title=_("Run the books check now"),
            submit=_("Run now"),
            explanation=_(
                "A worker reads everything there is, while traffic goes on. It takes a minute or two."
            ),
        )


def _checks(report: BooksReport) -> list[dict[str, Any]]:
    checks: list[dict[str, Any]] = report.report.get("checks", [])
    return checks


def _grouped(value: object) -> str:
    if value is None:
        return NOTHING
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
