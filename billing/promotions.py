"""Credit out of a campaign: while it runs, and never more in all than its budget.

The campaign's row is locked for every grant, after the wallets and before lots and ledger: what two grant at
once waits for the first one's commit, and the database refuses more than the budget whatever happens here.
"""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.alerts import raise_alert
from accounts.models import Organization, Reseller, User
from accounts.services import record_audit
from billing.models import Campaign, CampaignKind, Grant, GrantKind, Wallet
from billing.operators import SecondOperatorNeeded, needs_second_operator
from billing.services import grant_credit
from common.errors import AppError
from common.locking import lock_rows
from common.templatetags.formats import money_exact

SPENT = "campaign_spent"


class CampaignOver(AppError):
    """It has not begun, has ended or was switched off; nothing was given."""

    code = "campaign_over"
    http_status = 409


class CampaignSpent(AppError):
    """Its budget has less left; nothing was given."""

    code = "campaign_budget_spent"
    http_status = 409


class CampaignElsewhere(AppError):
    """The customer belongs to another reseller than the campaign, or the campaign gives by other rules."""

    code = "campaign_elsewhere"


class CampaignTaken(AppError):
    """Of the bonuses of a kind one can be on; nothing was changed."""

    code = "campaign_taken"
    http_status = 409


def running_campaigns(moment: datetime | None = None) -> QuerySet[Campaign]:
    now = moment or timezone.now()
    begun = Campaign.objects.filter(is_on=True, starts_at__lte=now)
    return begun.filter(Q(ends_at__isnull=True) | Q(ends_at__gt=now))


def running_campaign(reseller_id: int, kind: CampaignKind) -> Campaign | None:
    """Of the bonuses of each kind one can be on (one_running_bonus_of_a_kind). None too where its budget
    cannot carry one bonus more."""
    full = F("granted_nano") + F("amount_nano") + F("referrer_nano")
    affordable = Q(budget_nano__isnull=True) | Q(budget_nano__gte=full)
    return running_campaigns().filter(affordable, reseller_id=reseller_id, kind=kind).first()


def needs_second_to_run(campaign: Campaign) -> bool:
    """It gives by itself and may give more than one operator may; grants by hand have that rule each."""
    if campaign.kind == CampaignKind.GRANT:
        return False
    return campaign.budget_nano is None or needs_second_operator(campaign.budget_nano)


@transaction.atomic
def switch_campaign(
    *, campaign: Campaign, on: bool, actor: User | None = None, ip: str | None = None
) -> Campaign:
    """What it gave stays given. Twice changes nothing.

    Raises SecondOperatorNeeded for who set the terms of one that may give much, CampaignTaken.
    """
    lock_rows(Reseller.objects.all(), [campaign.reseller_id])
    [locked] = lock_rows(Campaign.objects.all(), [campaign.pk])
    if locked.is_on == on:
        return locked
    if on:
        _check_may_run(locked, actor)
    locked.is_on = on
    locked.save(update_fields=["is_on"])
    action = f"campaign.switched_{'on' if on else 'off'}"
    record_audit(action=action, subject=locked, actor=actor, after={"is_on": on}, ip=ip)
    return locked


def _check_may_run(campaign: Campaign, actor: User | None) -> None:
    by_the_same = actor is not None and campaign.changed_by_id == actor.pk
    if by_the_same and needs_second_to_run(campaign):
        raise SecondOperatorNeeded(_("Another operator switches it on: its budget is over the limit."))
    if other := other_running(campaign):
        raise CampaignTaken(_("Switch off %(campaign)s first: it is of the same kind.") % {"campaign": other})


def other_running(campaign: Campaign) -> Campaign | None:
    """The bonus of the same kind that is on already."""
    if campaign.kind == CampaignKind.GRANT:
        return None
    same = Campaign.objects.filter(reseller_id=campaign.reseller_id, kind=campaign.kind, is_on=True)
    return same.exclude(pk=campaign.pk).first()


def take_from_budget(campaign: Campaign, amount_nano: int) -> Campaign:
    """Count a grant, in the transaction that makes it. Raises CampaignOver, CampaignSpent."""
    [locked] = lock_rows(Campaign.objects.all(), [campaign.pk])
    if not running_campaigns().filter(pk=locked.pk).exists():
        raise CampaignOver(_("This campaign is not running."))
    if locked.left_nano is not None and amount_nano > locked.left_nano:
        text = _("The campaign's budget has %(left)s left.")
        raise CampaignSpent(text % {"left": money_exact(locked.left_nano)}, param="amount")
    locked.granted_nano += amount_nano
    locked.save(update_fields=["granted_nano"])
    return locked


@transaction.atomic
def give(
    campaign: Campaign,
    *,
    organization: Organization,
    amount_nano: int,
    kind: GrantKind,
    fact_key: str,
    ip: str | None = None,
) -> Grant:
    """Once per `fact_key`: again, it returns the first grant and leaves the budget alone.

    Raises CampaignOver, CampaignSpent, and what `grant_credit` raises.
    """
    lock_rows(Wallet.objects.all(), [organization.pk])
    if not Grant.across_all_organizations.filter(fact_key=fact_key).exists():
        campaign = take_from_budget(campaign, amount_nano)
    return grant_credit(
        organization=organization,
        amount_nano=amount_nano,
        reason=campaign.name,
        fact_key=fact_key,
        kind=kind,
        campaign=campaign.book_name,
        expires_at=credit_end(campaign),
        ip=ip,
    )


def credit_end(campaign: Campaign) -> datetime | None:
    """Until when credit that it gives now lasts."""
    return timezone.now() + timedelta(days=campaign.credit_days) if campaign.credit_days else None


def tell_spent(campaign: Campaign) -> None:
    """Operators learn that somebody went without. Outside of the transaction that was refused."""
    raise_alert(
        kind=SPENT,
        subject=f"campaign {campaign.pk}",
        message=f"The budget of {campaign.name} is spent; somebody who qualified got nothing.",
    )
