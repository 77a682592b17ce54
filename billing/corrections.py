"""A charge given back, in part or whole. The usage record stays as it is; a correction stands beside it."""

from collections import defaultdict
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet, Sum
from django.utils.translation import gettext as _

from accounts.models import User
from accounts.services import record_audit
from billing.giving_back import give_back, lock_lots_named
from billing.ledger import FactContradicts, Posting
from billing.ledger import templates as ledger_templates
from billing.models import (
    LotEntry,
    LotKind,
    PostingKind,
    UsageCorrection,
    UsageRecord,
    Wallet,
)
from billing.operators import required_reason
from billing.spending import SpendableLot, in_spending_order, take_in_order
from common.errors import AppError
from common.locking import lock_rows
from common.templatetags.formats import money_exact


class UsageUnknown(AppError):
    """There is no such usage record; those of detached months cannot be corrected."""

    code = "usage_unknown"
    http_status = 404


class NotAggregatedYet(AppError):
    """The charge is not in the ledger yet, so it cannot be given back. Nothing was changed; try again."""

    code = "not_aggregated_yet"
    http_status = 409


class CorrectionTooLarge(AppError):
    """More than is left of the request's price. Nothing was changed."""

    code = "correction_too_large"


@dataclass(frozen=True)
class Left:
    """Of a record's price, what was not given back yet: of its charge, and of what was never collected."""

    charge: int
    uncollected: int

    @property
    def amount(self) -> int:
        return self.charge + self.uncollected


def left_to_correct(record: UsageRecord) -> Left:
    given = UsageCorrection.across_all_organizations.filter(request_id=record.request_id).aggregate(
        amount=Sum("amount_nano", default=0), uncollected=Sum("uncollected_nano", default=0)
    )
    amount, uncollected = int(given["amount"]), int(given["uncollected"])
    return Left(record.charge_nano - (amount - uncollected), record.uncollected_nano - uncollected)


def find_correctable(request_id: UUID) -> UsageRecord:
    """Raises UsageUnknown, NotAggregatedYet. Once aggregated, a record always is."""
    record: UsageRecord | None = (
        UsageRecord.across_all_organizations.select_related("batch", "organization")
        .filter(request_id=request_id)
        .first()
    )
    if record is None:
        raise UsageUnknown(_("There is no such request any more."))
    if record.batch.aggregated_at is None:
        raise NotAggregatedYet(_("This charge is not booked yet. Try again in a few seconds."))
    return record


@transaction.atomic
def correct_usage(
    *,
    request_id: UUID,
    reason: str,
    fact_key: str,
    amount_nano: int | None = None,
    actor: User | None = None,
    ip: str | None = None,
) -> UsageCorrection:
    """Give back `amount_nano` of a request's price, or all that is left of it; once per `fact_key`.

    First off the debt the request left; then to the lots that paid for it, the last one spent first. The
    reseller's earnings lose their share. Raises UsageUnknown, NotAggregatedYet, CorrectionTooLarge,
    ReasonMissing.
    """
    reason = required_reason(reason)
    record = find_correctable(request_id)
    [wallet] = lock_rows(Wallet.objects.all(), [record.organization_id])
    known: UsageCorrection | None = UsageCorrection.across_all_organizations.filter(fact_key=fact_key).first()
    if known is not None:
        return known
    left = left_to_correct(record)
    amount = left.amount if amount_nano is None else amount_nano
    if not 0 < amount <= left.amount:
        text = _("Of this request %(most)s can be given back.") % {"most": money_exact(left.amount)}
        raise CorrectionTooLarge(text, param="amount")
    uncollected = min(amount, left.uncollected)
    correction = UsageCorrection(
        organization_id=record.organization_id,
        request_id=request_id,
        usage_posting_id=record.batch.posting_id,
        amount_nano=amount,
        uncollected_nano=uncollected,
        margin_nano=_margin_share(record, left, amount - uncollected),
        reason=reason,
        fact_key=fact_key,
        corrected_by=actor,
    )
    _carry_out(correction, record, wallet)
    _audit(correction, record, ip)
    return correction


