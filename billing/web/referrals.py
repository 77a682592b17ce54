"""The page on which a customer finds its link, what it gives, and what came of it."""

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db.models import QuerySet, Sum
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET

from accounts.models import Organization
from accounts.web.access import MemberRequest, member_page
from billing.models import Referral, ReferralState
from billing.referrals import referral_campaign, referral_code
from billing.terms import NANO_PER_CENT

MOST_SHOWN = 100


@dataclass(frozen=True)
class ShownReferral:
    """When and what it gave; never who it was."""

    at: datetime
    label: str | Promise
    tone: str
    credit_nano: int


@member_page
@require_GET
def refer(request: MemberRequest) -> HttpResponse:
    """404 while there is nothing to have."""
    campaign = referral_campaign(request.organization)
    if campaign is None:
        raise Http404
    rows = _brought_by(request.organization)
    context = {
        "campaign": campaign,
        "least_nano": campaign.least_top_up_minor * NANO_PER_CENT,
        "link": link_of(request.organization),
        "referrals": [
            _shown(row) for row in rows.select_related("referrer_grant").order_by("-pk")[:MOST_SHOWN]
        ],
        "earned_nano": rows.aggregate(sum=Sum("referrer_grant__amount_nano"))["sum"] or 0,
    }
    return render(request, "billing/refer.html", context)


def link_of(organization: Organization) -> str:
    return f"{settings.PUBLIC_URL}{reverse('account_signup')}?ref={referral_code(organization)}"


def _brought_by(organization: Organization) -> QuerySet[Referral]:
    """Their rows belong to the new customers, so the scope of the referrer's request does not show them."""
    rows: QuerySet[Referral] = Referral.across_all_organizations.filter(referrer=organization)
    return rows


def _shown(referral: Referral) -> ShownReferral:
    """Why one was refused says something about the other: it stays out."""
    grant = referral.referrer_grant
    if grant is not None:
        label, tone = _("Credited"), "good"
    elif referral.state == ReferralState.PENDING:
        label, tone = _("Waiting for the first top-up"), "warning"
    else:
        label, tone = _("Gave no credit"), ""
    return ShownReferral(referral.created_at, label, tone, grant.amount_nano if grant else 0)
