"""Customers who bring customers: both get credit when the new one's first top-up is paid and free.

Nothing is paid in the transaction of a booking, which holds one wallet; here both wallets are locked first,
in order of their ids. What a process that died left behind, the sweep pays.
"""

import secrets
from datetime import timedelta
from ipaddress import ip_address

import structlog
from django.db import models, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.models import AuditEvent, Organization
from billing.mailboxes import mailbox
from billing.models import (
    Campaign,
    CampaignKind,
    Dispute,
    FraudWarning,
    Grant,
    GrantKind,
    Referral,
    ReferralCode,
    ReferralState,
    Refund,
    RefundState,
    SavedCard,
    SignUp,
    TopUp,
    TopUpState,
    Wallet,
    WalletStatus,
)
from billing.promotions import (
    CampaignOver,
    CampaignSpent,
    give,
    running_campaign,
    running_campaigns,
    tell_spent,
)
from billing.vouchers import ALPHABET, normalize_code
from common.locking import RowsBusy, lock_rows

CODE_LENGTH = 10
ADDRESSES_COUNT_FOR = timedelta(days=30)

log = structlog.get_logger(__name__)


class Reason(models.TextChoices):
    """Why a referral pays nothing."""

    SAME_PERSON = "same_person", _("The same person")
    SAME_ADDRESS = "same_address", _("The same network address")
    SAME_CARD = "same_card", _("The same card")
    TAKEN_BACK = "taken_back", _("The first top-up was refunded or disputed")
    OVER = "campaign_over", _("The campaign is over")


def referral_code(organization: Organization) -> str:
    """Made when it is first asked for."""
    code = "".join(secrets.choice(ALPHABET) for _position in range(CODE_LENGTH))
    row, _is_new = ReferralCode.across_all_organizations.get_or_create(
        organization=organization, defaults={"code": code}
    )
    return str(row.code)


def referral_campaign(organization: Organization) -> Campaign | None:
    """What a referral gives now; None where the reseller has no campaign for it or its budget is spent."""
    return running_campaign(organization.reseller_id, CampaignKind.REFERRAL)


def record_referral(*, organization: Organization, ip: str | None, code: str) -> Referral | None:
    """Whom a new customer came from, in the transaction of the sign-up. None: by nobody, or for nothing."""
    found = ReferralCode.across_all_organizations.filter(code=normalize_code(code)).first() if code else None
    if found is None or referral_campaign(organization) is None:
        return None
    referrer: Organization = found.organization
    if referrer.reseller_id != organization.reseller_id or referrer.pk == organization.pk:
        return None
    reason = _same_people(organization, referrer) or _same_address(referrer, ip)
    state = ReferralState.REFUSED if reason else ReferralState.PENDING
    referral: Referral = Referral.across_all_organizations.create(
        organization=organization,
        referrer=referrer,
        state=state,
        reason=reason,
        ended_at=timezone.now() if reason else None,
    )
    return referral


def on_top_up_paid(top_up: TopUp) -> None:
    """In the transaction that books or frees it; what is due is paid after its commit."""
    organization_id = top_up.organization_id
    pending = Referral.across_all_organizations.filter(
        organization_id=organization_id, state=ReferralState.PENDING
    )
    if pending.exists():
        transaction.on_commit(lambda: _pay_unless_busy(organization_id), robust=True)


def pay_due_referrals() -> int:
    """Look at every pending referral whose new customer has paid; returns how many were decided."""
    paid = TopUp.across_all_organizations.filter(
        organization=OuterRef("organization_id"), state=TopUpState.PAID
    )
    pending = Referral.across_all_organizations.filter(Exists(paid), state=ReferralState.PENDING)
    ids = list(pending.order_by("pk").values_list("organization_id", flat=True))
    return sum(_pay_unless_busy(organization_id) for organization_id in ids)


def pay_referral(*, organization_id: int) -> Referral | None:
    """Decide about the new customer's referral; None where there is none that waits. Raises RowsBusy.

    It goes on waiting while nothing large enough is paid, while that is held, and while a wallet is frozen.
    """
    rows = Referral.across_all_organizations.filter(state=ReferralState.PENDING)
    found: Referral | None = rows.filter(organization_id=organization_id).first()
    if found is None:
        return None
    referral, spent = _decide(found)
    if spent is not None:
        tell_spent(spent)
    return referral


