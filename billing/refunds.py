"""Unused paid credit on its way back to the payer. It leaves the wallet first: nobody spends it meanwhile.

Each refund has its own account of what is payable, which the database never lets be overdrawn: a refund
cannot be paid out and given back, nor either of them twice.
"""

from datetime import datetime

from django.db import transaction
from django.db.models import Sum
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import User
from accounts.services import record_audit
from billing.held_credit import return_credit
from billing.ledger import Account, Posting, post
from billing.ledger import templates as ledger_templates
from billing.lots import LockedCredit, lock_credit, take_out
from billing.models import (
    LedgerEntry,
    Lot,
    LotKind,
    PostingKind,
    Refund,
    RefundState,
    TopUp,
    Wallet,
)
from billing.operators import SecondOperatorNeeded, needs_second_operator, required_reason
from common.errors import AppError
from common.locking import lock_rows
from common.templatetags.formats import money_exact

SOURCES = (Account.STRIPE_CLEARING, Account.BANK)


class RefundRefused(AppError):
    """The refund makes no sense as asked for; nothing was changed."""

    code = "refund_refused"


class RefundTooLarge(AppError):
    """More than is left of the lot, or of the tax that came with it. Nothing was changed."""

    code = "refund_too_large"


class RefundEnded(AppError):
    """The refund has ended the other way; that is never undone."""

    code = "refund_ended"
    http_status = 409


def refundable(credit: LockedCredit, lot: Lot) -> int:
    """What can be paid back of this lot: unspent, held by no lease, and not needed for what is owed."""
    if lot.kind != LotKind.PAID:
        return 0
    return max(0, min(credit.unspent(lot.pk), credit.wallet.available - credit.wallet.receivable))


@transaction.atomic
def request_refund(
    *,
    lot: Lot,
    amount_nano: int,
    tax_nano: int = 0,
    reason: str,
    fact_key: str,
    requested_by: User | None = None,
    ip: str | None = None,
) -> Refund:
    """Take credit of a paid lot out of the wallet for its payer; once per `fact_key`.

    `tax_nano` is the tax that goes back with it, on top. What was paid by card goes back to the card:
    `billing.card_refunds`. Raises RefundRefused, RefundTooLarge, ReasonMissing.
    """
    reason = required_reason(reason)
    if amount_nano <= 0 or tax_nano < 0:
        raise RefundRefused(_("A refund is more than nothing."), param="amount")
    if TopUp.across_all_organizations.filter(lot=lot).exists():
        raise RefundRefused(_("This was paid by card, and goes back to the card: refund the top-up."))
    credit = lock_credit(lot.organization_id)
    known: Refund | None = Refund.across_all_organizations.filter(fact_key=fact_key).first()
    if known is not None:
        if (known.lot_id, known.amount_nano, known.tax_nano) != (lot.pk, amount_nano, tax_nano):
            raise RefundRefused(_("This form has asked for another refund already."))
        return known
    _check_bounds(credit, lot, amount_nano, tax_nano)
    refund: Refund = Refund.across_all_organizations.create(
        organization_id=lot.organization_id,
        lot=lot,
        amount_nano=amount_nano,
        tax_nano=tax_nano,
        reason=reason,
        fact_key=fact_key,
        requested_by=requested_by,
    )
    take_out(credit, {lot.pk: amount_nano}, posting=start_of(refund))
    audit_refund(refund, "requested", requested_by, ip)
    return refund


@transaction.atomic
def finish_refund(
    *,
    refund: Refund,
    outcome: RefundState,
    source: Account = Account.BANK,
    actor: User | None = None,
    ip: str | None = None,
) -> Refund:
    """The payer has it (`source` paid), or it failed and the credit comes back, paying debts first.

    The same outcome again changes nothing. Raises RefundEnded for the other one, SecondOperatorNeeded,
    RefundRefused.
    """
    if outcome == RefundState.REQUESTED or source not in SOURCES:
        raise RefundRefused(_("A refund ends as paid or as failed."))
    [wallet] = lock_rows(Wallet.objects.all(), [refund.organization_id])
    [refund] = lock_rows(Refund.across_all_organizations.all(), [refund.pk])
    if refund.state == outcome:
        return refund
    if refund.state != RefundState.REQUESTED:
        raise RefundEnded(_("This refund has ended already."))
    if refund.top_up_id is not None and (refund.sent_at or outcome == RefundState.SUCCEEDED):
        raise RefundRefused(_("Stripe says how this one ends."))
    if outcome == RefundState.SUCCEEDED:
        _check_second_operator(refund, actor)
        pay_out(refund, source)
    else:
        take_in_again(wallet, refund)
    end_refund(refund, outcome)
    audit_refund(refund, outcome, actor, ip)
    return refund


