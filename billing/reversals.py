"""A posting undone by its mirror. What was spent of the credit by then becomes a debt."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Q, Sum
from django.utils.translation import gettext as _

from accounts.models import Organization, User
from accounts.services import record_audit
from billing.debts import COLLECTED
from billing.giving_back import give_back, lock_lots_named
from billing.ledger import Account, Entry, Owner, Posting
from billing.ledger.chart import credit, debit
from billing.ledger.templates import CREDIT_ACCOUNTS, EXPIRY_ACCOUNTS
from billing.lots import LockedCredit, lock_credit, take_out
from billing.models import LedgerEntry, LedgerTransaction, Lot, LotEntry, LotKind, PostingKind
from billing.operators import required_reason
from common.errors import AppError

REVERSIBLE = (PostingKind.GRANT, PostingKind.TOP_UP, PostingKind.ADJUSTMENT)
OF_CUSTOMERS = (Account.RECEIVABLE, *CREDIT_ACCOUNTS.values())


class NotReversible(AppError):
    """Only grants, top-ups and adjustments are reversed; nothing was changed."""

    code = "not_reversible"


@dataclass(frozen=True)
class Original:
    """What a posting did: `cleared` of a debt (negative: made one), `lots` in or out, and the rest of it."""

    posting: LedgerTransaction
    organization_id: int
    cleared: int
    lots: Mapping[int, int]
    counter: tuple[Entry, ...]

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
    is_ours = posting.kind in REVERSIBLE and not posting.fact_key.startswith(COLLECTED)
    if not is_ours or len(owners) != 1:
        raise NotReversible(_("Only grants, top-ups and adjustments can be reversed."))
    lots = dict(LotEntry.objects.filter(transaction=posting).values_list("lot_id", "amount"))
    return Original(
        posting=posting,
        organization_id=Owner.organization_id(owners.pop()),
        cleared=-sum(one.amount for one in of_customer if one.account.code == Account.RECEIVABLE),
        lots=lots,
        counter=tuple(
            Entry(Account(one.account.code), one.account.owner, one.amount)
            for one in entries
            if one not in of_customer
        ),
    )


def _take_again(facts: Original, held: LockedCredit, reason: str, actor: User | None) -> None:
    """Credit that came in goes out. What expired or was taken back is no debt: nobody had the use of it."""
    owner = Owner.organization(facts.organization_id)
    entries = _mirrored(facts)
    takes: dict[int, int] = {}
    owed = facts.cleared
    for lot in Lot.across_all_organizations.filter(pk__in=facts.lots):
        takes[lot.pk] = max(0, held.unspent(lot.pk))
        gone = _gone_unused(lot)
        owed += lot.original - takes[lot.pk] - sum(gone.values())
        entries.append(debit(CREDIT_ACCOUNTS[lot.kind], owner, takes[lot.pk]))
        entries += [debit(account, Owner.OPERATOR, amount) for account, amount in gone.items()]
    entries.append(debit(Account.RECEIVABLE, owner, owed))
    take_out(held, takes, posting=_posting(facts, entries, reason, actor), owed_nano=owed)


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
    """Credit that was taken comes back: off what is owed, then to its lots, then as a new one."""
    wallet, owner = held.wallet, Owner.organization(facts.organization_id)
    lots = lock_lots_named(list(facts.lots))
    clears = min(facts.amount, wallet.receivable)
    left = facts.amount - clears
    by_lot: dict[int, int] = {}
    by_kind: dict[str, int] = defaultdict(int)
    for lot_id, lot in lots.items():
        by_lot[lot_id] = min(left, -facts.lots[lot_id])
        by_kind[lot.kind] += by_lot[lot_id]
        left -= by_lot[lot_id]
    by_kind[LotKind.PAID] += left
    entries = [
        *_mirrored(facts),
        credit(Account.RECEIVABLE, owner, clears),
        *(credit(CREDIT_ACCOUNTS[kind], owner, amount) for kind, amount in by_kind.items()),
    ]
    give_back(wallet, by_lot, posting=_posting(facts, entries, reason, actor), clears=clears, surplus=left)


def _mirrored(facts: Original) -> list[Entry]:
    return [Entry(one.account, one.owner, -one.amount) for one in facts.counter]


def _posting(facts: Original, entries: list[Entry], reason: str, actor: User | None) -> Posting:
    return Posting(
        fact_key=f"reversal:{facts.posting.pk}",
        kind=PostingKind.REVERSAL,
        entries=entries,
        reason=reason,
        actor_id=actor.pk if actor else None,
        reverses=facts.posting.pk,
    )