@transaction.atomic
def _decide(found: Referral) -> tuple[Referral, Campaign | None]:
    wallets = lock_rows(Wallet.objects.all(), [found.organization_id, found.referrer_id])
    [referral] = lock_rows(
        Referral.across_all_organizations.select_related("organization", "referrer"), [found.pk]
    )
    if referral.state != ReferralState.PENDING or any(one.status == WalletStatus.FROZEN for one in wallets):
        return referral, None
    campaign = (
        running_campaigns()
        .filter(reseller_id=referral.organization.reseller_id, kind=CampaignKind.REFERRAL)
        .first()
    )
    if campaign is None:
        return _end(referral, Reason.OVER), None
    top_up = _first_top_up(referral, campaign)
    if top_up is None:
        return referral, None
    if reason := _why_not(referral, top_up):
        return _end(referral, reason), None
    return (referral, None) if top_up.is_held else _pay(referral, campaign)


def _pay(referral: Referral, campaign: Campaign) -> tuple[Referral, Campaign | None]:
    """Both or none."""
    try:
        with transaction.atomic():
            grants = _give_both(referral, campaign)
    except CampaignOver:
        return _end(referral, Reason.OVER), None
    except CampaignSpent:
        return _end(referral, Reason.OVER), campaign
    referral.grant, referral.referrer_grant = grants
    return _end(referral, ""), None


def _give_both(referral: Referral, campaign: Campaign) -> tuple[Grant | None, Grant | None]:
    """Beyond what one customer is paid for, only the new one gets its bonus."""
    paid = Referral.across_all_organizations.filter(referrer=referral.referrer, referrer_grant__isnull=False)
    may_more = paid.count() < campaign.most_per_referrer
    return (
        _give(referral, campaign, referral.organization, campaign.amount_nano),
        _give(referral, campaign, referral.referrer, campaign.referrer_nano if may_more else 0),
    )


def _give(referral: Referral, campaign: Campaign, to: Organization, amount_nano: int) -> Grant | None:
    if not amount_nano:
        return None
    key = f"referral:{referral.pk}:{to.pk}"
    return give(campaign, organization=to, amount_nano=amount_nano, kind=GrantKind.REFERRAL, fact_key=key)


def _end(referral: Referral, reason: str) -> Referral:
    referral.state = ReferralState.REFUSED if reason else ReferralState.PAID
    referral.reason = reason
    referral.ended_at = timezone.now()
    referral.save()
    return referral


def _first_top_up(referral: Referral, campaign: Campaign) -> TopUp | None:
    """The first that is large enough."""
    paid = TopUp.across_all_organizations.filter(
        organization=referral.organization,
        state=TopUpState.PAID,
        amount_minor__gte=campaign.least_top_up_minor,
    )
    first: TopUp | None = paid.order_by("paid_at", "pk").first()
    return first


def _why_not(referral: Referral, top_up: TopUp) -> str:
    if _was_taken_back(top_up):
        return Reason.TAKEN_BACK
    if _same_card(referral.referrer, top_up):
        return Reason.SAME_CARD
    return _same_people(referral.organization, referral.referrer)


def _was_taken_back(top_up: TopUp) -> bool:
    refunds = Refund.across_all_organizations.filter(
        Q(top_up=top_up) | Q(lot__isnull=False, lot=top_up.lot_id)
    ).exclude(state=RefundState.FAILED)
    return (
        refunds.exists()
        or Dispute.across_all_organizations.filter(top_up=top_up).exists()
        or FraudWarning.across_all_organizations.filter(top_up=top_up).exists()
    )


def _same_people(organization: Organization, referrer: Organization) -> str:
    ours, theirs = (
        {mailbox(email) for email in one.members.values_list("email", flat=True)}
        for one in (organization, referrer)
    )
    return Reason.SAME_PERSON if ours & theirs else ""


def _same_address(referrer: Organization, ip: str | None) -> str:
    """Has anybody of the referrer signed up, paid or changed something from there in the last thirty days?

    The machine's own address accuses nobody: it stands there when a proxy hides who asks.
    """
    if ip is None or ip_address(ip).is_loopback:
        return ""
    since = timezone.now() - ADDRESSES_COUNT_FOR
    is_same = (
        SignUp.objects.filter(user__in=referrer.members.all(), address=ip).exists()
        or AuditEvent.objects.filter(organization=referrer, ip=ip, at__gt=since).exists()
        or TopUp.across_all_organizations.filter(
            organization=referrer, requested_ip=ip, created_at__gt=since
        ).exists()
    )
    return Reason.SAME_ADDRESS if is_same else ""


def _same_card(referrer: Organization, top_up: TopUp) -> bool:
    card = top_up.payment_fingerprint
    if not card:
        return False
    paid = TopUp.across_all_organizations.filter(organization=referrer, payment_fingerprint=card)
    kept = SavedCard.across_all_organizations.filter(organization=referrer, fingerprint=card)
    return paid.exists() or kept.exists()


def _pay_unless_busy(organization_id: int) -> bool:
    try:
        referral = pay_referral(organization_id=organization_id)
    except RowsBusy:
        log.warning("referral_put_off", organization=organization_id)
        return False
    return referral is not None and referral.state != ReferralState.PENDING
