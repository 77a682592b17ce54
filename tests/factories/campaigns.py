"""Campaigns, and people who sign up as they do on the page."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.utils import timezone

from accounts.services import ensure_house_reseller
from billing.models import Campaign, CampaignKind

DOLLAR = 10**9


def make_campaign(kind: CampaignKind = CampaignKind.GRANT, **values: Any) -> Campaign:
    """Running since an hour, without a bound."""
    facts = {
        "reseller": ensure_house_reseller(),
        "name": f"campaign-{uuid4().hex[:8]}",
        "kind": kind,
        "amount_nano": DOLLAR,
        "starts_at": timezone.now() - timedelta(hours=1),
        **values,
    }
    return Campaign.objects.create(**facts)