def pay_out(refund: Refund, source: Account, at: datetime | None = None) -> None:
    """The money has left our account."""
    entries = ledger_templates.refund_succeeded(
        refund_owner=_owner(refund), amount=refund.amount_nano, tax=refund.tax_nano, source=source
    )
    key = f"refund:{refund.pk}:succeeded"
    post(Posting(fact_key=key, kind=PostingKind.REFUND, entries=entries, effective_at=at))
    refund.paid_at = at or timezone.now()


def take_in_again(wallet: Wallet, refund: Refund) -> None:
    """Under the locks of wallet and refund: the credit comes back to where it was, as far as it can."""

    def posting(clears: int, target: Account = Account.PAID_CREDIT) -> Posting:
        entries = ledger_templates.refund_failed(
            organization_id=refund.organization_id,
            refund_owner=_owner(refund),
            amount=refund.amount_nano,
            tax=refund.tax_nano,
            clears=clears,
            was_paid=refund.paid_at is not None,
            target=target,
        )
        return Posting(fact_key=f"refund:{refund.pk}:failed", kind=PostingKind.REFUND, entries=entries)

    if refund.from_held and refund.top_up is not None and refund.top_up.is_held:
        post(posting(0, Account.HELD_CREDIT))
    elif refund.amount_nano:
        return_credit(wallet, refund.lot_id, refund.amount_nano, posting)
    else:
        post(posting(0))


def end_refund(refund: Refund, outcome: RefundState) -> None:
    refund.state = outcome
    refund.ended_at = timezone.now()
    refund.save(
        update_fields=[
            *("state", "ended_at", "paid_at", "failure_reason"),
            *("stripe_id", "stripe_status", "tried_at"),
        ]
    )


def _check_bounds(credit: LockedCredit, lot: Lot, amount_nano: int, tax_nano: int) -> None:
    most = refundable(credit, lot)
    if amount_nano > most:
        text = _("Of this lot %(most)s can be refunded now.") % {"most": money_exact(most)}
        raise RefundTooLarge(text, param="amount")
    most_tax = _tax_left(lot)
    if tax_nano > most_tax:
        text = _("Of the tax %(most)s can be refunded.") % {"most": money_exact(most_tax)}
        raise RefundTooLarge(text, param="tax")


def _tax_left(lot: Lot) -> int:
    """Of the tax that came with the lot, what has not gone back or is not on its way."""
    came = LedgerEntry.objects.filter(transaction_id=lot.origin_id, account__code=Account.TAX_PAYABLE)
    gone = Refund.across_all_organizations.filter(lot=lot).exclude(state=RefundState.FAILED)
    paid = -int(came.aggregate(Sum("amount", default=0))["amount__sum"])
    return paid - int(gone.aggregate(Sum("tax_nano", default=0))["tax_nano__sum"])


def _check_second_operator(refund: Refund, actor: User | None) -> None:
    """A vendor's word (`actor` None) is nobody's favour to himself."""
    is_large = needs_second_operator(refund.amount_nano + refund.tax_nano)
    if actor is not None and is_large and actor.pk == refund.requested_by_id:
        raise SecondOperatorNeeded(_("Another operator confirms that this was paid: it is over the limit."))


def start_of(refund: Refund) -> Posting:
    return Posting(
        fact_key=f"refund:{refund.pk}:start",
        kind=PostingKind.REFUND,
        entries=ledger_templates.refund_requested(
            organization_id=refund.organization_id,
            refund_owner=_owner(refund),
            amount=refund.amount_nano,
            tax=refund.tax_nano,
            owed=refund.owed_nano,
            source=Account.HELD_CREDIT if refund.from_held else Account.PAID_CREDIT,
        ),
        reason=refund.reason,
        actor_id=refund.requested_by_id,
    )


def _owner(refund: Refund) -> str:
    return f"refund:{refund.pk}"


def audit_refund(refund: Refund, verb: str, actor: User | None, ip: str | None) -> None:
    record_audit(
        action=f"refund.{verb}",
        subject=refund,
        actor=actor,
        organization=refund.organization,
        after={"amount_nano": refund.amount_nano, "tax_nano": refund.tax_nano, "lot": refund.lot_id},
        reason=refund.reason,
        ip=ip,
    )
