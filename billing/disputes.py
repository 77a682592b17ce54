"""Payers who ask their bank for the money back. Whatever Stripe tells, in whichever order, is booked once.

Money is booked line by line as Stripe's book has it. While a dispute is open, what is left of the top-up's
credit waits on the held account. A won one gives it back and ends what it stopped; a lost one takes it, and
what was spent is owed.
"""

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts.alerts import raise_alert, resolve_alert
from accounts.models import AlertSeverity
from accounts.services import record_audit
from billing.clearing import keep_line
from billing.contracts import CURRENCY
from billing.earnings import earned_on
from billing.facts import DisputeFacts
from billing.fraud import let_spend_again, stop_spending
from billing.giving_back import change_wallet
from billing.held_credit import held_left, paid_of, return_credit
from billing.ledger import Entry, Posting, post
from billing.ledger import templates as ledger_templates
from billing.lots import lock_credit, take_out
from billing.models import (
    Dispute,
    DisputeOutcome,
    FreezeCause,
    LedgerTransaction,
    PostingKind,
    TopUp,
    TopUpState,
    Wallet,
)
from billing.payment_facts import BalanceFacts
from billing.shares import split
from common.errors import AppError
from common.locking import lock_rows
from common.money import minor_to_nano
from common.templatetags.formats import money_exact

ALERT = "dispute"
ALERT_LOST = "dispute_lost"
CLOSED = ("won", "lost", "warning_closed", "prevented")
# Without money withdrawn these end with nothing; with it, `prevented` is final as if it were lost.
LOST = ("lost", "prevented")
HARMLESS = ("warning_closed", "prevented")


class DisputeContradicts(AppError):
    """Stripe says something of the dispute that cannot be true of our payment. Nothing was booked."""

    code = "dispute_contradicts"


@transaction.atomic
def book_dispute(facts: DisputeFacts) -> Dispute | None:
    """Post what is missing, however often Stripe tells of it. None where no paid top-up has this payment.

    Raises DisputeContradicts, RowsBusy.
    """
    top_up = TopUp.across_all_organizations.filter(
        payment_intent_id=facts.payment_intent_id, state=TopUpState.PAID
    ).first()
    if top_up is None:
        return None
    currencies = {facts.currency.upper(), *(line.currency for line in facts.moves)}
    if currencies != {CURRENCY} or facts.amount <= 0:
        raise DisputeContradicts(f"{facts.dispute_id} is about other money")
    lock_rows(Wallet.objects.all(), [top_up.organization_id])
    [top_up] = lock_rows(TopUp.across_all_organizations.all(), [top_up.pk])
    dispute = _row(top_up, facts)
    before = (dispute.status, dispute.outcome, dispute.withdrawn_minor)
    was_at_stake = _is_at_stake(dispute)
    _note(dispute, facts)
    _book_money(dispute, facts)
    _decide(dispute, top_up)
    dispute.save()
    if _is_at_stake(dispute) != was_at_stake:
        _stop_or_go_on(dispute, top_up)
    if (dispute.status, dispute.outcome, dispute.withdrawn_minor) != before:
        _audit(dispute)
        _tell(dispute)
    return dispute


def open_disputes() -> QuerySet[Dispute]:
    rows = Dispute.across_all_organizations.filter(outcome=DisputeOutcome.OPEN, withdrawn_minor__gt=0)
    return rows.order_by("pk")


@transaction.atomic
def hold_what_came_back(dispute: Dispute) -> int:
    """Credit that relay processes held when the dispute came is back by now. Returns nano-units held now."""
    lock_rows(Wallet.objects.all(), [dispute.organization_id])
    [top_up] = lock_rows(TopUp.across_all_organizations.all(), [dispute.top_up_id])
    [dispute] = lock_rows(Dispute.across_all_organizations.all(), [dispute.pk])
    before = dispute.held_nano
    if dispute.outcome == DisputeOutcome.OPEN:
        _hold(dispute, top_up)
        dispute.save(update_fields=["held_nano", "from_held"])
    return dispute.held_nano - before


def _is_at_stake(dispute: Dispute) -> bool:
    """Money was withdrawn, and the bank has not decided for us."""
    is_open = dispute.outcome == DisputeOutcome.OPEN and dispute.withdrawn_at is not None
    return is_open or dispute.outcome == DisputeOutcome.LOST


def _stop_or_go_on(dispute: Dispute, top_up: TopUp) -> None:
    if _is_at_stake(dispute):
        stop_spending(
            top_up.organization,
            cause=FreezeCause.DISPUTE,
            subject=dispute.dispute_id,
            because=f"The payment {top_up.payment_intent_id} is disputed: {dispute.reason}",
            is_fraud=dispute.reason == "fraudulent",
        )
    else:
        let_spend_again(
            top_up.organization,
            cause=FreezeCause.DISPUTE,
            subject=dispute.dispute_id,
            because=f"The dispute {dispute.dispute_id} is won",
        )


