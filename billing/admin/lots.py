"""Lots and what was done to them; refunds of what was not paid by card."""

from collections.abc import Collection
from typing import Any

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

from billing.admin.operating import AmountForm, OperatingAdmin, ReadOnlyInline, actor_of, bound_form
from billing.models import Lot, LotEntry, LotKind, Refund, TopUp
from billing.refunds import request_refund
from common.admin import (
    DayFilter,
    EndlessAdmin,
    USDField,
    carry_out,
    detail_action,
    usd,
    usd_column,
)


class RefundForm(AmountForm):
    tax = USDField(label=_("Tax, USD"), required=False, help_text=_("That goes back with it, on top."))

    field_order = ("amount", "tax", "reason")


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
        top_up = TopUp.across_all_organizations.filter(lot=lot).first()
        if top_up is not None:  # it goes back to the card
            return redirect("admin:billing_topup_refund", top_up.pk)
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
