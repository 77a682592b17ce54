"""The page of what can be called."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from accounts.web.access import MemberRequest, member_page
from relay.web.price_list import price_list


@member_page
@require_GET
def models(request: MemberRequest) -> HttpResponse:
    return render(request, "relay/models.html", {"owners": price_list(request.organization.reseller_id)})
