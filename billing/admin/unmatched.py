"""What Stripe told us and what became of it, and money that nobody here had asked for."""

from collections.abc import Collection
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AutocompleteSelect
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from typing_extensions import override

from accounts.models import Organization
from billing.adjustments import request_adjustment
from billing.admin.operating import OperatingAdmin, ReasonForm, actor_of, adjustment_page, bound_form
from billing.models import Adjustment, AdjustmentKind, StripeEvent, StripeEventState, UnmatchedPayment
from billing.unmatched import in_suspense_nano
from common.admin import DayFilter, EndlessAdmin, ReadOnlyAdmin, USDField, badge, detail_action, usd
from common.templatetags.formats import moment

BADGES = {
    StripeEventState.WAITING: "warning",
    StripeEventState.DONE: "success",
    StripeEventState.IGNORED: "",
    StripeEventState.REFUSED: "danger",
}


class ClaimForm(ReasonForm):
    organization = forms.ModelChoiceField(
        Organization.objects.order_by("name", "pk"),
        label=_("Organization"),
        widget=AutocompleteSelect(
            Adjustment._meta.get_field("organization"),
            admin.site,
            attrs={"class": "unfold-admin-autocomplete"},
        ),
    )
    tax = USDField(
        label=_("Tax, USD"), required=False, help_text=_("How much of it is tax, and so no credit.")
    )

    field_order = ("organization", "tax", "reason")


@admin.register(StripeEvent)
class StripeEventAdmin(EndlessAdmin):
    list_display = ("received_at", "type", "shown_state", "object_id", "reason", "tries", "came_by")
    list_filter = ("state", "came_by", ("received_at", DayFilter))
    list_filter_submit = True
    search_fields = ("event_id__exact", "object_id__exact")
    search_help_text = _("The whole id of an event or of its object")
    ordering = ("-received_at",)
    fields = (
        "event_id",
        "type",
        "livemode",
        "object_id",
        "happened_at",
        "received_at",
        "came_by",
        "shown_state",
        "reason",
        "tries",
        "next_try_at",
        "ended_at",
        "payload",
    )

    @admin.display(description=_("state"))
    def shown_state(self, event: StripeEvent) -> SafeString:
        return badge(event.get_state_display(), BADGES[StripeEventState(event.state)])


@admin.register(UnmatchedPayment)
class UnmatchedPaymentAdmin(OperatingAdmin, ReadOnlyAdmin):
    """What has still to be settled comes first."""

    list_display = ("found_at", "payment_intent_id", "paid", "in_suspense", "reason", "state")
    list_filter = (("settled_at", admin.EmptyFieldListFilter), ("found_at", DayFilter))
    list_filter_submit = True
    search_fields = ("payment_intent_id", "reason")
    ordering = (models.Case(models.When(settled_at=None, then=0), default=1), "-pk")
    list_select_related = ("transaction", "settled_by")
    fields = (
        "payment_intent_id",
        "paid",
        "in_suspense",
        "reason",
        "found_at",
        "transaction",
        "settled_by",
        "settled_at",
    )
    actions_detail = ("credit",)

    @override
    def senseless_actions(self, object_id: Any) -> Collection[str]:
        waiting = UnmatchedPayment.objects.filter(pk=object_id, settled_at=None, transaction__isnull=False)
        return () if waiting.exists() else self.actions_detail

    @admin.display(description=_("amount"), ordering="amount_minor")
    def paid(self, payment: UnmatchedPayment) -> str:
        whole, cents = divmod(payment.amount_minor, 100)
        return f"{whole}.{cents:02d} {payment.currency}"

    @admin.display(description=_("in suspense"))
    def in_suspense(self, payment: UnmatchedPayment) -> SafeString:
        return usd(0 if payment.settled_at else in_suspense_nano(payment))

    @admin.display(description=_("settled"), ordering="settled_at")
    def state(self, payment: UnmatchedPayment) -> SafeString:
        if payment.settled_at is None:
            return badge(gettext("Waits"), "warning")
        return format_html('<span class="whitespace-nowrap">{}</span>', moment(payment.settled_at))

    @detail_action(_("Credit it to a customer"), path="credit", icon="person_add")
    def credit(self, request: HttpRequest, object_id: str) -> HttpResponse:
        payment = get_object_or_404(UnmatchedPayment, pk=object_id)
        form = bound_form(ClaimForm, request)
        whole = in_suspense_nano(payment)

        def claim() -> Adjustment:
            tax = form.cleaned_data["tax"] or 0
            return request_adjustment(
                organization=form.cleaned_data["organization"],
                kind=AdjustmentKind.CLAIM,
                amount_nano=whole - tax,
                tax_nano=tax,
                reference=payment.payment_intent_id,
                reason=form.cleaned_data["reason"],
                fact_key=f"form:{form.cleaned_data['form_id']}",
                **actor_of(request),
            )

        return adjustment_page(
            self,
            request,
            payment,
            form=form,
            use_case=claim,
            title=gettext("Credit %(payment)s to a customer") % {"payment": payment.payment_intent_id},
            submit=_("Credit it"),
            explanation=_("Or refund it in Stripe's dashboard: then it is settled by itself."),
        )
