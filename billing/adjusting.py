"""What each kind of adjustment posts, in the transaction of who decides it.

Its ledger transaction has the kind that says so: never usage.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _

from billing.corrections import correct_usage
from billing.ledger import Account, Entry, Owner, Posting, post
from billing.ledger import templates as ledger_templates
from billing.lots import Arrival, bring_in, lock_credit, receive, take_out
from billing.models import Adjustment, AdjustmentKind, LedgerTransaction, LotKind, PostingKind, Wallet
from billing.promotions import credit_end, take_from_budget
from billing.reversals import reverse_transaction
from billing.spending import take_in_order
from billing.unmatched import find_unsettled, settle_claim
from common.errors import AppError
from common.locking import lock_rows
from common.templatetags.formats import money_exact

GOODWILL_CAMPAIGN = "goodwill"


class TooLittleToTake(AppError):
    """The wallet has less that nobody has spent or holds; nothing was taken."""

    code = "too_little_to_take"


class OwesLess(AppError):
    """The wallet owes less than was to be forgiven; nothing was changed."""

    code = "owes_less"


def post_adjustment(adjustment: Adjustment) -> LedgerTransaction:
    """Once for each adjustment: its fact key is made of its number.

    Raises TooLittleToTake, OwesLess, CampaignOver, CampaignSpent, and what reversing, correcting and
    bringing credit in raise.
    """
    return POST[adjustment.kind](adjustment)


def _give(adjustment: Adjustment) -> LedgerTransaction:
    return _arrive(
        adjustment,
        kind=LotKind.PROMOTIONAL,
        posting_kind=PostingKind.ADJUSTMENT,
        source=Account.GOODWILL,
        source_owner=Owner.campaign(GOODWILL_CAMPAIGN),
    )


def _grant(adjustment: Adjustment) -> LedgerTransaction:
    assert adjustment.campaign is not None  # noqa: S101 - the database holds it
    campaign = take_from_budget(adjustment.campaign, adjustment.amount_nano)
    return _arrive(
        adjustment,
        kind=LotKind.PROMOTIONAL,
        posting_kind=PostingKind.ADJUSTMENT,
        source=Account.PROMOTIONS,
        source_owner=Owner.campaign(campaign.book_name),
        expires_at=credit_end(campaign),
    )


def _top_up(adjustment: Adjustment) -> LedgerTransaction:
    return _arrive(
        adjustment,
        kind=LotKind.PAID,
        posting_kind=PostingKind.TOP_UP,
        source=Account.BANK,
        source_owner=Owner.OPERATOR,
    )


def _claim(adjustment: Adjustment) -> LedgerTransaction:
    """Out of suspense: the reference is the payment's."""
    find_unsettled(adjustment.reference, lock=True)
    posting = _arrive(
        adjustment,
        kind=LotKind.PAID,
        posting_kind=PostingKind.TOP_UP,
        source=Account.SUSPENSE,
        source_owner=Owner.OPERATOR,
    )
    settle_claim(adjustment)
    return posting


def _arrive(adjustment: Adjustment, **terms: Any) -> LedgerTransaction:
    bring_in(
        Arrival(
            organization_id=adjustment.organization_id,
            amount_nano=adjustment.amount_nano,
            tax_nano=adjustment.tax_nano,
            fact_key=_fact_key(adjustment),
            reason=adjustment.reason,
            actor=adjustment.requested_by,
            **terms,
        )
    )
    return _posting_of(adjustment)


def _take_back(adjustment: Adjustment) -> LedgerTransaction:
    """From the lots that would be spent last; the rest becomes a debt only where that was asked for."""
    held = lock_credit(adjustment.organization_id)
    most = min(adjustment.amount_nano, held.wallet.available)
    takes, missing = take_in_order(list(reversed(held.lots)), most)
    taken = most - missing
    owed = adjustment.amount_nano - taken
    if owed and not adjustment.may_owe:
        text = _("%(most)s can be taken; the rest is spent or held by calls that run.")
        raise TooLittleToTake(text % {"most": money_exact(taken)}, param="amount")
    by_kind: dict[str, int] = defaultdict(int)
    for lot, amount in takes:
        by_kind[lot.kind] += amount
    entries = ledger_templates.taken_back(
        organization_id=adjustment.organization_id,
        by_kind=by_kind,
        owed=owed,
        counter=Account.ROUNDING,
        counter_owner=Owner.OPERATOR,
    )
    by_lot = {lot.lot_id: amount for lot, amount in takes}
    take_out(held, by_lot, posting=_adjusting(adjustment, entries), owed_nano=owed)
    return _posting_of(adjustment)


def _write_off(adjustment: Adjustment) -> LedgerTransaction:
    [wallet] = lock_rows(Wallet.objects.all(), [adjustment.organization_id])
    if adjustment.amount_nano > wallet.receivable:
        text = _("The wallet owes %(owed)s.") % {"owed": money_exact(wallet.receivable)}
        raise OwesLess(text, param="amount")
    entries = ledger_templates.written_off(
        organization_id=adjustment.organization_id, amount=adjustment.amount_nano
    )
    post(_adjusting(adjustment, entries))
    receive(wallet, adjustment.amount_nano, adjustment.amount_nano)
    return _posting_of(adjustment)


def _reverse(adjustment: Adjustment) -> LedgerTransaction:
    return reverse_transaction(
        original=LedgerTransaction.objects.get(pk=_subject_of(adjustment)),
        reason=adjustment.reason,
        actor=adjustment.requested_by,
    )


def _correct(adjustment: Adjustment) -> LedgerTransaction:
    correction = correct_usage(
        request_id=_subject_of(adjustment),
        amount_nano=adjustment.amount_nano,
        reason=adjustment.reason,
        fact_key=_fact_key(adjustment),
        actor=adjustment.requested_by,
    )
    return correction.transaction


POST: dict[str, Callable[[Adjustment], LedgerTransaction]] = {
    AdjustmentKind.GOODWILL: _give,
    AdjustmentKind.TAKE_BACK: _take_back,
    AdjustmentKind.WRITE_OFF: _write_off,
    AdjustmentKind.TOP_UP: _top_up,
    AdjustmentKind.REVERSAL: _reverse,
    AdjustmentKind.CORRECTION: _correct,
    AdjustmentKind.CLAIM: _claim,
    AdjustmentKind.CAMPAIGN: _grant,
}


def _subject_of(adjustment: Adjustment) -> UUID:
    """The database holds that there is one (adjustment_names_its_subject)."""
    assert adjustment.subject is not None  # noqa: S101 - for the type
    return adjustment.subject


def _adjusting(adjustment: Adjustment, entries: Sequence[Entry]) -> Posting:
    return Posting(
        fact_key=_fact_key(adjustment),
        kind=PostingKind.ADJUSTMENT,
        entries=entries,
        reason=adjustment.reason,
        actor_id=adjustment.requested_by_id,
    )


def _fact_key(adjustment: Adjustment) -> str:
    return f"adj:{adjustment.pk}"


def _posting_of(adjustment: Adjustment) -> LedgerTransaction:
    return LedgerTransaction.objects.get(fact_key=_fact_key(adjustment))
