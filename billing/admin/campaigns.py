"""Campaigns: their terms, switching them, granting out of them; and who brought whom."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import AutocompleteSelect
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from typing_extensions import override
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.enums import ActionVariant

from accounts.admin.audited import AuditedAdmin, acting_operator
from accounts.models import Organization
from billing.adjustments import request_campaign_grant
from billing.admin.amounts import CentsField
from billing.admin.operating import AmountForm, OperatingAdmin, actor_of, adjustment_page, bound_form
from billing.models import Adjustment, Campaign, CampaignKind, Referral, ReferralState, SignUp
from billing.promotions import needs_second_to_run, other_running, switch_campaign
from billing.referrals import Reason
from common.admin import (
    NOTHING,
    DayFilter,
    EndlessAdmin,
    RowForm,
    USDField,
    badge,
    carry_out,
    client_ip,
    detail_action,
    usd_column,
)

# Whoever sets one of these anew has set how much the campaign gives.
TERMS = frozenset(
    {"amount_nano", "referrer_nano", "least_top_up_minor", "most_per_referrer", "budget_nano"}
    | {"starts_at", "ends_at", "credit_days"}
)


COUNTED = usd_column("granted_nano", _("granted so far"))


class CampaignForm(RowForm):
    amount_nano = USDField(
        label=_("Credit, USD"), help_text=_("For each customer; of a referral, for the new one.")
    )
    referrer_nano = USDField(
        label=_("Credit for who referred, USD"), required=False, help_text=_("Of a referral bonus only.")
    )
    least_top_up_minor = CentsField(
        label=_("First top-up of at least, USD"), required=False, help_text=_("Of a referral bonus only.")
    )
    budget_nano = USDField(
        label=_("At most in all, USD"), required=False, help_text=_("Empty: nothing bounds it.")
    )

    def clean_referrer_nano(self) -> int:
        return self.cleaned_data["referrer_nano"] or 0

    def clean_least_top_up_minor(self) -> int:
        return self.cleaned_data["least_top_up_minor"] or 0

    @override
    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        kind = values.get("kind") or self.instance.kind
        if not values.get("amount_nano") and not values.get("referrer_nano"):
            self.add_error("amount_nano", _("It gives nothing."))
        if values.get("referrer_nano") and kind != CampaignKind.REFERRAL:
            self.add_error("referrer_nano", _("Only a referral bonus has somebody who referred."))
        self._check_bounds(values.get("budget_nano"), values.get("starts_at"), values.get("ends_at"))
        return values

    def _check_bounds(self, budget: int | None, start: datetime | None, end: datetime | None) -> None:
        if budget is not None and budget < self.instance.granted_nano:
            self.add_error("budget_nano", _("More than that was granted already."))
        if start and end and end <= start:
            self.add_error("ends_at", _("It ends before it starts."))


class GrantForm(AmountForm):
    organization = forms.ModelChoiceField(
        Organization.objects.none(),
        label=_("Organization"),
        widget=AutocompleteSelect(
            Adjustment._meta.get_field("organization"),
            admin.site,
            attrs={"class": "unfold-admin-autocomplete"},
        ),
    )

    field_order = ("organization", "amount", "reason")

    def __init__(self, *args: Any, campaign: Campaign, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        customers = Organization.objects.filter(reseller=campaign.reseller_id)
        self.fields["organization"].queryset = customers.order_by("name", "pk")  # type: ignore[attr-defined]
        self.fields["amount"].initial = campaign.amount_nano


@admin.register(Campaign)
class CampaignAdmin(OperatingAdmin, AuditedAdmin):
    """A bonus that may give more than one operator may is switched on by another than who set its terms."""

    form = CampaignForm
    usd_fields = ("amount_nano", "referrer_nano", "granted_nano", "budget_nano")
    list_display = (
        "name",
        "kind",
        "state",
        "amount_nano",
        "referrer_nano",
        "granted_nano",
        "budget_nano",
        "starts_at",
        "ends_at",
        "reseller",
    )
    list_select_related = ("reseller",)
    list_filter = ("kind", "is_on", ("reseller", AutocompleteSelectFilter))
    list_filter_submit = True
    search_fields = ("name",)
    ordering = ("-is_on", "-pk")
    actions_detail = ("grant", "switch_on", "switch_off")

    @override
    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        known = ("state", COUNTED, "changed_by") if obj else ()
        return (
            (None, {"fields": ("reseller", "kind", "name", *known)}),
            (_("What it gives"), {"fields": ("amount_nano", "credit_days", "budget_nano")}),
            (_("Time"), {"fields": ("starts_at", "ends_at")}),
            (
                _("Referrals"),
                {
                    "fields": ("referrer_nano", "least_top_up_minor", "most_per_referrer"),
                    "description": _("Paid to both when the new customer's first top-up is paid and free."),
                },
            ),
        )

    @override
    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[Any, ...]:
        if obj is None:
            return ()
        return ("reseller", "kind", "name", "state", COUNTED, "changed_by")

    @override
    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"starts_at": timezone.now(), **super().get_changeform_initial_data(request)}

    @override
    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @override
    def senseless_actions(self, object_id: Any) -> Collection[str]:
        campaign = Campaign.objects.filter(pk=object_id).first()
        if campaign is None:
            return self.actions_detail
        is_granted = campaign.is_on and campaign.kind == CampaignKind.GRANT
        return ("switch_on" if campaign.is_on else "switch_off", *(() if is_granted else ("grant",)))

    @admin.display(description=_("state"), ordering="is_on")
    def state(self, campaign: Campaign) -> SafeString:
        now = timezone.now()
        if not campaign.is_on:
            return badge(gettext("Off"))
        if campaign.ends_at is not None and campaign.ends_at <= now:
            return badge(gettext("Ended"))
        if campaign.starts_at > now:
            return badge(gettext("Not yet begun"), "info")
        left = campaign.left_nano
        if left is not None and left < max(1, campaign.amount_nano + campaign.referrer_nano):
            return badge(gettext("Spent"), "warning")
        return badge(gettext("Running"), "success")

    @override
    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        """What is granted meanwhile is not written over, and new terms are not on before they may be."""
        written = set(form.changed_data)
        if not change or TERMS & written:
            obj.changed_by = acting_operator(request)
            was_on, obj.is_on = obj.is_on, obj.is_on and _may_stay_on(obj)
            written |= {"changed_by", "is_on"}
            if was_on and not obj.is_on:
                text = gettext("It is off: it needs another operator, or another bonus of its kind is on.")
                messages.warning(request, text)
        obj.save(update_fields=written if change else None)

    @detail_action(_("Grant to an organization"), path="grant", icon="add_card")
    def grant(self, request: HttpRequest, object_id: str) -> HttpResponse:
        campaign = get_object_or_404(Campaign, pk=object_id)
        form = GrantForm(request.POST if request.method == "POST" else None, campaign=campaign)

        def ask() -> Adjustment:
            values = form.cleaned_data
            return request_campaign_grant(
                campaign=campaign,
                organization=values["organization"],
                amount_nano=values["amount"],
                reason=values["reason"],
                fact_key=f"operator:{campaign.pk}:{values['form_id']}",
                **actor_of(request),
            )

        return adjustment_page(
            self,
            request,
            campaign,
            form=form,
            use_case=ask,
            title=gettext("Grant out of %(campaign)s") % {"campaign": campaign},
            submit=_("Grant credit"),
            explanation=_("It counts in the campaign's budget."),
        )

    @detail_action(_("Switch on"), path="switch-on", icon="play_circle")
    def switch_on(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._switch(request, object_id, on=True)

    @detail_action(_("Switch off"), path="switch-off", icon="stop_circle", variant=ActionVariant.DANGER)
    def switch_off(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._switch(request, object_id, on=False)

    def _switch(self, request: HttpRequest, object_id: str, *, on: bool) -> HttpResponse:
        """Asks first: a GET changes nothing."""
        campaign = get_object_or_404(Campaign, pk=object_id)
        form = bound_form(forms.Form, request)

        def do() -> Campaign:
            return switch_campaign(
                campaign=campaign, on=on, actor=acting_operator(request), ip=client_ip(request)
            )

        if form.is_bound and carry_out(form, do):
            return redirect("admin:billing_campaign_change", campaign.pk)
        title = gettext("Switch on %(campaign)s") if on else gettext("Switch off %(campaign)s")
        return self.form_page(
            request,
            form,
            title=title % {"campaign": campaign},
            submit=_("Switch on") if on else _("Switch off"),
            explanation=_("What was given stays given."),
            original=campaign,
        )


def _may_stay_on(campaign: Campaign) -> bool:
    return not needs_second_to_run(campaign) and other_running(campaign) is None


REFERRAL_BADGES = {ReferralState.PENDING: "warning", ReferralState.PAID: "success", ReferralState.REFUSED: ""}


@admin.register(Referral)
class ReferralAdmin(EndlessAdmin):
    list_display = (
        "created_at",
        "shown_state",
        "organization",
        "referrer",
        "why",
        "grant",
        "referrer_grant",
        "ended_at",
    )
    list_select_related = ("organization", "referrer", "grant", "referrer_grant")
    list_filter = (
        "state",
        ("created_at", DayFilter),
        ("organization", AutocompleteSelectFilter),
        ("referrer", AutocompleteSelectFilter),
    )
    list_filter_submit = True
    search_fields = ("organization__name", "referrer__name")
    fields = (
        "organization",
        "referrer",
        "shown_state",
        "why",
        "created_at",
        "ended_at",
        "grant",
        "referrer_grant",
    )

    @admin.display(description=_("state"))
    def shown_state(self, referral: Referral) -> SafeString:
        return badge(referral.get_state_display(), REFERRAL_BADGES[ReferralState(referral.state)])

    @admin.display(description=_("reason"))
    def why(self, referral: Referral) -> str:
        return str(Reason(referral.reason).label) if referral.reason else NOTHING


@admin.register(SignUp)
class SignUpAdmin(EndlessAdmin):
    """Of the last thirty days."""

    list_display = ("signed_up_at", "address", "user")
    list_select_related = ("user",)
    list_filter = (("signed_up_at", DayFilter),)
    list_filter_submit = True
    search_fields = ("user__email", "address")
    fields = ("signed_up_at", "address", "user")
