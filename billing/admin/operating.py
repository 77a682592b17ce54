"""Forms through which operators move money, and what every page with one of them does."""

from collections.abc import Callable, Collection, Iterable
from typing import Any
from uuid import uuid4

from django import forms
from django.contrib import messages
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from typing_extensions import override
from unfold.widgets import UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from accounts.admin.audited import acting_operator
from billing.models import Adjustment, AdjustmentState
from common.admin import OperatorAdmin, OperatorInline, Text, USDField, carry_out, client_ip, usd

REASON_LENGTH: int = Adjustment._meta.get_field("reason").max_length or 500


class ReasonForm(forms.Form):
    """`form_id` is made with the form: however often it is sent, it does its work once."""

    form_id = forms.UUIDField(widget=forms.HiddenInput, initial=uuid4)
    reason = forms.CharField(
        label=_("Reason"),
        max_length=REASON_LENGTH,
        help_text=_("Kept for ever, in the audit trail too. Customers do not see it."),
        widget=UnfoldAdminTextInputWidget(),
    )


class AmountForm(ReasonForm):
    amount = USDField(label=_("Amount, USD"))

    field_order: tuple[str, ...] = ("amount", "reason")


class TransferForm(AmountForm):
    tax = USDField(label=_("Tax, USD"), required=False, help_text=_("That came on top of the credit."))
    reference = forms.CharField(
        label=_("Bank reference"),
        max_length=Adjustment._meta.get_field("reference").max_length,
        help_text=_("As the bank statement has it: each transfer counts once."),
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
    )

    field_order = ("amount", "tax", "reference", "reason")


class TakeBackForm(AmountForm):
    may_owe = forms.BooleanField(
        label=_("What is spent already becomes a debt"),
        required=False,
        help_text=_("The wallet is blocked until it is paid."),
        widget=UnfoldBooleanSwitchWidget(),
    )

    field_order = ("amount", "may_owe", "reason")


class GiveBackForm(ReasonForm):
    amount = USDField(
        label=_("Amount, USD"), required=False, help_text=_("Left empty: all that is left of the price.")
    )

    field_order = ("amount", "reason")


class OperatingAdmin(OperatorAdmin):
    """Its buttons offer what can be done to the row as it is."""

    def senseless_actions(self, object_id: Any) -> Collection[str]:
        """Names of `actions_detail` to leave out."""
        raise NotImplementedError

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        senseless = tuple(f"_{name}" for name in self.senseless_actions(object_id))
        actions = super().get_actions_detail(request, object_id)  # type: ignore[misc] # unfold ships no types
        return [one for one in actions if not one.action_name.endswith(senseless)]


class ReadOnlyInline(OperatorInline):
    """Rows that belong to the page's row, to look at."""

    can_delete = False
    hide_title = True
    per_page = 50

    @override
    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @override
    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @override
    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def links_to(lists: Iterable[tuple[str, Text]], organization_id: int) -> SafeString:
    """The organization's rows in other lists."""
    addresses = (
        (f"{reverse(f'admin:{name}_changelist')}?organization__id__exact={organization_id}", label)
        for name, label in lists
    )
    return format_html_join(" · ", '<a class="text-link" href="{}">{}</a>', addresses)


def bound_form(kind: type[forms.Form], request: HttpRequest) -> Any:
    return kind(request.POST if request.method == "POST" else None)


def actor_of(request: HttpRequest) -> dict[str, Any]:
    """Who asks, from where: the last arguments of the services that operators call."""
    return {"requested_by": acting_operator(request), "ip": client_ip(request)}


def adjustment_page(
    admin: OperatorAdmin,
    request: HttpRequest,
    original: models.Model,
    *,
    form: Any,
    use_case: Callable[[], Adjustment],
    title: Text,
    submit: Text,
    explanation: Text = "",
) -> HttpResponse:
    """A form that asks for an adjustment; then it is posted, or waits, and the page says which."""
    adjustment = carry_out(form, use_case) if form.is_bound else None
    if adjustment is None:
        return admin.form_page(
            request, form, title=title, submit=submit, explanation=explanation, original=original
        )
    tell(request, adjustment, form.cleaned_data.get("amount"))
    if adjustment.state == AdjustmentState.REQUESTED:
        return redirect("admin:billing_adjustment_change", adjustment.pk)
    return redirect(f"admin:{original._meta.app_label}_{original._meta.model_name}_change", original.pk)


def tell(request: HttpRequest, adjustment: Adjustment, typed: int | None) -> None:
    """A form sent again with another amount has changed nothing, and says so."""
    values = {
        "kind": adjustment.get_kind_display(),
        "amount": usd(adjustment.amount_nano),
        "organization": adjustment.organization,
    }
    if typed not in (None, adjustment.amount_nano):
        text = gettext("This form had done its work: {kind}, {amount}, {organization}; nothing was added.")
        messages.warning(request, format_html(text, **values))
    elif adjustment.state == AdjustmentState.POSTED:
        messages.success(request, format_html(gettext("{kind}: {amount}, {organization}. Posted."), **values))
    else:
        text = gettext("{kind}: {amount}, {organization}. It is over the limit: a second operator decides.")
        messages.warning(request, format_html(text, **values))
