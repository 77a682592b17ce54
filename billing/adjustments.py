"""What operators move by hand: asked for with a reason, and over the limit approved by a second operator."""

from uuid import UUID

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import Organization, User
from accounts.services import record_audit
from billing.adjusting import post_adjustment
from billing.corrections import find_correctable, left_to_correct
from billing.models import (
    Adjustment,
    AdjustmentKind,
    AdjustmentState,
    Campaign,
    CampaignKind,
    LedgerTransaction,
    Wallet,
)
from billing.operators import SecondOperatorNeeded, needs_second_operator, required_reason
from billing.promotions import CampaignElsewhere
from billing.reversals import read_original
from common.errors import AppError
from common.locking import lock_rows


class AdjustmentRefused(AppError):
    """It makes no sense as asked for; nothing was changed."""

    code = "adjustment_refused"


class TransferKnown(AppError):
    """A transfer with this bank reference was recorded before; nothing was added."""

    code = "transfer_known"
    http_status = 409


class AdjustmentDecided(AppError):
    """Somebody has decided otherwise already."""

    code = "adjustment_decided"
    http_status = 409


@transaction.atomic
def request_adjustment(
    *,
    organization: Organization,
    kind: AdjustmentKind,
    amount_nano: int,
    reason: str,
    fact_key: str,
    requested_by: User | None = None,
    may_owe: bool = False,
    tax_nano: int = 0,
    reference: str = "",
    subject: UUID | None = None,
    campaign: Campaign | None = None,
    ip: str | None = None,
) -> Adjustment:
    """Posted at once up to the set amount; above it, it waits for a second operator.

    Once per `fact_key`: again, it returns the first. What cannot be posted is refused now, also where it
    would wait. Raises ReasonMissing, AdjustmentRefused, TransferKnown and what posting of its kind raises.
    """
    reason = required_reason(reason)
    if amount_nano <= 0 or tax_nano < 0:
        raise AdjustmentRefused(_("The amount is more than nothing."), param="amount")
    lock_rows(Wallet.objects.all(), [organization.pk])
    known: Adjustment | None = Adjustment.across_all_organizations.filter(fact_key=fact_key).first()
    if known is not None:
        return _same(known, organization)
    _check_reference(kind, reference)
    adjustment: Adjustment = Adjustment.across_all_organizations.create(
        organization=organization,
        kind=kind,
        amount_nano=amount_nano,
        tax_nano=tax_nano,
        subject=subject,
        campaign=campaign,
        may_owe=may_owe,
        reference=reference.strip(),
        reason=reason,
        fact_key=fact_key,
        needs_second=needs_second_operator(amount_nano + tax_nano),
        state=AdjustmentState.REQUESTED,
        requested_by=requested_by,
    )
    if adjustment.needs_second:
        _rehearse(adjustment)
        _audit(adjustment, "requested", requested_by, ip)
    else:
        _carry_out(adjustment, requested_by, "posted", ip=ip)
    return adjustment


def record_top_up(
    *,
    organization: Organization,
    amount_nano: int,
    reference: str,
    reason: str,
    fact_key: str,
    tax_nano: int = 0,
    recorded_by: User | None = None,
    ip: str | None = None,
) -> Adjustment:
    """A bank transfer that came: paid credit, once for each bank reference. See `request_adjustment`."""
    return request_adjustment(
        organization=organization,
        kind=AdjustmentKind.TOP_UP,
        amount_nano=amount_nano,
        tax_nano=tax_nano,
        reference=reference,
        reason=reason,
        fact_key=fact_key,
        requested_by=recorded_by,
        ip=ip,
    )


def request_reversal(
    *,
    original: LedgerTransaction,
    reason: str,
    fact_key: str,
    requested_by: User | None = None,
    ip: str | None = None,
) -> Adjustment:
    """Raises NotReversible as well; AdjustmentRefused where it was reversed or that waits already."""
    facts = read_original(original)
    waiting = Adjustment.across_all_organizations.filter(
        subject=original.pk, kind=AdjustmentKind.REVERSAL
    ).exclude(state=AdjustmentState.REJECTED)
    if waiting.exclude(fact_key=fact_key).exists() or LedgerTransaction.objects.filter(
        reverses=original
    ).exclude(adjustment__fact_key=fact_key):
        raise AdjustmentRefused(_("This was reversed before, or that waits for a second operator."))
    return request_adjustment(
        organization=Organization.objects.get(pk=facts.organization_id),
        kind=AdjustmentKind.REVERSAL,
        amount_nano=facts.amount,
        subject=original.pk,
        reason=reason,
        fact_key=fact_key,
        requested_by=requested_by,
        ip=ip,
    )


def request_correction(
    *,
    request_id: UUID,
    reason: str,
    fact_key: str,
    amount_nano: int | None = None,
    requested_by: User | None = None,
    ip: str | None = None,
) -> Adjustment:
    """Give back an amount of a request's price, None for all that is left. Raises as `correct_usage` does."""
    record = find_correctable(request_id)
    left = left_to_correct(record).amount
    known = Adjustment.across_all_organizations.filter(fact_key=fact_key).exists()
    if amount_nano is None and not left and not known:
        raise AdjustmentRefused(_("All of it was given back before."))
    return request_adjustment(
        organization=record.organization,
        kind=AdjustmentKind.CORRECTION,
        amount_nano=(left or record.charge_nano) if amount_nano is None else amount_nano,
        subject=request_id,
        reason=reason,
        fact_key=fact_key,
        requested_by=requested_by,
        ip=ip,
    )


