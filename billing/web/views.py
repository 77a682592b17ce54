"""Pages of money: what is left and until when, what was used, and the receipt of every request."""

from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from accounts.models import APIKey
from accounts.web.access import MemberRequest, may_manage_money, member_page, money_managers_only
from accounts.web.views import client_ip, quick_start
from billing.models import VoucherRedemption
from billing.selectors import (
    UsageFilter,
    current_wallet,
    find_usage,
    has_usage,
    usage_page,
)
from billing.vouchers import redeem_voucher
from billing.web.credit import current_credit, given_back, next_to_expire, words_of
from billing.web.forms import RedeemForm, UsageFilterForm
from billing.web.overview import read_overview
from billing.web.presenters import Call, show_receipt
from common.errors import AppError
from common.ids import parse_public_id

RECENT = 8


@member_page
@require_GET
def overview(request: MemberRequest) -> HttpResponse:
    context = {
        "wallet": current_wallet(),
        "next_to_expire": next_to_expire(),
        "has_usage": has_usage(),
        "has_key": APIKey.objects.filter(revoked_at=None).exists(),
        "overview": read_overview(),
        "recent": [Call(one) for one in usage_page(UsageFilter(), size=RECENT).records],
        **quick_start(request),
    }
    return render(request, "billing/overview.html", context)


@member_page
@require_GET
def credit(request: MemberRequest) -> HttpResponse:
    return _show_credit(request, RedeemForm())


@member_page
@require_POST
@money_managers_only
def redeem(request: MemberRequest) -> HttpResponse:
    form = RedeemForm(request.POST)
    if not form.is_valid():
        return _show_credit(request, form)
    try:
        redemption = _redeem(request, form.cleaned_data["code"])
    except AppError as refusal:
        form.add_error("code", refusal.message)
        return _show_credit(request, form)
    messages.success(request, words_of(redemption))
    return redirect("credit")


@member_page
@require_GET
def usage(request: MemberRequest) -> HttpResponse:
    form = UsageFilterForm(request.GET)
    before, after = _cursor(request, "before"), _cursor(request, "after")
    page = usage_page(form.chosen(), before=before, after=after)
    context = {
        "form": form,
        "page": page,
        "calls": [Call(record) for record in page.records],
        "is_newest": before is None and after is None,
        "is_filtered": any(request.GET.get(name) for name in form.fields),
    }
    return render(request, "billing/usage.html", context)


@member_page
@require_GET
def receipt(request: MemberRequest, request_id: str) -> HttpResponse:
    """404 for another organization's request: the scope has no such row."""
    wanted = parse_public_id("req", request_id)
    record = find_usage(wanted) if wanted else None
    if record is None:
        raise Http404
    context = {"shown": show_receipt(record), "given_back_nano": given_back(record)}
    return render(request, "billing/receipt.html", context)


def _redeem(request: MemberRequest, code: str) -> VoucherRedemption:
    return redeem_voucher(
        organization=request.organization, code=code, redeemed_by=request.user, ip=client_ip(request)
    )


def _show_credit(request: MemberRequest, form: RedeemForm) -> HttpResponse:
    context = {
        "form": form,
        "wallet": current_wallet(),
        "lots": current_credit(),
        "may_redeem": may_manage_money(request.membership),
    }
    return render(request, "billing/credit.html", context)


def _cursor(request: MemberRequest, name: str) -> UUID | None:
    return parse_public_id("req", request.GET.get(name, ""))
