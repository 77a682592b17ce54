"""What a customer's credit consists of, in the order it is spent, and until when it lasts."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Sum
from django.utils import timezone
from django.utils.translation import gettext

from billing.models import Lot, UsageCorrection, UsageRecord, VoucherRedemption
from billing.spending import SpendableLot, in_spending_order, take_in_order
from common.templatetags.formats import local_day, money


@dataclass(frozen=True)
class ShownLot:
    """`left_nano` is what charges have left of it, those too that the lot does not show yet."""

    lot: Lot
    left_nano: int

    @property
    def is_expired(self) -> bool:
        """Until the next sweep takes it out."""
        return self.lot.expires_at is not None and self.lot.expires_at <= timezone.now()


def current_credit() -> list[ShownLot]:
    """The lots of the organization in scope that hold something; the first is spent first."""
    lots: dict[int, Lot] = {lot.pk: lot for lot in Lot.objects.filter(remaining__gt=0)}
    ordered = in_spending_order(
        SpendableLot(lot.pk, lot.kind, lot.remaining, lot.priority, lot.expires_at) for lot in lots.values()
    )
    take_in_order(ordered, _charged_since_aggregation())
    return [ShownLot(lots[one.lot_id], one.remaining) for one in ordered if one.remaining]


def next_to_expire() -> ShownLot | None:
    """The credit that is lost first if it is not spent."""
    dated = [one for one in current_credit() if one.lot.expires_at and not one.is_expired]
    return min(dated, key=_expiry, default=None)


def words_of(redemption: VoucherRedemption) -> str:
    """What a code gave, and until when."""
    amount = money(redemption.grant.amount_nano)
    lot = Lot.objects.filter(origin__fact_key=f"grant:{redemption.grant_id}").first()
    if lot is None:
        return gettext("%(amount)s added; it paid what your organization owed.") % {"amount": amount}
    if lot.expires_at is None:
        return gettext("%(amount)s added to your balance.") % {"amount": amount}
    day = local_day(lot.expires_at)
    return gettext("%(amount)s added to your balance. It lasts until %(day)s.") % {
        "amount": amount,
        "day": day,
    }


def given_back(record: UsageRecord) -> int:
    """Of a request's price, by corrections."""
    corrections = UsageCorrection.objects.filter(request_id=record.request_id)
    return int(corrections.aggregate(Sum("amount_nano", default=0))["amount_nano__sum"])


def _charged_since_aggregation() -> int:
    """What is off the wallet but not yet off the lots."""
    records = UsageRecord.objects.filter(batch__aggregated_at=None)
    return int(records.aggregate(Sum("charge_nano", default=0))["charge_nano__sum"])


def _expiry(shown: ShownLot) -> datetime:
    assert shown.lot.expires_at is not None  # noqa: S101 - the caller chose lots with a date
    return shown.lot.expires_at
