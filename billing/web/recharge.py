"""The page on which a customer turns auto-recharge on and off, and takes saved cards away."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET, require_POST

from accounts.web.access import MemberRequest, may_manage_money, member_page, money_managers_only
from accounts.web.views import client_ip
from billing.models import RechargeRule, SavedCard
from billing.recharging import (
    RechargeInvalid,
    RechargeTerms,
    remove_card,
    turn_off_recharge,
    turn_on_recharge,
)
from billing.stripe.client import StripeUnknown, payments_are_on
from billing.web.presenters import Words

SUGGESTED = {
    "threshold": 10_00,
    "target": 50_00,
    "most_per_charge": 50_00,
    "most_per_day": 100_00,
    "most_per_month": 500_00,
}
WHY_OFF: dict[str, Words] = {
    "authentication_required": _(
        "Your bank wants you to confirm a payment yourself. Pay once, then turn it on."
    ),
    "three_failures": _("The card was declined three times in a row."),
    "burst": _("Credit was used up several times within minutes. Look at what uses it, then turn it on."),
    "card_removed": _("The card it charged was removed."),
    "customer_tax_location_invalid": _(
        "The tax cannot be told without your address. Pay once and enter it, then turn it on."
    ),
    "customer_gone": _("The saved card is not there any more. Pay once, save a card, then turn it on."),
}
WHY_OFF_ELSE = _("It was turned off for your safety. Ask us, or turn it on again.")


class DollarsField(forms.DecimalField):
    def __init__(self, **options: Any) -> None:
        widget = forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"})
        super().__init__(min_value=0, max_digits=9, decimal_places=2, widget=widget, **options)


class RechargeForm(forms.Form):
    """In dollars; `terms` has cents."""

    card = forms.ModelChoiceField(label=_("Card"), queryset=SavedCard.across_all_organizations.none())
    threshold = DollarsField(label=_("When credit falls below"))
    target = DollarsField(label=_("fill it up to"))
    most_per_charge = DollarsField(label=_("At most per charge"))
    most_per_day = DollarsField(label=_("At most per day (UTC)"))
    most_per_month = DollarsField(label=_("At most per month (UTC)"))
    agrees = forms.BooleanField(
        label=_("Charge this card without asking me again, within these limits, until I turn it off.")
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        card = self.fields["card"]
        assert isinstance(card, forms.ModelChoiceField)  # noqa: S101 - as declared above
        card.queryset = SavedCard.objects.filter(removed_at=None).order_by("-saved_at")
        card.empty_label = None

    def terms(self) -> RechargeTerms:
        return RechargeTerms(**{f"{name}_minor": int(self.cleaned_data[name] * 100) for name in SUGGESTED})


@member_page
@require_GET
def recharge(request: MemberRequest) -> HttpResponse:
    return _show(request, RechargeForm(initial=_initial(_rule())))


@member_page
@require_POST
@money_managers_only
def turn_on(request: MemberRequest) -> HttpResponse:
    form = RechargeForm(request.POST)
    if not form.is_valid():
        return _show(request, form)
    try:
        turn_on_recharge(
            organization=request.organization,
            terms=form.terms(),
            card=form.cleaned_data["card"],
            turned_on_by=request.user,
            ip=client_ip(request),
        )
    except RechargeInvalid as refusal:
        form.add_error(refusal.param, refusal.message)
        return _show(request, form)
    messages.success(request, gettext("Auto-recharge is on."))
    return redirect("recharge")


@member_page
@require_POST
@money_managers_only
def turn_off(request: MemberRequest) -> HttpResponse:
    turn_off_recharge(organization=request.organization, actor=request.user, ip=client_ip(request))
    messages.success(request, gettext("Auto-recharge is off."))
    return redirect("recharge")


@member_page
@require_POST
@money_managers_only
def forget(request: MemberRequest, card_id: int) -> HttpResponse:
    """404 for another organization's card: the scope has no such row."""
    card = SavedCard.objects.filter(pk=card_id, removed_at=None).first()
    if card is None:
        raise Http404
    try:
        remove_card(card=card, actor=request.user, ip=client_ip(request))
    except StripeUnknown:
        messages.warning(request, gettext("The card is not charged any more; Stripe will hear of it later."))
    else:
        messages.success(request, gettext("The card was removed."))
    return redirect("recharge")


def _rule() -> RechargeRule | None:
    found: RechargeRule | None = RechargeRule.objects.select_related("card").first()
    return found


def _initial(rule: RechargeRule | None) -> dict[str, Any]:
    cents = {name: getattr(rule, f"{name}_minor") for name in SUGGESTED} if rule else SUGGESTED
    card = rule.card_id if rule else SavedCard.objects.filter(removed_at=None).order_by("-saved_at").first()
    return {**{name: f"{value // 100}.{value % 100:02}" for name, value in cents.items()}, "card": card}


def _show(request: MemberRequest, form: RechargeForm) -> HttpResponse:
    rule = _rule()
    why_off = WHY_OFF.get(rule.turned_off_because, WHY_OFF_ELSE) if rule and rule.turned_off_because else None
    context = {
        "form": form,
        "rule": rule,
        "why_off": None if rule is None or rule.is_on else why_off,
        "cards": SavedCard.objects.filter(removed_at=None).order_by("-saved_at"),
        "is_on_here": payments_are_on(),
        "may_pay": may_manage_money(request.membership),
    }
    return render(request, "billing/recharge.html", context)
