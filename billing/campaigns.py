"""What campaigns do by themselves: when somebody signs up, verifies an address, or pays."""

from typing import Any

import structlog
from allauth.account.models import EmailAddress
from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet
from django.utils.crypto import salted_hmac

from accounts.models import Membership, Organization, Role, User
from billing import referrals
from billing.mailboxes import mailbox
from billing.models import Campaign, CampaignKind, Grant, GrantKind, TopUp, Wallet
from billing.promotions import CampaignOver, CampaignSpent, give, running_campaigns, tell_spent
from common.locking import RowsBusy, lock_rows

SALT = "billing.sign_up_bonus"

log = structlog.get_logger(__name__)


def on_sign_up(organization: Organization, ip: str | None, *, code: str = "") -> None:
    """In the transaction that makes it. `code`: of the customer whose link led here."""
    referrals.record_referral(organization=organization, ip=ip, code=code)


def on_email_verified(user: User) -> None:
    """What cannot be given now, the sweep gives later."""
    owned = Membership.across_all_organizations.filter(user=user, role=Role.OWNER)
    for organization_id in owned.values_list("organization_id", flat=True):
        _give_unless_busy(organization_id)


def on_top_up_paid(top_up: TopUp) -> None:
    """In the transaction that books or frees it."""
    referrals.on_top_up_paid(top_up)


def give_due_sign_up_bonuses() -> int:
    """What verified addresses have not got, because a process died or rows were busy; returns how many."""
    given = Grant.across_all_organizations.filter(
        organization=OuterRef("organization_id"), kind=GrantKind.WELCOME
    )
    due = _owners_who_signed_up().filter(
        ~Exists(given), organization__reseller__in=_sign_up_campaigns().values("reseller")
    )
    ids = due.order_by("organization_id").values_list("organization_id", flat=True)
    return sum(_give_unless_busy(organization_id) is not None for organization_id in list(ids))


def give_sign_up_bonus(*, organization_id: int) -> Grant | None:
    """Once for each organization and for each mailbox, while the campaign runs and its budget lasts.

    Only for who signed up since it began and has a verified address. Raises RowsBusy.
    """
    organization = Organization.objects.get(pk=organization_id)
    campaign = _sign_up_campaigns().filter(reseller_id=organization.reseller_id).first()
    owner = _owners_who_signed_up().filter(organization=organization).order_by("pk").first()
    if campaign is None or owner is None or owner.signed_up_at < campaign.starts_at:
        return None
    try:
        return _give_once(campaign, organization, _fact_key(organization, owner.user))
    except CampaignOver:
        return None
    except CampaignSpent:
        tell_spent(campaign)
        return None


@transaction.atomic
def _give_once(campaign: Campaign, organization: Organization, fact_key: str) -> Grant | None:
    lock_rows(Wallet.objects.all(), [organization.pk])
    grants = Grant.across_all_organizations.all()
    known: Grant | None = grants.filter(organization=organization, kind=GrantKind.WELCOME).first()
    if known is not None or grants.filter(fact_key=fact_key).exists() or not campaign.amount_nano:
        return known
    return give(
        campaign,
        organization=organization,
        amount_nano=campaign.amount_nano,
        kind=GrantKind.WELCOME,
        fact_key=fact_key,
    )


def _fact_key(organization: Organization, owner: User) -> str:
    """One mailbox, one bonus, however it is spelt; the address itself is not in the ledger."""
    digest = salted_hmac(SALT, mailbox(owner.email), algorithm="sha256").hexdigest()
    return f"sign_up:{organization.reseller_id}:{digest[:40]}"


def _sign_up_campaigns() -> QuerySet[Campaign]:
    return running_campaigns().filter(kind=CampaignKind.SIGN_UP)


def _owners_who_signed_up() -> QuerySet[Any]:
    """With a verified address; customers whom operators made have not signed up."""
    verified = EmailAddress.objects.filter(
        user=OuterRef("user_id"), email__iexact=OuterRef("user__email"), verified=True
    )
    owners = Membership.across_all_organizations.filter(Exists(verified), role=Role.OWNER)
    signed_up = owners.filter(user__signup__isnull=False).select_related("user")
    dated: QuerySet[Any] = signed_up.annotate(signed_up_at=F("user__signup__signed_up_at"))
    return dated


def _give_unless_busy(organization_id: int) -> Grant | None:
    try:
        return give_sign_up_bonus(organization_id=organization_id)
    except RowsBusy:
        log.warning("sign_up_bonus_put_off", organization=organization_id)
        return None
