"""Card payments on their way back through Stripe: asked for here, or made in its dashboard; each booked once.

Credit leaves first, in a transaction of its own; then Stripe is asked, under a key that names our row, as
often as it takes (`billing.stripe.refunds`). What it answers and what its events tell is one fact, and comes
in through `book_refund`. `amount_refunded` of a charge is a running sum and never looked at.
"""

from celery import current_app
from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.alerts import raise_alert
from accounts.models import AlertSeverity, User
from billing.clearing import book_line
from billing.contracts import CURRENCY
from billing.facts import RefundFacts
from billing.held_credit import held_left, is_disputed, paid_of
from billing.ledger import Account
from billing.lots import LockedCredit, lock_credit, take_out
from billing.models import Refund, RefundState, TopUp, TopUpState, Wallet
from billing.operators import SecondOperatorNeeded, needs_second_operator, required_reason
from billing.refunds import (
    RefundEnded,
    RefundRefused,
    RefundTooLarge,
    audit_refund,
    end_refund,
    pay_out,
    refundable,
    start_of,
    take_in_again,
)
from billing.shares import split, tax_with
from common.errors import AppError
from common.locking import lock_rows
from common.money import NANO_PER_MINOR, minor_to_nano
from common.templatetags.formats import money_exact

SENDING_TASK = "billing.tasks.send_refunds"
FAILED = ("failed", "canceled")
DASHBOARD_REASON = "Made in Stripe's dashboard"


class FactsContradict(AppError):
    """Stripe says something of an object that cannot be true of ours. Nothing was booked."""

    code = "facts_contradict"


@transaction.atomic
def most_refundable(top_up: TopUp) -> int:
    """Cents of credit that can go back to the card now; tax goes with them."""
    return _most(top_up, lock_credit(top_up.organization_id))