def _carry_out(correction: UsageCorrection, record: UsageRecord, wallet: Wallet) -> None:
    """What was owed for the request and has been paid since then was paid by no lot that is recorded."""
    clears = min(correction.uncollected_nano, wallet.receivable)
    back, homeless = _to_lots(record, correction.amount_nano - correction.uncollected_nano)
    surplus = homeless + correction.uncollected_nano - clears
    by_kind: dict[str, int] = defaultdict(int)
    for lot, amount in back:
        by_kind[lot.kind] += amount
    by_kind[LotKind.PAID] += surplus
    entries = ledger_templates.usage_corrected(
        organization_id=record.organization_id,
        reseller_id=record.reseller_id,
        returned=by_kind,
        forgiven=clears,
        margin_back=correction.margin_nano,
    )
    posting = Posting(
        fact_key=f"correction:{correction.fact_key}",
        kind=PostingKind.CORRECTION,
        entries=entries,
        reason=correction.reason,
        actor_id=correction.corrected_by_id,
    )
    lots = {lot.lot_id: amount for lot, amount in back}
    transaction_id = give_back(wallet, lots, posting=posting, clears=clears, surplus=surplus)
    if transaction_id is None:
        raise FactContradicts("the correction was posted without its row")
    correction.transaction_id = transaction_id
    correction.save()


def _to_lots(record: UsageRecord, amount: int) -> tuple[list[tuple[SpendableLot, int]], int]:
    """What each lot gets back, the last spent first, and what none of them gave.

    A lot gets back at most what it gave for the posting, less what corrections returned before.
    """
    room: dict[int, int] = defaultdict(int)
    for lot_id, change in _lot_entries(record).values_list("lot_id", "amount"):
        room[lot_id] -= change
    returned = LotEntry.objects.filter(
        lot_id__in=list(room), transaction__usage_correction__usage_posting=record.batch.posting_id
    )
    for lot_id, change in returned.values_list("lot_id", "amount"):
        room[lot_id] -= change
    lots = [
        SpendableLot(lot.pk, lot.kind, room[lot.pk], lot.priority, lot.expires_at)
        for lot in lock_lots_named(list(room)).values()
    ]
    return take_in_order(in_spending_order(lots)[::-1], amount)


def _margin_share(record: UsageRecord, left: Left, returned: int) -> int:
    """What the reseller earned on this part of the charge; over all parts it adds up to what it earned.

    Aggregation pays margin on what paid credit bought, by the whole of a customer's charges in a posting.
    """
    if not record.charge_nano or record.wholesale_version_id is None:
        return 0
    margin = record.charge_nano - record.wholesale_nano
    if record.uncollected_nano:
        margin = max(0, margin)
    sums = dict(_lot_entries(record).values_list("lot__kind").annotate(Sum("amount")).order_by())
    taken = sum(sums.values())
    earned = margin * int(sums.get(LotKind.PAID, 0)) // int(taken) if taken else 0
    before = record.charge_nano - left.charge
    return earned * (before + returned) // record.charge_nano - earned * before // record.charge_nano


def _lot_entries(record: UsageRecord) -> QuerySet[LotEntry]:
    """What the customer's lots gave for the posting that has this record."""
    return LotEntry.objects.filter(
        transaction=record.batch.posting_id, lot__organization=record.organization_id
    )


def _audit(correction: UsageCorrection, record: UsageRecord, ip: str | None) -> None:
    record_audit(
        action="usage.corrected",
        subject=record,
        actor=correction.corrected_by,
        organization=record.organization,
        after={"amount_nano": correction.amount_nano, "margin_nano": correction.margin_nano},
        reason=correction.reason,
        ip=ip,
    )
