"""What answers a dispute: who paid from where, what they got for it, and that they used it.

Only what we keep anyway: no prompt or answer is in it, and nobody's card number is here.
"""

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Max, Min, Sum
from django.db.models.functions import TruncDay
from django.utils import timezone

from accounts.models import APIKey, AuditEvent, Membership
from billing.models import Dispute, Refund, SignUp, TopUp, UsageRecord, UsageRollup
from common.ids import uuid7_floor
from common.money import format_nano, minor_to_nano

SHOWN_REQUESTS = 200
SHOWN_EVENTS = 200
SHOWN_PAYMENTS = 100
NOT_RECORDED = "not recorded"


def evidence_of(dispute: Dispute) -> dict[str, Any]:
    """Plain values, ready for JSON. Amounts in USD, written exactly; moments in UTC."""
    top_up = dispute.top_up
    return {
        "dispute": _dispute(dispute),
        "payment": _payment(top_up),
        "customer": _customer(dispute),
        "earlier_payments": _earlier_payments(top_up),
        "refunds_of_this_payment": _refunds(top_up),
        "network_addresses": _addresses(dispute),
        "api_keys": _keys(dispute),
        "usage": _usage(dispute),
        "terms_accepted": _terms_accepted(top_up) or NOT_RECORDED,
        "made_at": _moment(timezone.now()),
    }


def _dispute(dispute: Dispute) -> dict[str, Any]:
    return {
        "id": dispute.dispute_id,
        "status": dispute.status,
        "reason": dispute.reason,
        "amount": _cents(dispute.amount_minor),
        "opened_at": _moment(dispute.opened_at),
        "evidence_due_at": _moment(dispute.evidence_due_at),
    }


def _payment(top_up: TopUp) -> dict[str, Any]:
    return {
        "top_up": str(top_up.pk),
        "payment_intent": top_up.payment_intent_id,
        "charge": top_up.charge_id,
        "credit": _cents(top_up.amount_minor),
        "tax": _cents(top_up.tax_minor),
        "currency": top_up.currency,
        "started_by": top_up.get_origin_display(),
        "asked_for_by": top_up.requested_by.email if top_up.requested_by else None,
        "asked_for_from": top_up.requested_ip,
        "started_at": _moment(top_up.created_at),
        "paid_at": _moment(top_up.paid_at),
        "paid_with": f"{top_up.payment_brand} {top_up.payment_last4}".strip(),
        "receipt": top_up.receipt_url or None,
    }


def _customer(dispute: Dispute) -> dict[str, Any]:
    organization = dispute.organization
    memberships = Membership.across_all_organizations.filter(organization=organization).select_related("user")
    addresses = dict(
        SignUp.objects.filter(user__in=memberships.values("user")).values_list("user_id", "address")
    )
    return {
        "name": organization.name,
        "customer_since": _moment(organization.created_at),
        "members": [
            {
                "email": one.user.email,
                "role": one.role,
                "signed_up_at": _moment(one.user.date_joined),
                "signed_up_from": addresses.get(one.user_id),
                "last_signed_in_at": _moment(one.user.last_login),
            }
            for one in memberships.order_by("pk")
        ],
    }


def _earlier_payments(top_up: TopUp) -> list[dict[str, Any]]:
    """The same card paid before, and nobody disputed it."""
    before = TopUp.across_all_organizations.filter(
        organization=top_up.organization_id, paid_at__lt=top_up.paid_at or timezone.now()
    )
    return [
        {
            "paid_at": _moment(one.paid_at),
            "credit": _cents(one.amount_minor),
            "same_card": bool(one.payment_fingerprint)
            and one.payment_fingerprint == top_up.payment_fingerprint,
            "disputed": one.is_disputed,
            "receipt": one.receipt_url or None,
        }
        for one in before.annotate(is_disputed=Count("disputes")).order_by("-paid_at")[:SHOWN_PAYMENTS]
    ]


