"""Lots and what was done to them; refunds of paid ones."""

from collections.abc import Collection
from typing import Any

from django import forms
from django.contrib import admin, messages
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
from unfold.widgets import UnfoldAdminSelectWidget

from accounts.admin.audited import acting_operator
from billing.admin.operating import AmountForm, OperatingAdmin, ReadOnlyInline, actor_of, bound_form
from billing.ledger import Account
from billing.models import Lot, LotEntry, LotKind, Refund, RefundState
from billing.refunds import finish_refund, request_refund
from common.admin import (
    DayFilter,
    EndlessAdmin,
    USDField,
    badge,
    carry_out,
    client_ip,
    detail_action,
    usd,
    usd_column,
)

REFUND_BADGES = {RefundState.REQUESTED: "warning", RefundState.SUCCEEDED: "success", RefundState.FAILED: ""}


class RefundForm(AmountForm):
    tax = USDField(label=_("Tax, USD"), required=False, help_text=_("That goes back with it, on top."))

    field_order = ("amount", "tax", "reason")


class PaidForm(forms.Form):
    source = forms.ChoiceField(
        label=_("Paid from"),
        choices=[(Account.BANK, _("Bank")), (Account.STRIPE_CLEARING, _("Stripe"))],
        widget=UnfoldAdminSelectWidget(),
    )


class LotEntryInline(ReadOnlyInline):
    model = LotEntry
    fields = ("posting", "kind", usd_column("amount", _("amount")))
    readonly_fields = fields
    ordering = ("-pk",)

    @override
    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("transaction")

    @admin.display(description=_("ledger transaction"))
    def posting(self, entry: LotEntry) -> SafeString:
        address = reverse("admin:billing_ledgertransaction_change", args=[entry.transaction_id])
        return format_html('<a class="text-link" href="{}">{}</a>', address, entry.transaction.fact_key)

    @admin.display(description=_("kind"))
    def kind(self, entry: LotEntry) -> str:
        return str(entry.transaction.get_kind_display())


@admin.register(Lot)
class LotAdmin(OperatingAdmin, EndlessAdmin):
    usd_fields = ("original", "remaining")
    list_display = ("opened_at", "organization", "kind", "remaining", "original", "expires_at", "priority")
    list_select_related = ("organization",)
    list_filter = (
        "kind",
        ("opened_at", DayFilter),
        ("expires_at", DayFilter),
        ("organization", AutocompleteSelectFilter),
    )
    list_filter_submit = True
    search_fields = ("pk__exact",)
    search_help_text = _("By number")
    fields = (
        "organization",
        "kind",
        "original",
        "remaining",
        "priority",
        "opened_at",
        "expires_at",
        "origin",
    )
    inlines = (LotEntryInline,)
    actions_detail = ("refund",)

    @override
    def senseless_actions(self, object_id: Any) -> Collection[str]:
        refundable = Lot.across_all_organizations.filter(pk=object_id, kind=LotKind.PAID, remaining__gt=0)
        return () if refundable.exists() else self.actions_detail

    @detail_action(_("Refund"), path="refund", icon="undo")
    def refund(self, request: HttpRequest, object_id: str) -> HttpResponse:
        lot = get_object_or_404(self.get_queryset(request), pk=object_id)
        form = bound_form(RefundForm, request)

        def ask() -> Refund:
            return request_refund(
                lot=lot,
                amount_nano=form.cleaned_data["amount"],
                tax_nano=form.cleaned_data["tax"] or 0,
                reason=form.cleaned_data["reason"],
                fact_key=f"operator:{lot.pk}:{form.cleaned_data['form_id']}",
                **actor_of(request),
            )

        refund = carry_out(form, ask) if form.is_bound else None
        if refund is not None:
            messages.success(request, gettext("The credit is out of the wallet. Pay it, then say so here."))
            return redirect("admin:billing_refund_change", refund.pk)
        return self.form_page(
            request,
            form,
            title=gettext("Refund unused credit of %(organization)s") % {"organization": lot.organization},
            submit=_("Take it out for a refund"),
            explanation=format_html(gettext("The lot holds {amount}."), amount=usd(lot.remaining)),
            original=lot,
        )


@admin.register(Refund)
class RefundAdmin(OperatingAdmin, EndlessAdmin):
    usd_fields = ("amount_nano", "tax_nano")
    list_display = (
        "requested_at",
        "shown_state",
        "organization",
        "amount_nano",
        "tax_nano",
        "reason",
        "requested_by",
        "ended_at",
    )
    list_select_related = ("organization", "requested_by")
    list_filter = ("state", ("requested_at", DayFilter), ("organization", AutocompleteSelectFilter))
    list_filter_submit = True
    fields = (
        "shown_state",
        "organization",
        "lot",
        "amount_nano",
        "tax_nano",
        "reason",
        "requested_by",
        "requested_at",
        "ended_at",
        "fact_key",
    )
    actions_detail = ("was_paid", "has_failed")

    @override
    def senseless_actions(self, object_id: Any) -> Collection[str]:
        waiting = Refund.across_all_organizations.filter(pk=object_id, state=RefundState.REQUESTED)
        return () if waiting.exists() else self.actions_detail

    @admin.display(description=_("state"), ordering="state")
    def shown_state(self, refund: Refund) -> SafeString:
        return badge(refund.get_state_display(), REFUND_BADGES[RefundState(refund.state)])

    @detail_action(_("It was paid"), path="paid", icon="check_circle")
    def was_paid(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._finish(request, object_id, RefundState.SUCCEEDED, bound_form(PaidForm, request))

    @detail_action(_("It failed"), path="failed", icon="cancel", variant=ActionVariant.DANGER)
    def has_failed(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._finish(request, object_id, RefundState.FAILED, bound_form(forms.Form, request))

    def _finish(
        self, request: HttpRequest, object_id: str, outcome: RefundState, form: forms.Form
    ) -> HttpResponse:
        refund = get_object_or_404(self.get_queryset(request), pk=object_id)

        def finish() -> Refund:
            return finish_refund(
                refund=refund,
                outcome=outcome,
                source=Account(form.cleaned_data.get("source", Account.BANK)),
                actor=acting_operator(request),
                ip=client_ip(request),
            )

        if form.is_bound and carry_out(form, finish) is not None:
            return redirect("admin:billing_refund_change", refund.pk)
        is_paid = outcome == RefundState.SUCCEEDED
        return self.form_page(
            request,
            form,
            title=gettext("The refund was paid") if is_paid else gettext("The refund failed"),
            submit=_("Save"),
            explanation=_("This is final.")
            if is_paid
            else _("The credit goes back to its lot, after what is owed by now. This is final."),
            original=refund,
        )
