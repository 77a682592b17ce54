"""Card payments of customers: what became of each; unlocking and refunding it."""

from collections.abc import Collection
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from typing_extensions import override
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from accounts.admin.audited import acting_operator
from billing.admin.amounts import cents_column
from billing.admin.operating import OperatingAdmin, bound_form
from billing.admin.refunds import card_refund_page
from billing.models import TopUp, TopUpState
from billing.unlocking import unlock_top_up
from common.admin import DayFilter, EndlessAdmin, badge, carry_out, client_ip, detail_action

BADGES = {TopUpState.PAID: "success", TopUpState.FAILED: "danger", TopUpState.ACTION_REQUIRED: "warning"}


class HeldFilter(admin.SimpleListFilter):
    title = _("credit")
    parameter_name = "held"

    @override
    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("yes", gettext("Held"))]

    @override
    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() != "yes":
            return queryset
        return queryset.filter(held_until__isnull=False, unlocked_at__isnull=True)


@admin.register(TopUp)
class TopUpAdmin(OperatingAdmin, EndlessAdmin):
    list_display = (
        "created_at",
        "shown_state",
        "organization",
        cents_column("amount_minor", _("credit")),
        cents_column("tax_minor", _("tax")),
        "origin",
        "paid_at",
        "payment_last4",
    )
    list_select_related = ("organization",)
    list_filter = (
        "state",
        "origin",
        HeldFilter,
        ("created_at", DayFilter),
        ("organization", AutocompleteSelectFilter),
    )
    list_filter_submit = True
    search_fields = ("payment_intent_id__exact", "charge_id__exact", "session_id__exact")
    search_help_text = _("By an id at Stripe")
    ordering = ("-created_at",)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "shown_state",
                    "organization",
                    cents_column("amount_minor", _("credit")),
                    cents_column("tax_minor", _("tax")),
                    "origin",
                    "requested_by",
                    "requested_ip",
                    "created_at",
                    "paid_at",
                    "held_until",
                    "unlocked_at",
                    "failure_code",
                )
            },
        ),
        (
            _("At Stripe"),
            {
                "fields": (
                    "payment_intent_id",
                    "charge_id",
                    "session_id",
                    "payment_brand",
                    "payment_last4",
                    "payment_fingerprint",
                    "livemode",
                    "receipt",
                    "checked_at",
                )
            },
        ),
        (_("In the books"), {"fields": ("transaction", "lot")}),
    )
    actions_detail = ("refund", "unlock")

    @override
    def senseless_actions(self, object_id: Any) -> Collection[str]:
        top_up = TopUp.across_all_organizations.filter(pk=object_id, state=TopUpState.PAID).first()
        if top_up is None:
            return self.actions_detail
        return () if top_up.is_held else ("unlock",)

    @admin.display(description=_("state"), ordering="state")
    def shown_state(self, top_up: TopUp) -> SafeString:
        if top_up.is_held:
            return badge(gettext("Paid, credit held"), "info")
        return badge(top_up.get_state_display(), BADGES.get(TopUpState(top_up.state), ""))

    @admin.display(description=_("receipt"))
    def receipt(self, top_up: TopUp) -> SafeString | str:
        if not top_up.receipt_url:
            return "-"
        return format_html('<a href="{}" rel="noreferrer">{}</a>', top_up.receipt_url, gettext("Receipt"))

    @detail_action(_("Refund"), path="refund", icon="undo")
    def refund(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return card_refund_page(self, request, self._top_up(request, object_id), reason="")

    @detail_action(_("Unlock"), path="unlock", icon="lock_open")
    def unlock(self, request: HttpRequest, object_id: str) -> HttpResponse:
        top_up = self._top_up(request, object_id)
        form = bound_form(forms.Form, request)

        def do() -> TopUp:
            return unlock_top_up(top_up, acting_operator(request), ip=client_ip(request))

        if form.is_bound and carry_out(form, do) is not None:
            return redirect("admin:billing_topup_change", top_up.pk)
        return self.form_page(
            request,
            form,
            title=gettext("Unlock the credit of %(organization)s") % {"organization": top_up.organization},
            submit=_("Unlock"),
            explanation=_("It can be spent within a second."),
            original=top_up,
        )

    def _top_up(self, request: HttpRequest, object_id: str) -> TopUp:
        top_up: TopUp = get_object_or_404(self.get_queryset(request), pk=object_id, state=TopUpState.PAID)
        return top_up
