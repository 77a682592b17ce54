"""Disputes and fraud warnings: what answers them, and what can be done before it is too late."""

from collections.abc import Collection
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from typing_extensions import override
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from accounts.admin.audited import acting_operator
from accounts.services import record_audit
from billing.admin.amounts import cents_column
from billing.admin.operating import OperatingAdmin, bound_form
from billing.admin.refunds import card_refund_page
from billing.evidence import evidence_of
from billing.fraud import settle_warning
from billing.models import Dispute, DisputeOutcome, FraudWarning
from common.admin import DayFilter, EndlessAdmin, badge, carry_out, client_ip, detail_action

BADGES = {DisputeOutcome.OPEN: "warning", DisputeOutcome.WON: "success", DisputeOutcome.LOST: "danger"}


@admin.register(Dispute)
class DisputeAdmin(OperatingAdmin, EndlessAdmin):
    usd_fields = ("held_nano", "taken_nano", "owed_nano", "tax_nano", "margin_nano")
    list_display = (
        "opened_at",
        "shown_outcome",
        "status",
        "organization",
        cents_column("amount_minor", _("amount")),
        "reason",
        "evidence_due_at",
        "held_nano",
    )
    list_select_related = ("organization",)
    list_filter = ("outcome", ("opened_at", DayFilter), ("organization", AutocompleteSelectFilter))
    list_filter_submit = True
    search_fields = ("dispute_id__exact",)
    search_help_text = _("By its id at Stripe")
    fields = (
        "dispute_id",
        "shown_outcome",
        "status",
        "reason",
        "organization",
        "top_up",
        cents_column("amount_minor", _("amount")),
        cents_column("withdrawn_minor", _("withdrawn")),
        cents_column("fee_minor", _("fee")),
        "held_nano",
        "taken_nano",
        "owed_nano",
        "tax_nano",
        "margin_nano",
        "opened_at",
        "evidence_due_at",
        "withdrawn_at",
        "reinstated_at",
        "closed_at",
    )
    actions_detail = ("evidence", "refund")

    @override
    def senseless_actions(self, object_id: Any) -> Collection[str]:
        """While nothing is withdrawn, a refund ends the matter; after that the bank decides."""
        asked = Dispute.across_all_organizations.filter(pk=object_id, status__startswith="warning_")
        return () if asked.exists() else ("refund",)

    @admin.display(description=_("outcome"), ordering="outcome")
    def shown_outcome(self, dispute: Dispute) -> SafeString:
        return badge(dispute.get_outcome_display(), BADGES[DisputeOutcome(dispute.outcome)])

    @detail_action(_("Evidence"), path="evidence", icon="download")
    def evidence(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """A file for Stripe's form. Whoever takes personal data out is on record."""
        dispute = get_object_or_404(self.get_queryset(request), pk=object_id)
        record_audit(
            action="dispute.evidence_taken",
            subject=dispute,
            actor=acting_operator(request),
            organization=dispute.organization,
            ip=client_ip(request),
        )
        name = f"evidence-{dispute.dispute_id}.json"
        return JsonResponse(
            evidence_of(dispute),
            json_dumps_params={"indent": 2, "ensure_ascii": False},
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    @detail_action(_("Refund"), path="refund", icon="undo")
    def refund(self, request: HttpRequest, object_id: str) -> HttpResponse:
        dispute = get_object_or_404(self.get_queryset(request), pk=object_id)
        reason = gettext("The payer asked their bank: %(dispute)s") % {"dispute": dispute.dispute_id}
        return card_refund_page(self, request, dispute.top_up, reason=reason)


@admin.register(FraudWarning)
class FraudWarningAdmin(OperatingAdmin, EndlessAdmin):
    list_display = ("received_at", "state", "organization", "fraud_type", "froze_wallet", "settled_at")
    list_select_related = ("organization",)
    list_filter = (("received_at", DayFilter), ("organization", AutocompleteSelectFilter))
    list_filter_submit = True
    search_fields = ("warning_id__exact",)
    search_help_text = _("By its id at Stripe")
    fields = (
        "warning_id",
        "state",
        "fraud_type",
        "organization",
        "top_up",
        "froze_wallet",
        "received_at",
        "settled_at",
    )
    actions_detail = ("refund", "settle")

    @override
    def senseless_actions(self, object_id: Any) -> Collection[str]:
        settled = FraudWarning.across_all_organizations.filter(pk=object_id, settled_at__isnull=False)
        return ("settle",) if settled.exists() else ()

    @admin.display(description=_("state"))
    def state(self, warning: FraudWarning) -> SafeString:
        if warning.settled_at is not None:
            return badge(gettext("Seen to"), "success")
        return badge(gettext("Open"), "danger")

    @detail_action(_("Refund"), path="refund", icon="undo")
    def refund(self, request: HttpRequest, object_id: str) -> HttpResponse:
        warning = get_object_or_404(self.get_queryset(request), pk=object_id)
        reason = gettext("Early fraud warning %(warning)s") % {"warning": warning.warning_id}
        return card_refund_page(self, request, warning.top_up, reason=reason)

    @detail_action(_("It is seen to"), path="settle", icon="check_circle")
    def settle(self, request: HttpRequest, object_id: str) -> HttpResponse:
        warning = get_object_or_404(self.get_queryset(request), pk=object_id)
        form = bound_form(forms.Form, request)

        def do() -> FraudWarning:
            return settle_warning(warning=warning, actor=acting_operator(request), ip=client_ip(request))

        if form.is_bound and carry_out(form, do) is not None:
            return redirect("admin:billing_fraudwarning_change", warning.pk)
        return self.form_page(
            request,
            form,
            title=gettext("The warning is seen to"),
            submit=_("Save"),
            explanation=_("A frozen wallet stays frozen until somebody unfreezes it."),
            original=warning,
        )
