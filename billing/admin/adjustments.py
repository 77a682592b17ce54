"""What operators asked for: the list of what waits, and approving or rejecting it."""

from collections.abc import Collection
from typing import Any

from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from typing_extensions import override
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.enums import ActionVariant

from accounts.admin.audited import acting_operator
from billing.adjustments import approve_adjustment, reject_adjustment
from billing.admin.operating import OperatingAdmin, ReasonForm, bound_form
from billing.models import Adjustment, AdjustmentKind, AdjustmentState, Wallet
from common.admin import (
    NOTHING,
    DayFilter,
    ReadOnlyAdmin,
    badge,
    carry_out,
    client_ip,
    detail_action,
    usd,
)
from common.ids import public_id

BADGES = {
    AdjustmentState.REQUESTED: "warning",
    AdjustmentState.POSTED: "success",
    AdjustmentState.REJECTED: "",
}


@admin.register(Adjustment)
class AdjustmentAdmin(OperatingAdmin, ReadOnlyAdmin):
    """What waits comes first."""

    usd_fields = ("amount_nano", "tax_nano")
    list_display = (
        "requested_at",
        "shown_state",
        "kind",
        "organization",
        "amount_nano",
        "reason",
        "requested_by",
        "decided_by",
    )
    list_select_related = ("organization", "requested_by", "decided_by")
    list_filter = (
        "state",
        "kind",
        ("requested_at", DayFilter),
        ("organization", AutocompleteSelectFilter),
    )
    list_filter_submit = True
    search_fields = ("organization__name", "reason", "reference", "fact_key")
    ordering = (
        models.Case(models.When(state=AdjustmentState.REQUESTED, then=0), default=1),
        "-pk",
    )
    fields = (
        "shown_state",
        "kind",
        "organization",
        "amount_nano",
        "tax_nano",
        "reference",
        "may_owe",
        "concerns",
        "reason",
        "requested_by",
        "requested_at",
        "decided_by",
        "decided_at",
        "posting",
        "fact_key",
    )
    actions_detail = ("approve", "reject")

    @override
    def senseless_actions(self, object_id: Any) -> Collection[str]:
        waiting = Adjustment.across_all_organizations.filter(pk=object_id, state=AdjustmentState.REQUESTED)
        return () if waiting.exists() else self.actions_detail

    @admin.display(description=_("state"), ordering="state")
    def shown_state(self, adjustment: Adjustment) -> SafeString:
        return badge(adjustment.get_state_display(), BADGES[AdjustmentState(adjustment.state)])

    @admin.display(description=_("concerns"))
    def concerns(self, adjustment: Adjustment) -> SafeString | str:
        """The row it is about, where it is about one."""
        if adjustment.campaign is not None:
            return _link("admin:billing_campaign_change", adjustment.campaign_id, str(adjustment.campaign))
        if adjustment.subject is None:
            return NOTHING
        if adjustment.kind == AdjustmentKind.CORRECTION:
            name = public_id("req", adjustment.subject)
            return _link("admin:billing_usagerecord_change", adjustment.subject, name)
        return _link("admin:billing_ledgertransaction_change", adjustment.subject, str(adjustment.subject))

    @admin.display(description=_("ledger transaction"))
    def posting(self, adjustment: Adjustment) -> SafeString | str:
        if adjustment.transaction_id is None:
            return NOTHING
        number = adjustment.transaction_id
        return _link("admin:billing_ledgertransaction_change", number, str(number))

    @detail_action(_("Approve and post"), path="approve", icon="check_circle")
    def approve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        adjustment = get_object_or_404(self.get_queryset(request), pk=object_id)
        form = bound_form(ApproveForm, request)

        def approve() -> Adjustment:
            return approve_adjustment(
                adjustment=adjustment, approved_by=acting_operator(request), ip=client_ip(request)
            )

        if form.is_bound and carry_out(form, approve):
            messages.success(request, gettext("Posted."))
            return redirect("admin:billing_adjustment_change", adjustment.pk)
        return self.form_page(
            request,
            form,
            title=gettext("Approve what %(operator)s asked for") % {"operator": adjustment.requested_by},
            submit=_("Approve and post"),
            explanation=_said(adjustment),
            original=adjustment,
        )

    @detail_action(_("Reject"), path="reject", icon="cancel", variant=ActionVariant.DANGER)
    def reject(self, request: HttpRequest, object_id: str) -> HttpResponse:
        adjustment = get_object_or_404(self.get_queryset(request), pk=object_id)
        form = bound_form(ReasonForm, request)

        def reject() -> Adjustment:
            return reject_adjustment(
                adjustment=adjustment,
                rejected_by=acting_operator(request),
                reason=form.cleaned_data["reason"],
                ip=client_ip(request),
            )

        if form.is_bound and carry_out(form, reject):
            messages.success(request, gettext("Rejected."))
            return redirect("admin:billing_adjustment_change", adjustment.pk)
        return self.form_page(
            request,
            form,
            title=gettext("Reject what %(operator)s asked for") % {"operator": adjustment.requested_by},
            submit=_("Reject"),
            explanation=_said(adjustment),
            original=adjustment,
        )


class ApproveForm(ReasonForm):
    """Nothing to write: the reason is the one it was asked for with."""

    reason = None  # type: ignore[assignment] # Django's way to leave out an inherited field


def _said(adjustment: Adjustment) -> SafeString:
    wallet = Wallet.objects.get(pk=adjustment.organization_id)
    text = gettext("{kind}: {amount} for {organization}. Reason: {reason}. The wallet holds {posted} now.")
    return format_html(
        text,
        kind=adjustment.get_kind_display(),
        amount=usd(adjustment.amount_nano + adjustment.tax_nano),
        organization=adjustment.organization,
        reason=adjustment.reason,
        posted=usd(wallet.posted),
    )


def _link(route: str, pk: object, text: str) -> SafeString:
    return format_html('<a class="text-link" href="{}">{}</a>', reverse(route, args=[pk]), text)