def _row(top_up: TopUp, facts: DisputeFacts) -> Dispute:
    dispute, _ = Dispute.across_all_organizations.get_or_create(
        dispute_id=facts.dispute_id,
        defaults={
            "organization_id": top_up.organization_id,
            "top_up": top_up,
            "amount_minor": facts.amount,
            "opened_at": facts.opened_at,
        },
    )
    [locked] = lock_rows(Dispute.across_all_organizations.all(), [dispute.pk])
    if locked.top_up_id != top_up.pk:
        raise DisputeContradicts(f"{facts.dispute_id} was of another payment")
    return locked


def _note(dispute: Dispute, facts: DisputeFacts) -> None:
    dispute.status = facts.status
    dispute.reason = facts.reason[:60]
    dispute.amount_minor = facts.amount
    dispute.evidence_due_at = facts.evidence_due_at
    dispute.closed_at = (dispute.closed_at or timezone.now()) if facts.status in CLOSED else None


def _book_money(dispute: Dispute, facts: DisputeFacts) -> None:
    """The first line of each kind has the plain key, a later one of an appeal its number."""
    counts = {"withdrawn": 0, "reinstated": 0}
    for line in facts.moves:
        verb = "withdrawn" if line.amount < 0 else "reinstated"
        counts[verb] += line.amount != 0
        key = f"dp:{dispute.dispute_id}:{verb}{f':{counts[verb]}' if counts[verb] > 1 else ''}"
        if line.amount == 0:  # a fee for answering
            key = f"bt:{line.transaction_id}:fee"
        if (line.amount or line.fee) and _book_line(dispute, key, line):
            dispute.withdrawn_minor -= line.amount
            dispute.fee_minor += line.fee
            if line.amount:
                setattr(dispute, f"{verb}_at", line.happened_at)


def _book_line(dispute: Dispute, key: str, line: BalanceFacts) -> bool:
    """Whether it is new; the line knows its posting in any case."""
    is_new = post(_money_posting(dispute, key, line)).is_new
    keep_line(line, key)
    return is_new


def _money_posting(dispute: Dispute, key: str, line: BalanceFacts) -> Posting:
    entries = ledger_templates.dispute_money(
        dispute_owner=_owner(dispute), amount=minor_to_nano(-line.amount), fee=minor_to_nano(line.fee)
    )
    kind = PostingKind.DISPUTE if line.amount else PostingKind.FEE
    return Posting(fact_key=key, kind=kind, entries=entries, effective_at=line.happened_at)


def _decide(dispute: Dispute, top_up: TopUp) -> None:
    """From what is posted to what Stripe says; a bank may change its mind in both directions."""
    is_withdrawn = dispute.withdrawn_minor > 0
    if dispute.outcome == DisputeOutcome.LOST:
        if dispute.status == "won":
            _win_after_all(dispute, top_up)
    elif dispute.status == "won" or (dispute.status in HARMLESS and not is_withdrawn):
        _free(dispute, top_up, dispute.held_nano)
        dispute.outcome = DisputeOutcome.WON
    elif is_withdrawn:
        dispute.outcome = DisputeOutcome.OPEN
        _hold(dispute, top_up)
        if dispute.status in LOST:
            _lose(dispute, top_up)


def _hold(dispute: Dispute, top_up: TopUp) -> None:
    """As much of the disputed credit as is there and does not wait yet."""
    credit_minor, _tax = split(paid_of(top_up), dispute.withdrawn_minor)
    missing = minor_to_nano(credit_minor) - dispute.held_nano
    if missing <= 0:
        return
    if top_up.is_held:
        dispute.from_held = True
        dispute.held_nano += max(0, min(missing, held_left(top_up)))
    elif top_up.lot_id is not None:
        credit = lock_credit(top_up.organization_id)
        taken = min(missing, max(0, credit.unspent(top_up.lot_id)))
        if taken:
            entries = ledger_templates.credit_held(organization_id=top_up.organization_id, amount=taken)
            take_out(credit, {top_up.lot_id: taken}, posting=_posting(dispute, "held", entries))
            dispute.held_nano += taken


def _free(dispute: Dispute, top_up: TopUp, amount: int) -> None:
    """Held credit goes back where it was: to the lot, or to wait with its top-up."""
    dispute.held_nano -= amount
    if not amount or (dispute.from_held and top_up.is_held):
        return

    def posting(clears: int) -> Posting:
        entries = ledger_templates.held_credit_free(
            organization_id=top_up.organization_id, amount=amount, clears=clears
        )
        return _posting(dispute, "freed", entries)

    return_credit(_wallet(dispute), top_up.lot_id, amount, posting)