def request_campaign_grant(
    *,
    campaign: Campaign,
    organization: Organization,
    amount_nano: int,
    reason: str,
    fact_key: str,
    requested_by: User | None = None,
    ip: str | None = None,
) -> Adjustment:
    """Credit by hand out of a budget. Raises CampaignElsewhere, CampaignOver, CampaignSpent as well."""
    if campaign.kind != CampaignKind.GRANT:
        raise CampaignElsewhere(_("This campaign gives its bonus by itself."))
    if campaign.reseller_id != organization.reseller_id:
        text = _("This organization is a customer of another reseller.")
        raise CampaignElsewhere(text, param="organization")
    return request_adjustment(
        organization=organization,
        kind=AdjustmentKind.CAMPAIGN,
        amount_nano=amount_nano,
        campaign=campaign,
        reason=reason,
        fact_key=fact_key,
        requested_by=requested_by,
        ip=ip,
    )


@transaction.atomic
def approve_adjustment(*, adjustment: Adjustment, approved_by: User, ip: str | None = None) -> Adjustment:
    """Post what waits. Approving again changes nothing.

    Raises SecondOperatorNeeded for who asked for it, AdjustmentDecided, and what posting raises: it waits on.
    """
    adjustment = _locked(adjustment)
    if adjustment.state == AdjustmentState.POSTED:
        return adjustment
    if adjustment.state != AdjustmentState.REQUESTED:
        raise AdjustmentDecided(_("This was rejected already."))
    if adjustment.requested_by_id in (None, approved_by.pk):
        raise SecondOperatorNeeded(_("Somebody else than who asked for it approves it."))
    _carry_out(adjustment, approved_by, "approved", ip=ip)
    return adjustment


@transaction.atomic
def reject_adjustment(
    *, adjustment: Adjustment, rejected_by: User, reason: str, ip: str | None = None
) -> Adjustment:
    """Anybody may, who asked for it too. Rejecting again changes nothing. Raises AdjustmentDecided."""
    reason = required_reason(reason)
    adjustment = _locked(adjustment)
    if adjustment.state == AdjustmentState.REJECTED:
        return adjustment
    if adjustment.state != AdjustmentState.REQUESTED:
        raise AdjustmentDecided(_("This was posted already."))
    _decide(adjustment, AdjustmentState.REJECTED, rejected_by)
    _audit(adjustment, "rejected", rejected_by, ip, reason=reason)
    return adjustment


def _locked(adjustment: Adjustment) -> Adjustment:
    lock_rows(Wallet.objects.all(), [adjustment.organization_id])
    [locked] = lock_rows(Adjustment.across_all_organizations.all(), [adjustment.pk])
    return locked


def _same(known: Adjustment, organization: Organization) -> Adjustment:
    if known.organization_id != organization.pk:
        raise AdjustmentRefused(_("This form was sent for another organization."))
    return known


def _check_reference(kind: AdjustmentKind, reference: str) -> None:
    if kind not in (AdjustmentKind.TOP_UP, AdjustmentKind.CLAIM):
        return
    if not reference.strip():
        raise AdjustmentRefused(_("A transfer has the bank's reference."), param="reference")
    rows = Adjustment.across_all_organizations.filter(reference=reference.strip())
    if rows.exclude(state=AdjustmentState.REJECTED).exists():
        raise TransferKnown(_("A transfer with this reference was recorded before."), param="reference")


def _rehearse(adjustment: Adjustment) -> None:
    """Post it and take that back: raises what the second operator would meet."""
    with transaction.atomic():
        post_adjustment(adjustment)
        transaction.set_rollback(True)


def _carry_out(adjustment: Adjustment, actor: User | None, verb: str, *, ip: str | None) -> None:
    before = _of_wallet(adjustment)
    adjustment.transaction = post_adjustment(adjustment)
    _decide(adjustment, AdjustmentState.POSTED, actor if adjustment.needs_second else None)
    _audit(adjustment, verb, actor, ip, before=before, after=_of_wallet(adjustment))


def _decide(adjustment: Adjustment, state: AdjustmentState, by: User | None) -> None:
    adjustment.state = state
    adjustment.decided_by = by
    adjustment.decided_at = timezone.now()
    adjustment.save(update_fields=["state", "decided_by", "decided_at", "transaction"])


def _of_wallet(adjustment: Adjustment) -> dict[str, int]:
    wallet = Wallet.objects.get(pk=adjustment.organization_id)
    return {"posted_nano": wallet.posted, "receivable_nano": wallet.receivable}


def _audit(
    adjustment: Adjustment,
    verb: str,
    actor: User | None,
    ip: str | None,
    *,
    reason: str = "",
    before: dict[str, int] | None = None,
    after: dict[str, int] | None = None,
) -> None:
    record_audit(
        action=f"adjustment.{verb}",
        subject=adjustment,
        actor=actor,
        organization=adjustment.organization,
        before=before,
        after={"kind": adjustment.kind, "amount_nano": adjustment.amount_nano, **(after or {})},
        reason=reason or adjustment.reason,
        ip=ip,
    )
