"""Pages of money: what is left, what was used, and the receipt of every request."""

from uuid import UUID

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from accounts.models import APIKey
from accounts.web.access import MemberRequest, member_page
from accounts.web.views import quick_start
from billing.selectors import (
    UsageFilter,
    current_wallet,
    find_usage,
    has_usage,
    usage_page,
)
from billing.web.forms import UsageFilterForm
from billing.web.overview import read_overview
from billing.web.presenters import Call, show_receipt
from common.ids import parse_public_id

RECENT = 8


@member_page
@require_GET
def overview(request: MemberRequest) -> HttpResponse:
    context = {
        "wallet": current_wallet(),
        "has_usage": has_usage(),
        "has_key": APIKey.objects.filter(revoked_at=None).exists(),
        "overview": read_overview(),
        "recent": [Call(one) for one in usage_page(UsageFilter(), size=RECENT).records],
        **quick_start(request),
    }
    return render(request, "billing/overview.html", context)


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
    return render(request, "billing/receipt.html", {"shown": show_receipt(record)})


def _cursor(request: MemberRequest, name: str) -> UUID | None:
    return parse_public_id("req", request.GET.get(name, ""))