@transaction.atomic
def request_card_refund(
    *,
    top_up: TopUp,
    amount_nano: int,
    reason: str,
    fact_key: str,
    requested_by: User | None = None,
    ip: str | None = None,
) -> Refund:
    """Take unused credit of a top-up out for the card it was paid with; once per `fact_key`.

    Its share of the tax goes with it. Over the limit it is sent to Stripe when another operator approves.
    Raises RefundRefused, RefundTooLarge, ReasonMissing, RowsBusy.
    """
    reason = required_reason(reason)
    if amount_nano <= 0 or amount_nano % NANO_PER_MINOR:
        raise RefundRefused(_("A card takes back whole cents, and more than none."), param="amount")
    top_up = _lock(top_up)
    known: Refund | None = Refund.across_all_organizations.filter(fact_key=fact_key).first()
    if known is not None:
        if (known.top_up_id, known.amount_nano) != (top_up.pk, amount_nano):
            raise RefundRefused(_("This form has asked for another refund already."))
        return known
    credit = lock_credit(top_up.organization_id)
    _check_most(top_up, credit, amount_nano)
    tax_nano = minor_to_nano(tax_with(paid_of(top_up), amount_nano // NANO_PER_MINOR))
    refund = _take(
        Refund(
            organization_id=top_up.organization_id,
            top_up=top_up,
            amount_nano=amount_nano,
            tax_nano=tax_nano,
            reason=reason,
            fact_key=fact_key,
            requested_by=requested_by,
            needs_second=requested_by is not None and needs_second_operator(amount_nano + tax_nano),
        ),
        credit,
    )
    audit_refund(refund, "requested", requested_by, ip)
    transaction.on_commit(_wake_worker, robust=True)
    return refund


@transaction.atomic
def approve_refund(*, refund: Refund, approved_by: User, ip: str | None = None) -> Refund:
    """Another operator lets a large one go to Stripe; once. Raises SecondOperatorNeeded, RefundEnded."""
    [refund] = lock_rows(Refund.across_all_organizations.all(), [refund.pk])
    if refund.state != RefundState.REQUESTED:
        raise RefundEnded(_("This refund has ended already."))
    if not refund.waits_for_approval:
        return refund
    if refund.requested_by_id == approved_by.pk:
        raise SecondOperatorNeeded(_("Another operator approves it: it is over the limit."))
    refund.approved_by = approved_by
    refund.save(update_fields=["approved_by"])
    audit_refund(refund, "approved", approved_by, ip)
    transaction.on_commit(_wake_worker, robust=True)
    return refund


def refunds_under_way() -> QuerySet[Refund]:
    """What is to be sent, and what Stripe has not finished; the longest untouched first."""
    rows = Refund.across_all_organizations.filter(state=RefundState.REQUESTED, top_up__isnull=False)
    ready = rows.exclude(needs_second=True, approved_by=None)
    return ready.order_by(F("tried_at").asc(nulls_first=True), "pk")


@transaction.atomic
def claim_refund(refund_id: int) -> Refund | None:
    """Note that Stripe is asked for it from now on: nobody here calls it off any more.

    None where there is nothing to ask. The row as it was returned says by `tried_at` whether it was tried
    before.
    """
    [refund] = lock_rows(Refund.across_all_organizations.all(), [refund_id])
    if refund.state != RefundState.REQUESTED or refund.waits_for_approval or refund.top_up_id is None:
        return None
    now = timezone.now()
    Refund.across_all_organizations.filter(pk=refund.pk).update(sent_at=refund.sent_at or now, tried_at=now)
    return refund


@transaction.atomic
def refund_was_refused(refund_id: int, code: str) -> Refund:
    """Stripe will never make it: the credit comes back. Not where Stripe made it after all."""
    organization_id = Refund.across_all_organizations.values_list("organization_id", flat=True).get(
        pk=refund_id
    )
    [wallet] = lock_rows(Wallet.objects.all(), [organization_id])
    [refund] = lock_rows(Refund.across_all_organizations.all(), [refund_id])
    if refund.state == RefundState.REQUESTED and refund.stripe_id is None:
        _fail(wallet, refund, code)
    return refund


@transaction.atomic
def book_refund(facts: RefundFacts) -> Refund | None:
    """Post what is missing of this refund, however often and in whichever order Stripe tells of it.

    None where no paid top-up has this payment. A refund nobody here asked for takes the credit that is left;
    the rest is owed. Raises FactsContradict, RowsBusy.
    """
    top_up = TopUp.across_all_organizations.filter(
        payment_intent_id=facts.payment_intent_id, state=TopUpState.PAID
    ).first()
    if top_up is None:
        return None
    _check_facts(facts)
    top_up = _lock(top_up)
    refund = _ours(top_up, facts) or _adopt(top_up, facts)
    [refund] = lock_rows(Refund.across_all_organizations.all(), [refund.pk])
    if refund.amount_nano + refund.tax_nano != minor_to_nano(facts.amount):
        raise FactsContradict(f"{facts.stripe_id} is of another amount than the refund {refund.pk}")
    refund.stripe_id = facts.stripe_id
    refund.stripe_status = facts.status[:20]
    refund.tried_at = timezone.now()
    _follow(refund, facts)
    return refund


def is_finished(refund: Refund, facts: RefundFacts) -> bool:
    """Whether all that Stripe says is booked; else a later look finds the money that has moved by then."""
    wanted = {"succeeded": RefundState.SUCCEEDED, **dict.fromkeys(FAILED, RefundState.FAILED)}
    return facts.status not in wanted or refund.state == wanted[facts.status]


def _lock(top_up: TopUp) -> TopUp:
    lock_rows(Wallet.objects.all(), [top_up.organization_id])
    [locked] = lock_rows(TopUp.across_all_organizations.all(), [top_up.pk])
    return locked


def _most(top_up: TopUp, credit: LockedCredit) -> int:
    if top_up.state != TopUpState.PAID or top_up.payment_intent_id is None or is_disputed(top_up):
        return 0
    return min(max(0, _left_nano(top_up, credit)) // NANO_PER_MINOR, paid_of(top_up).credit_left)


def _left_nano(top_up: TopUp, credit: LockedCredit) -> int:
    if top_up.is_held:
        return held_left(top_up)
    return refundable(credit, top_up.lot) if top_up.lot is not None else 0


def _check_most(top_up: TopUp, credit: LockedCredit, amount_nano: int) -> None:
    if is_disputed(top_up):
        raise RefundRefused(_("The payment is disputed: the bank decides who gets the money."))
    most = minor_to_nano(_most(top_up, credit))
    if amount_nano > most:
        text = _("Of this top-up %(most)s can be refunded now.") % {"most": money_exact(most)}
        raise RefundTooLarge(text, param="amount")


def _take(refund: Refund, credit: LockedCredit) -> Refund:
    """Credit out of the lot, or out of what is held; `owed_nano` could not be had any more."""
    top_up = refund.top_up
    refund.from_held = top_up is not None and top_up.is_held
    refund.lot = top_up.lot if top_up is not None and not refund.from_held else None
    refund.save()
    takes = {}
    taken = refund.amount_nano - refund.owed_nano
    if refund.lot_id is not None and taken:
        takes[refund.lot_id] = taken
    take_out(credit, takes, posting=start_of(refund), owed_nano=refund.owed_nano)
    return refund


def _check_facts(facts: RefundFacts) -> None:
    moved = facts.paid.amount if facts.paid else -facts.amount
    back = facts.returned.amount if facts.returned else facts.amount
    is_whole = (-moved, back) == (facts.amount, facts.amount) and facts.amount > 0
    currencies = {facts.currency.upper(), *(line.currency for line in (facts.paid, facts.returned) if line)}
    if currencies != {CURRENCY} or not is_whole:
        raise FactsContradict(f"{facts.stripe_id} moved something else than it says")


def _ours(top_up: TopUp, facts: RefundFacts) -> Refund | None:
    """By Stripe's id, or the row that asked for it. One that Stripe had refused was not this one."""
    refunds = Refund.across_all_organizations.filter(top_up=top_up)
    found: Refund | None = refunds.filter(stripe_id=facts.stripe_id).first()
    if found is None and facts.our_id is not None:
        asked = refunds.filter(pk=facts.our_id, stripe_id=None, state=RefundState.REQUESTED)
        found = asked.filter(sent_at__isnull=False).first()
    return found


def _adopt(top_up: TopUp, facts: RefundFacts) -> Refund:
    credit = lock_credit(top_up.organization_id)
    amount, tax = (minor_to_nano(part) for part in split(paid_of(top_up), facts.amount))
    taken = min(amount, max(0, _unspent(top_up, credit)))
    refund = _take(
        Refund(
            organization_id=top_up.organization_id,
            top_up=top_up,
            amount_nano=amount,
            tax_nano=tax,
            owed_nano=amount - taken,
            reason=DASHBOARD_REASON,
            fact_key=f"stripe:{facts.stripe_id}",
            stripe_id=facts.stripe_id,
            sent_at=timezone.now(),
        ),
        credit,
    )
    audit_refund(refund, "adopted", None, None)
    if refund.owed_nano:
        raise_alert(
            kind="refund_of_spent_credit",
            subject=facts.stripe_id,
            message=f"A refund made in Stripe's dashboard left the customer owing "
            f"{money_exact(refund.owed_nano)}.",
        )
    return refund


def _unspent(top_up: TopUp, credit: LockedCredit) -> int:
    """Whatever is there, even if it is needed for a debt: the money is gone already."""
    if top_up.is_held:
        return held_left(top_up)
    return credit.unspent(top_up.lot_id) if top_up.lot_id is not None else 0


def _follow(refund: Refund, facts: RefundFacts) -> None:
    """From where the row is to where Stripe is. Money is booked when it has moved, not when promised."""
    if facts.paid is not None and refund.paid_at is None and refund.state == RefundState.REQUESTED:
        pay_out(refund, Account.STRIPE_CLEARING, facts.paid.happened_at)
        book_line(facts.paid, f"refund:{refund.pk}:succeeded")
    is_back = refund.paid_at is None or facts.returned is not None
    if facts.status in FAILED and refund.state != RefundState.FAILED and is_back:
        [wallet] = lock_rows(Wallet.objects.all(), [refund.organization_id])
        _fail(wallet, refund, facts.failure_reason or facts.status)
        if facts.returned is not None:
            book_line(facts.returned, f"refund:{refund.pk}:failed")
    elif facts.status == "succeeded" and refund.state == RefundState.REQUESTED and refund.paid_at:
        end_refund(refund, RefundState.SUCCEEDED)
        audit_refund(refund, "succeeded", None, None)
    else:
        refund.save(update_fields=["stripe_id", "stripe_status", "tried_at", "paid_at"])


def _fail(wallet: Wallet, refund: Refund, why: str) -> None:
    take_in_again(wallet, refund)
    refund.failure_reason = why[:100]
    end_refund(refund, RefundState.FAILED)
    audit_refund(refund, "failed", None, None)
    raise_alert(
        kind="refund_failed",
        subject=f"refund {refund.pk}",
        message=f"Stripe did not refund {money_exact(refund.amount_nano + refund.tax_nano)}: {why}. "
        "The credit is back.",
        severity=AlertSeverity.WARNING,
    )


def _wake_worker() -> None:
    """A message that is lost only means that the sweep sends it, within a minute."""
    current_app.send_task(SENDING_TASK, expires=60, retry=False)
