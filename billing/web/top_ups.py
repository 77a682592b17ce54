"""Paying by card: the page to choose, the way to Stripe's payment page, and what came of it."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST, require_safe

from accounts.web.access import MemberRequest, may_manage_money, member_page, money_managers_only
from accounts.web.views import client_ip
from billing.models import BillingDetails, RechargeRule, TaxMode, TopUp, TopUpState
from billing.selectors import current_wallet, models_used
from billing.stripe.client import PaymentsOff, StripeRefused, StripeUnknown, payments_are_on
from billing.terms import NANO_PER_CENT, Terms, TopUpRefused, is_first_top_up, note_refusal, terms_of
from billing.top_ups import TopUpEnded, payment_page, reconcile_top_up, start_top_up
from billing.web.presenters import Words
from billing.web.top_up_forms import TopUpForm
from common.locking import RowsBusy

HISTORY = 50
SAMPLE_MINOR = 25_00
# A page that is looked at asks Stripe again at most this often.
ASK_AGAIN = timedelta(seconds=2)
TONES = {
    TopUpState.PAID: "good",
    TopUpState.FAILED: "warning",
    TopUpState.EXPIRED: "",
    TopUpState.ACTION_REQUIRED: "warning",
}
REASONS: dict[str, Words] = {
    "insufficient_funds": _("The card has not enough money on it."),
    "expired_card": _("The card has expired."),
    "incorrect_cvc": _("The security code was wrong."),
    "authentication_required": _("Your bank wants you to confirm this payment yourself."),
    "authentication_failed": _("Your bank could not confirm that it was you."),
    "debit_not_authorized": _("The bank did not allow the debit."),
    "customer_gone": _("The saved card was not there any more."),
    "customer_tax_location_invalid": _("The tax could not be told without your address."),
}
DECLINED = _("The card was declined. Your bank can say why; another card may work.")


@dataclass(frozen=True)
class ShownTopUp:
    row: TopUp

    @property
    def amount_nano(self) -> int:
        return self.row.amount_minor * NANO_PER_CENT

    @property
    def tax_nano(self) -> int:
        return self.row.tax_minor * NANO_PER_CENT

    @property
    def total_nano(self) -> int:
        return self.amount_nano + self.tax_nano

    @property
    def tone(self) -> str:
        return TONES.get(TopUpState(self.row.state), "")

    @property
    def label(self) -> Words:
        """To its customer credit that is held is not there yet."""
        return _("Being checked") if self.row.is_held else self.row.get_state_display()

    @property
    def why(self) -> Words | None:
        """Why the last try failed."""
        code = self.row.failure_code
        return REASONS.get(code, DECLINED) if code else None

    @property
    def can_be_paid(self) -> bool:
        row = self.row
        ends = row.expires_at
        waits = row.state in (TopUpState.CREATED, TopUpState.OPEN, TopUpState.ACTION_REQUIRED)
        return waits and not row.has_ended and (ends is None or ends > timezone.now())


@member_page
@require_GET
def top_ups(request: MemberRequest) -> HttpResponse:
    return _show(request, _form(request))


@member_page
@require_POST
@money_managers_only
def start(request: MemberRequest) -> HttpResponse:
    form = _form(request, answered=True)
    if not form.is_valid():
        return _show(request, form)
    try:
        _keep_country(request, form)
        answers = form.cleaned_data
        top_up = start_top_up(
            organization=request.organization,
            amount_minor=answers["amount_minor"],
            attempt_key=answers["attempt_key"],
            save_card=answers["save_card"],
            accepts_terms="accepts_terms" in answers,
            requested_by=request.user,
            ip=client_ip(request),
        )
    except (TopUpRefused, PaymentsOff, RowsBusy) as refusal:
        if isinstance(refusal, TopUpRefused):
            note_refusal(request.organization, refusal, ip=client_ip(request))
        form.renew_attempt()
        form.add_error("amount" if refusal.param == "amount" else None, refusal.message)
        return _show(request, form)
    return _to_payment(top_up)


@member_page
@require_POST
@money_managers_only
def pay(_request: MemberRequest, top_up_id: UUID) -> HttpResponse:
    """Go on with a payment that was begun."""
    return _to_payment(_find(top_up_id))


@member_page
@never_cache
@require_safe
def top_up(request: MemberRequest, top_up_id: UUID) -> HttpResponse:
    """Where Stripe sends people back to. It never says "failed" because a message is late."""
    row = _renewed(_find(top_up_id))
    context = {
        "shown": ShownTopUp(row),
        "wallet": current_wallet(),
        "came_back": "canceled" in request.GET,
        "may_pay": may_manage_money(request.membership),
    }
    return render(request, "billing/top_up.html", context)


def _find(top_up_id: UUID) -> TopUp:
    """404 for another organization's: the scope has no such row."""
    found: TopUp | None = TopUp.objects.filter(pk=top_up_id).first()
    if found is None:
        raise Http404
    return found


def _renewed(row: TopUp) -> TopUp:
    asked = row.checked_at
    if row.has_ended or (asked is not None and asked > timezone.now() - ASK_AGAIN):
        return row
    try:
        return reconcile_top_up(row.pk)
    except (StripeUnknown, StripeRefused, PaymentsOff, RowsBusy):
        return row  # the sweeper asks again


def _to_payment(row: TopUp) -> HttpResponse:
    try:
        return HttpResponseRedirect(payment_page(row))
    except (StripeUnknown, StripeRefused, PaymentsOff, RowsBusy, TopUpEnded):
        return redirect("top_up", row.pk)  # which says how it stands, and lets people go on


def _form(request: MemberRequest, *, answered: bool = False) -> TopUpForm:
    terms = terms_of(request.organization)
    most = terms.first_most_minor if is_first_top_up(request.organization) else terms.most_minor
    return TopUpForm(
        request.POST if answered else None,
        terms=terms,
        most_minor=most,
        country=_country(request) if terms.tax_mode == TaxMode.OWN else None,
    )


def _country(request: MemberRequest) -> str:
    details = BillingDetails.objects.filter(organization=request.organization).first()
    return details.country if details else ""


def _keep_country(request: MemberRequest, form: TopUpForm) -> None:
    if country := form.cleaned_data.get("country"):
        BillingDetails.across_all_organizations.update_or_create(
            organization=request.organization, defaults={"country": country}
        )


def _show(request: MemberRequest, form: TopUpForm) -> HttpResponse:
    terms = terms_of(request.organization)
    rows = TopUp.objects.exclude(state=TopUpState.CREATED).order_by("-created_at")[:HISTORY]
    context = {
        "form": form,
        "is_on": payments_are_on(),
        "may_pay": may_manage_money(request.membership),
        "wallet": current_wallet(),
        "history": [ShownTopUp(row) for row in rows],
        "bounds": _bounds(request, terms),
        "sample_nano": SAMPLE_MINOR * NANO_PER_CENT,
        "recharge": RechargeRule.objects.first(),
        "models_used": models_used(),
    }
    return render(request, "billing/top_ups.html", context)


def _bounds(request: MemberRequest, terms: Terms) -> dict[str, int]:
    is_first = is_first_top_up(request.organization)
    most = terms.first_most_minor if is_first else terms.most_minor
    return {"least_nano": terms.least_minor * NANO_PER_CENT, "most_nano": most * NANO_PER_CENT}
