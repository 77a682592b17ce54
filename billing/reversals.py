"""A posting undone by its mirror, entry by entry. What was spent of the credit by then becomes a debt.

Where the credit is not there any more, or the debt is not, a second posting beside the mirror says what took
its place; lots and wallet get the sum of both.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.db.models import Q, Sum
from django.utils.translation import gettext as _

from accounts.models import Organization, User
from accounts.services import record_audit
from billing.debts import COLLECTED
from billing.giving_back import change_wallet, lock_lots_named, move_lots, open_paid_lot
from billing.ledger import Account, Entry, Owner, Posting, post
from billing.ledger.chart import credit, debit
from billing.ledger.templates import CREDIT_ACCOUNTS, EXPIRY_ACCOUNTS
from billing.lots import LockedCredit, lock_credit
from billing.models import LedgerEntry, LedgerTransaction, Lot, LotEntry, PostingKind
from billing.operators import required_reason
from common.errors import AppError

REVERSIBLE = (PostingKind.GRANT, PostingKind.TOP_UP, PostingKind.ADJUSTMENT)
# What stands there is Stripe's word, or waits for somebody's: a mirror of ours would contradict it.
AT_STRIPE = (Account.STRIPE_CLEARING, Account.HELD_CREDIT, Account.SUSPENSE)
OF_CUSTOMERS = (Account.RECEIVABLE, *CREDIT_ACCOUNTS.values())


class NotReversible(AppError):
    """Only grants, top-ups and adjustments are reversed; nothing was changed."""

    code = "not_reversible"


@dataclass(frozen=True)
class Original:
    """What a posting did: `cleared` of a debt (negative: made one), and `lots` in or out."""

    posting: LedgerTransaction
    organization_id: int
    cleared: int
    lots: Mapping[int, int]
    entries: tuple[Entry, ...]

    @property
    def amount(self) -> int:
        return abs(self.cleared + sum(self.lots.values()))

    @property
    def brought_credit(self) -> bool:
        return self.cleared + sum(self.lots.values()) > 0


@transaction.atomic
def reverse_transaction(
    *, original: LedgerTransaction, reason: str, actor: User | None = None, ip: str | None = None
) -> LedgerTransaction:
    """Undo a grant, a top-up, a voucher or an adjustment; again, it returns the first reversal.

    Raises NotReversible, ReasonMissing, RowsBusy.
    """
    reason = required_reason(reason)
    facts = read_original(original)
    credit = lock_credit(facts.organization_id)
    known = LedgerTransaction.objects.filter(reverses=original).first()
    if known is not None:
        return known
    undo = _take_again if facts.brought_credit else _return
    undo(facts, credit, reason, actor)
    reversal = LedgerTransaction.objects.get(reverses=original)
    record_audit(
        action="ledger_transaction.reversed",
        subject=original,
        actor=actor,
        organization=Organization.objects.get(pk=facts.organization_id),
        after={"reversal": str(reversal.pk), "amount_nano": facts.amount},
        reason=reason,
        ip=ip,
    )
    return reversal


def read_original(posting: LedgerTransaction) -> Original:
    """Raises NotReversible."""
    entries = LedgerEntry.objects.filter(transaction=posting).select_related("account")
    of_customer = [one for one in entries if one.account.code in OF_CUSTOMERS]
    owners = {one.account.owner for one in of_customer}
    is_made_by_us = posting.fact_key.startswith((COLLECTED, "reversal:"))
    if posting.kind not in REVERSIBLE or is_made_by_us or len(owners) != 1:
        raise NotReversible(_("Only grants, top-ups and adjustments can be reversed."))
    if any(one.account.code in AT_STRIPE for one in entries):
        raise NotReversible(_("Card payments are refunded, not reversed: the money is at Stripe."))
    lots = dict(LotEntry.objects.filter(transaction=posting).values_list("lot_id", "amount"))
    return Original(
        posting=posting,
        organization_id=Owner.organization_id(owners.pop()),
        cleared=-sum(one.amount for one in of_customer if one.account.code == Account.RECEIVABLE),
        lots=lots,
        entries=tuple(Entry(Account(one.account.code), one.account.owner, one.amount) for one in entries),
    )


def _take_again(facts: Original, held: LockedCredit, reason: str, actor: User | None) -> None:
    """Credit that came in goes out. What expired or was taken back is no debt: nobody had the use of it."""
    owner = Owner.organization(facts.organization_id)
    takes: dict[int, int] = {}
    missing: dict[int, int] = {}
    entries: list[Entry] = []
    owed = 0
    for lot in Lot.across_all_organizations.filter(pk__in=facts.lots):
        takes[lot.pk] = max(0, held.unspent(lot.pk))
        missing[lot.pk] = lot.original - takes[lot.pk]
        gone = _gone_unused(lot)
        owed += missing[lot.pk] - sum(gone.values())
        entries.append(credit(CREDIT_ACCOUNTS[lot.kind], owner, missing[lot.pk]))
        entries += [debit(account, Owner.OPERATOR, amount) for account, amount in gone.items()]
    entries.append(debit(Account.RECEIVABLE, owner, owed))
    moves: dict[UUID, dict[int, int]] = {}
    if any(missing.values()):  # first: no account of credit may be overdrawn in between
        moves[_rest(facts, entries, reason, actor)] = missing
    moves[_mirror(facts, reason, actor)] = {lot_id: -amount for lot_id, amount in facts.lots.items()}
    move_lots(moves)
    change_wallet(held.wallet, posted=-sum(takes.values()), owed=facts.cleared + owed)


def _gone_unused(lot: Lot) -> dict[Account, int]:
    """What left the lot without being used, by the account that has it."""
    entries = LotEntry.objects.filter(lot=lot).exclude(transaction=lot.origin_id)
    by_operators = Q(transaction__kind__in=[PostingKind.ADJUSTMENT, PostingKind.REVERSAL])
    sums = entries.aggregate(
        expired=Sum("amount", filter=Q(transaction__kind=PostingKind.EXPIRY), default=0),
        taken=Sum("amount", filter=by_operators & ~Q(transaction__fact_key__startswith=COLLECTED), default=0),
    )
    gone: dict[Account, int] = defaultdict(int)
    gone[EXPIRY_ACCOUNTS[lot.kind]] -= int(sums["expired"])
    gone[Account.ROUNDING] -= int(sums["taken"])
    return gone


def _return(facts: Original, held: LockedCredit, reason: str, actor: User | None) -> None:
    """Credit that was taken comes back to its lots; what was owed and is paid by now, as a lot of its own."""
    wallet, owner = held.wallet, Owner.organization(facts.organization_id)
    lock_lots_named(list(facts.lots))
    by_lot = {lot_id: -amount for lot_id, amount in facts.lots.items()}
    forgiven = min(-facts.cleared, wallet.receivable)
    paid = -facts.cleared - forgiven
    move_lots({_mirror(facts, reason, actor): by_lot})
    if paid:
        entries = [debit(Account.RECEIVABLE, owner, paid), credit(Account.PAID_CREDIT, owner, paid)]
        open_paid_lot(wallet.pk, _rest(facts, entries, reason, actor), paid)
    change_wallet(wallet, posted=sum(by_lot.values()) + paid, owed=-forgiven)


def _mirror(facts: Original, reason: str, actor: User | None) -> UUID:
    posting = Posting(
        fact_key=f"reversal:{facts.posting.pk}",
        kind=PostingKind.REVERSAL,
        entries=[Entry(one.account, one.owner, -one.amount) for one in facts.entries],
        reason=reason,
        actor_id=actor.pk if actor else None,
        reverses=facts.posting.pk,
    )
    return post(posting).transaction_id


def _rest(facts: Original, entries: list[Entry], reason: str, actor: User | None) -> UUID:
    posting = Posting(
        fact_key=f"reversal:{facts.posting.pk}:rest",
        kind=PostingKind.ADJUSTMENT,
        entries=entries,
        reason=reason,
        actor_id=actor.pk if actor else None,
    )
    return post(posting).transaction_id