def _terms_accepted(top_up: TopUp) -> list[dict[str, Any]]:
    """With this payment, and with those before it."""
    rows = TopUp.across_all_organizations.filter(
        organization=top_up.organization_id, created_at__lte=top_up.created_at
    ).exclude(terms_version="")
    return [
        {
            "at": _moment(one.created_at),
            "version": one.terms_version,
            "terms": one.terms_url,
            "by": one.requested_by.email if one.requested_by else None,
            "from": one.requested_ip,
        }
        for one in rows.select_related("requested_by").order_by("-created_at")[:SHOWN_PAYMENTS]
    ]


def _refunds(top_up: TopUp) -> list[dict[str, Any]]:
    return [
        {
            "refund": one.stripe_id,
            "amount": format_nano(one.amount_nano + one.tax_nano),
            "state": one.state,
            "at": _moment(one.requested_at),
        }
        for one in Refund.across_all_organizations.filter(top_up=top_up).order_by("pk")
    ]


def _addresses(dispute: Dispute) -> list[dict[str, Any]]:
    """From where members did what, as the audit trail has it."""
    events = AuditEvent.objects.filter(organization=dispute.organization_id, ip__isnull=False)
    return [
        {
            "at": _moment(one.at),
            "address": one.ip,
            "who": one.actor.email if one.actor else None,
            "did": one.action,
        }
        for one in events.filter(actor__is_staff=False).select_related("actor").order_by("-at")[:SHOWN_EVENTS]
    ]


def _keys(dispute: Dispute) -> list[dict[str, Any]]:
    keys = APIKey.across_all_organizations.filter(organization=dispute.organization_id)
    return [
        {
            "key": one.masked,
            "name": one.name,
            "created_at": _moment(one.created_at),
            "created_by": one.created_by.email if one.created_by else None,
            "last_used_at": _moment(one.last_used_at),
            "revoked_at": _moment(one.revoked_at),
        }
        for one in keys.select_related("created_by").order_by("pk")
    ]


def _usage(dispute: Dispute) -> dict[str, Any]:
    """Since the payment: by day, and the newest requests one by one."""
    since = dispute.top_up.paid_at or dispute.top_up.created_at
    rollups = UsageRollup.across_all_organizations.filter(
        organization=dispute.organization_id, bucket__gte=since - timedelta(minutes=15)
    )
    totals = rollups.aggregate(
        requests=Sum("requests", default=0),
        charge=Sum("charge_nano", default=0),
        first=Min("bucket"),
        last=Max("bucket"),
    )
    return {
        "since": _moment(since),
        "requests": totals["requests"],
        "charged": format_nano(int(totals["charge"])),
        "first": _moment(totals["first"]),
        "last": _moment(totals["last"]),
        "by_day": _by_day(rollups),
        "newest_requests": _requests(dispute, since),
    }


def _by_day(rollups: Any) -> list[dict[str, Any]]:
    days = rollups.annotate(day=TruncDay("bucket")).values("day", "model")
    sums = days.annotate(
        count=Sum("requests"),
        prompt=Sum("prompt_tokens"),
        completion=Sum("completion_tokens"),
        charge=Sum("charge_nano"),
    )
    return [
        {
            "day": one["day"].date().isoformat(),
            "model": one["model"],
            "requests": int(one["count"]),
            "prompt_tokens": int(one["prompt"]),
            "completion_tokens": int(one["completion"]),
            "charged": format_nano(int(one["charge"])),
        }
        for one in sums.order_by("day", "model")
    ]


def _requests(dispute: Dispute, since: datetime) -> list[dict[str, Any]]:
    records = UsageRecord.across_all_organizations.filter(
        organization=dispute.organization_id, pk__gte=uuid7_floor(since)
    )
    return [
        {
            "request": str(one.pk),
            "at": _moment(one.started_at),
            "api_key": one.api_key.masked,
            "model": one.model,
            "prompt_tokens": one.prompt_tokens,
            "completion_tokens": one.completion_tokens,
            "charged": format_nano(one.charge_nano),
        }
        for one in records.select_related("api_key").order_by("-pk")[:SHOWN_REQUESTS]
    ]


def _moment(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds") if at is not None else None


def _cents(minor: int) -> str:
    return format_nano(minor_to_nano(minor))
