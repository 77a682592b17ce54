"""Refunds: what became of them, and what operators do about them."""

from collections.abc import Callable, Collection
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from typing_extensions import override
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.enums import ActionVariant

from accounts.admin.audited import acting_operator
from billing.admin.amounts import CentsField
from billing.admin.operating import OperatingAdmin, ReasonForm, actor_of, bound_form
from billing.card_refunds import approve_refund, most_refundable, request_card_refund
from billing.models import Refund, RefundState, TopUp
from billing.refunds import finish_refund
from common.admin import (
    DayFilter,
    EndlessAdmin,
    OperatorAdmin,
    Text,
    badge,
    carry_out,
    client_ip,
    detail_action,
)
from common.money import minor_to_nano
from common.templatetags.formats import money_exact

REFUND_BADGES = {RefundState.REQUESTED: "warning", RefundState.SUCCEEDED: "success", RefundState.FAILED: ""}


class CardRefundForm(ReasonForm):
    amount = CentsField(label=_("Credit, USD"), help_text=_("Its share of the tax goes back with it."))

    field_order = ("amount", "reason")


def card_refund_page(
    page: OperatorAdmin, request: HttpRequest, top_up: TopUp, *, reason: str
) -> HttpResponse:
    """The form on the page of whatever asks for it; sent, it leads to the refund."""
    most = most_refundable(top_up)
    form = bound_form(CardRefundForm, request)
    form.initial |= {"amount": most, "reason": reason}

    def ask() -> Refund:
        return request_card_refund(
            top_up=top_up,
            amount_nano=minor_to_nano(form.cleaned_data["amount"]),
            reason=form.cleaned_data["reason"],
            fact_key=f"operator:{top_up.pk}:{form.cleaned_data['form_id']}",
            **actor_of(request),
        )

    refund = carry_out(form, ask) if form.is_bound else None
    if refund is not None:
        _tell(request, refund)
        return redirect("admin:billing_refund_change", refund.pk)
    text = gettext("Of %(credit)s, %(most)s can go back to the card now.")
    return page.form_page(
        request,
        form,
        title=gettext("Refund a card payment of %(organization)s") % {"organization": top_up.organization},
        submit=_("Refund"),
        explanation=text
        % {
            "credit": money_exact(minor_to_nano(top_up.amount_minor)),
            "most": money_exact(minor_to_nano(most)),
        },
        original=top_up if isinstance(top_up, page.model) else None,
    )


def _tell(request: HttpRequest, refund: Refund) -> None:
    if refund.waits_for_approval:
        text = gettext("The credit is out of the wallet. It is over the limit: another operator approves it.")
        messages.warning(request, text)
    else:
        messages.success(
            request, gettext("The credit is out of the wallet, and Stripe is asked to refund it.")
        )


@admin.register(Refund)
class RefundAdmin(OperatingAdmin, EndlessAdmin):
    usd_fields = ("amount_nano", "tax_nano", "owed_nano")
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
    search_fields = ("stripe_id__exact",)
    search_help_text = _("By its id at Stripe")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "shown_state",
                    "organization",
                    "amount_nano",
                    "tax_nano",
                    "owed_nano",
                    "reason",
                    "requested_by",
                    "requested_at",
                    "approved_by",
                    "paid_at",
                    "ended_at",
                    "failure_reason",
                )
            },
        ),
        (
            _("Where it goes"),
            {
                "fields": (
                    "top_up",
                    "lot",
                    "from_held",
                    "stripe_id",
                    "stripe_status",
                    "sent_at",
                    "tried_at",
                    "fact_key",
                )
            },
        ),
    )
    actions_detail = ("approve", "was_paid", "has_failed")

    @override
    def senseless_actions(self, object_id: Any) -> Collection[str]:
        refund = Refund.across_all_organizations.filter(pk=object_id, state=RefundState.REQUESTED).first()
        if refund is None or refund.sent_at is not None:
            return self.actions_detail
        approval = () if refund.waits_for_approval else ("approve",)
        return (*approval, *(() if refund.top_up_id is None else ("was_paid",)))

    @admin.display(description=_("state"), ordering="state")
    def shown_state(self, refund: Refund) -> SafeString:
        if refund.waits_for_approval:
            return badge(gettext("Waits for a second operator"), "warning")
        return badge(refund.get_state_display(), REFUND_BADGES[RefundState(refund.state)])

    @detail_action(_("Approve"), path="approve", icon="approval")
    def approve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        refund = self._refund(request, object_id)
        form = bound_form(forms.Form, request)

        def let_go() -> Refund:
            return approve_refund(refund=refund, approved_by=acting_operator(request), ip=client_ip(request))

        text = gettext("%(amount)s go back to the card of %(organization)s. Reason: %(reason)s")
        values = {
            "amount": money_exact(refund.amount_nano + refund.tax_nano),
            "organization": refund.organization,
            "reason": refund.reason,
        }
        return self._page(
            request, refund, form, let_go, title=_("Approve the refund"), explanation=text % values
        )

    @detail_action(_("It was paid"), path="paid", icon="check_circle")
    def was_paid(self, request: HttpRequest, object_id: str) -> HttpResponse:
        form = bound_form(forms.Form, request)
        return self._finish(
            request,
            object_id,
            RefundState.SUCCEEDED,
            form,
            title=_("The refund was paid"),
            explanation=_("It left the bank account. This is final."),
        )

    @detail_action(_("It failed"), path="failed", icon="cancel", variant=ActionVariant.DANGER)
    def has_failed(self, request: HttpRequest, object_id: str) -> HttpResponse:
        form = bound_form(forms.Form, request)
        return self._finish(
            request,
            object_id,
            RefundState.FAILED,
            form,
            title=_("The refund failed"),
            explanation=_("The credit goes back to its lot, after what is owed by now. This is final."),
        )

    def _finish(
        self,
        request: HttpRequest,
        object_id: str,
        outcome: RefundState,
        form: forms.Form,
        *,
        title: Text,
        explanation: Text,
    ) -> HttpResponse:
        refund = self._refund(request, object_id)

        def finish() -> Refund:
            return finish_refund(
                refund=refund,
                outcome=outcome,
                actor=acting_operator(request),
                ip=client_ip(request),
            )

        return self._page(request, refund, form, finish, title=title, explanation=explanation)

    def _page(
        self,
        request: HttpRequest,
        refund: Refund,
        form: forms.Form,
        use_case: Callable[[], Refund],
        *,
        title: Text,
        explanation: Text,
    ) -> HttpResponse:
        if form.is_bound and carry_out(form, use_case) is not None:
            return redirect("admin:billing_refund_change", refund.pk)
        return self.form_page(
            request, form, title=title, submit=_("Save"), explanation=explanation, original=refund
        )

    def _refund(self, request: HttpRequest, object_id: str) -> Refund:
        refund: Refund = get_object_or_404(self.get_queryset(request), pk=object_id)
        return refund