def _lose(dispute: Dispute, top_up: TopUp) -> None:
    """The held credit pays; what was spent is owed; tax and what the reseller earned on it go back too."""
    credit, tax = (minor_to_nano(part) for part in split(paid_of(top_up), dispute.withdrawn_minor))
    _free(dispute, top_up, max(0, dispute.held_nano - credit))
    dispute.taken_nano, dispute.held_nano = dispute.held_nano, 0
    dispute.owed_nano = credit - dispute.taken_nano
    dispute.tax_nano = tax
    dispute.margin_nano = earned_on(top_up, dispute.owed_nano)
    dispute.outcome = DisputeOutcome.LOST
    entries = ledger_templates.dispute_lost(
        organization_id=top_up.organization_id,
        reseller_id=top_up.organization.reseller_id,
        dispute_owner=_owner(dispute),
        held=dispute.taken_nano,
        owed=dispute.owed_nano,
        tax=tax,
        margin_back=dispute.margin_nano,
    )
    post(_posting(dispute, "lost", entries))
    change_wallet(_wallet(dispute), posted=0, owed=dispute.owed_nano)


def _win_after_all(dispute: Dispute, top_up: TopUp) -> None:
    """The posting that the loss made, the other way round; what the customer paid by now is credit again."""
    waits = dispute.taken_nano if dispute.from_held and top_up.is_held else 0
    amount = dispute.taken_nano + dispute.owed_nano

    def posting(clears: int) -> Posting:
        entries = ledger_templates.dispute_won_after_all(
            organization_id=top_up.organization_id,
            reseller_id=top_up.organization.reseller_id,
            dispute_owner=_owner(dispute),
            amount=amount,
            held=waits,
            clears=clears,
            tax=dispute.tax_nano,
            margin_again=dispute.margin_nano,
        )
        return _posting(dispute, "won", entries)

    if amount > waits:
        return_credit(_wallet(dispute), top_up.lot_id, amount - waits, posting)
    else:
        post(posting(0))
    dispute.taken_nano = dispute.owed_nano = dispute.tax_nano = dispute.margin_nano = 0
    dispute.outcome = DisputeOutcome.WON


def _posting(dispute: Dispute, verb: str, entries: list[Entry]) -> Posting:
    """What our own row decides, once: it is locked, and says whether it has happened."""
    key, number = f"dp:{dispute.dispute_id}:{verb}", 1
    while LedgerTransaction.objects.filter(fact_key=key).exists():
        number += 1
        key = f"dp:{dispute.dispute_id}:{verb}:{number}"
    return Posting(fact_key=key, kind=PostingKind.DISPUTE, entries=entries)


def _owner(dispute: Dispute) -> str:
    return f"dispute:{dispute.dispute_id}"


def _wallet(dispute: Dispute) -> Wallet:
    [wallet] = lock_rows(Wallet.objects.all(), [dispute.organization_id])
    return wallet


def _audit(dispute: Dispute) -> None:
    record_audit(
        action=f"dispute.{dispute.status}",
        subject=dispute,
        actor=None,
        organization=dispute.organization,
        after={
            "dispute": dispute.dispute_id,
            "outcome": dispute.outcome,
            "withdrawn_minor": dispute.withdrawn_minor,
            "fee_minor": dispute.fee_minor,
            "held_nano": dispute.held_nano,
            "taken_nano": dispute.taken_nano,
            "owed_nano": dispute.owed_nano,
        },
    )


def _tell(dispute: Dispute) -> None:
    """Operators answer a dispute within days or lose it."""
    if dispute.status in CLOSED:
        resolve_alert(kind=ALERT, subject=dispute.dispute_id)
        _tell_of_loss(dispute)
        return
    is_question = dispute.status.startswith("warning_")
    due = (
        f" Evidence is due by {dispute.evidence_due_at:%Y-%m-%d %H:%M} UTC."
        if dispute.evidence_due_at
        else ""
    )
    raise_alert(
        kind=ALERT,
        subject=dispute.dispute_id,
        message=f"{dispute.organization}: {money_exact(minor_to_nano(dispute.amount_minor))} "
        f"{'asked about' if is_question else 'disputed'} ({dispute.reason}).{due}",
        severity=AlertSeverity.WARNING if is_question else AlertSeverity.CRITICAL,
    )


def _tell_of_loss(dispute: Dispute) -> None:
    if dispute.outcome == DisputeOutcome.LOST:
        raise_alert(
            kind=ALERT_LOST,
            subject=dispute.dispute_id,
            message=f"{dispute.organization}: the dispute is lost. The customer owes "
            f"{money_exact(dispute.owed_nano)} for what was spent; forgive it or have it paid.",
        )
    else:
        resolve_alert(kind=ALERT_LOST, subject=dispute.dispute_id)
