"""Credit that comes in and goes out of a wallet outside of usage: wallet, lots and ledger in one transaction.

What must stay true: posted is what the lots hold, less the charges that are settled but not yet
aggregated. So whoever takes credit out reckons those in, as aggregation will: in spending order.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection, transaction

from accounts.models import User
from billing.ledger import Account, Entry, FactContradicts, Posting, post
from billing.ledger.templates import credit_in
from billing.models import LedgerTransaction, Lot, LotEntry, LotKind, PostingKind, Wallet, WalletStatus
from billing.spending import SpendableLot, in_spending_order, take_in_order
from common.broadcast import announce_on_commit
from common.errors import AppError
from common.locking import LOCK_TIMEOUT_MS, bounded_waits, lock_rows
from common.money import MOST_NANO

DEFAULT_PRIORITY = 100

NOT_AGGREGATED = """
SELECT coalesce(sum(u.charge_nano), 0)
FROM billing_settlementbatch b JOIN billing_usagerecord u ON u.batch_id = b.id
WHERE b.aggregated_at IS NULL AND u.organization_id = %s
"""

CHANGE_LOTS = """
UPDATE billing_lot l SET remaining = l.remaining + c.change
FROM unnest(%s::bigint[], %s::bigint[]) AS c (lot_id, change) WHERE l.id = c.lot_id
"""


class CreditTooLarge(AppError):
    """The wallet would hold more than can be counted. Nothing was changed."""

    code = "credit_too_large"


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """Credit on its way in. `source` is the account that pays for it; `tax` came with it and is no credit."""

    organization_id: int
    kind: LotKind
    amount_nano: int
    fact_key: str
    posting_kind: PostingKind
    source: Account
    source_owner: str
    tax_nano: int = 0
    expires_at: datetime | None = None
    priority: int = DEFAULT_PRIORITY
    reason: str = ""
    actor: User | None = None
    effective_at: datetime | None = None


@transaction.atomic
def bring_in(arrival: Arrival) -> Lot | None:
    """Put credit into a wallet, once per fact; it pays what the wallet owes before it can be spent.

    Returns the lot, also when the fact was known; None where the debt took all of it. Raises CreditTooLarge,
    FactContradicts.
    """
    [wallet] = lock_rows(Wallet.objects.all(), [arrival.organization_id])
    known = LedgerTransaction.objects.filter(fact_key=arrival.fact_key).first()
    if known is not None:
        _check_same(known, arrival)
        return Lot.across_all_organizations.filter(origin=known).first()
    if wallet.posted + arrival.amount_nano > MOST_NANO:
        raise CreditTooLarge("no wallet can hold that much")
    clears = min(arrival.amount_nano, wallet.receivable)
    posted = post(_posting(arrival, clears))
    if not posted.is_new:
        return None
    receive(wallet, arrival.amount_nano, clears)
    if arrival.amount_nano == clears:
        return None
    return _open_lot(arrival, posted.transaction_id, arrival.amount_nano - clears)


def _check_same(known: LedgerTransaction, arrival: Arrival) -> None:
    """What came in says whether it is the same fact; how much of it paid a debt depends on when it came."""
    source = {"account__code": arrival.source, "account__owner": arrival.source_owner}
    if not known.entries.filter(**source, amount=arrival.amount_nano + arrival.tax_nano).exists():
        raise FactContradicts(f"{arrival.fact_key} was posted with another amount")


def receive(wallet: Wallet, amount_nano: int, clears: int) -> None:
    """Into a wallet that is locked: `clears` of the amount pays the debt, the rest is credit."""
    wallet.posted += amount_nano - clears
    wallet.receivable -= clears
    if wallet.receivable == 0 and wallet.status == WalletStatus.BLOCKED:
        wallet.status = WalletStatus.ACTIVE
    wallet.save(update_fields=["posted", "receivable", "status"])
    announce_on_commit("wallet", str(wallet.pk))


@dataclass(frozen=True)
class LockedCredit:
    """A wallet and its lots in spending order, locked, less what settled charges will still take of them."""

    wallet: Wallet
    lots: Sequence[SpendableLot]

    def unspent(self, lot_id: int) -> int:
        """What can be taken out of this lot now: nobody has spent it, and no lease holds it."""
        return min(
            next((lot.remaining for lot in self.lots if lot.lot_id == lot_id), 0), self.wallet.available
        )


def lock_credit(organization_id: int) -> LockedCredit:
    """Call it inside a transaction. No charge can be settled or aggregated before that ends.

    Raises RowsBusy.
    """
    with bounded_waits(LOCK_TIMEOUT_MS):
        [wallet] = lock_rows(Wallet.objects.all(), [organization_id])
        lots = in_spending_order(lock_lots([organization_id])[organization_id])
    with connection.cursor() as cursor:
        cursor.execute(NOT_AGGREGATED, [organization_id])
        [(charged,)] = cursor.fetchall()
    take_in_order(lots, int(charged))
    return LockedCredit(wallet, lots)


def lock_lots(organization_ids: Sequence[int]) -> dict[int, list[SpendableLot]]:
    """Every lot that holds something, by organization."""
    rows = (
        Lot.across_all_organizations.select_for_update()
        .filter(organization_id__in=organization_ids, remaining__gt=0)
        .order_by("pk")
        .values_list("organization_id", "pk", "kind", "remaining", "priority", "expires_at")
    )
    lots: dict[int, list[SpendableLot]] = defaultdict(list)
    for organization_id, lot_id, kind, remaining, priority, expires_at in rows:
        lots[organization_id].append(SpendableLot(lot_id, kind, remaining, priority, expires_at))
    return lots


def change_lots(transaction_id: UUID, changes: Mapping[int, int]) -> None:
    """What a posting does to lots that are locked: positive comes in, negative goes out."""
    moved = {lot_id: change for lot_id, change in sorted(changes.items()) if change}
    LotEntry.objects.bulk_create(
        LotEntry(lot_id=lot_id, transaction_id=transaction_id, amount=change)
        for lot_id, change in moved.items()
    )
    with connection.cursor() as cursor:
        cursor.execute(CHANGE_LOTS, [list(moved), list(moved.values())])


def take_out(
    credit: LockedCredit, takes: Mapping[int, int], *, posting: Posting, owed_nano: int = 0
) -> UUID | None:
    """Take credit out of lots and wallet for the fact of `posting`; None where the fact was known.

    `owed_nano` is what could not be taken any more; the wallet owes it from now on.
    """
    posted = post(posting)
    if not posted.is_new:
        return None
    change_lots(posted.transaction_id, {lot_id: -amount for lot_id, amount in takes.items()})
    wallet = credit.wallet
    wallet.posted -= sum(takes.values())
    wallet.receivable += owed_nano
    if owed_nano and wallet.status == WalletStatus.ACTIVE:
        wallet.status = WalletStatus.BLOCKED
    wallet.save(update_fields=["posted", "receivable", "status"])
    announce_on_commit("wallet", str(wallet.pk))
    return posted.transaction_id


def _posting(arrival: Arrival, clears: int) -> Posting:
    entries: list[Entry] = credit_in(
        organization_id=arrival.organization_id,
        kind=arrival.kind,
        amount=arrival.amount_nano,
        clears=clears,
        source=arrival.source,
        source_owner=arrival.source_owner,
        tax=arrival.tax_nano,
    )
    return Posting(
        fact_key=arrival.fact_key,
        kind=arrival.posting_kind,
        entries=entries,
        effective_at=arrival.effective_at,
        reason=arrival.reason,
        actor_id=arrival.actor.pk if arrival.actor else None,
    )


def _open_lot(arrival: Arrival, transaction_id: UUID, amount_nano: int) -> Lot:
    lot: Lot = Lot.across_all_organizations.create(
        organization_id=arrival.organization_id,
        kind=arrival.kind,
        origin_id=transaction_id,
        original=amount_nano,
        remaining=amount_nano,
        priority=arrival.priority,
        expires_at=arrival.expires_at,
    )
    LotEntry.objects.create(lot=lot, transaction_id=transaction_id, amount=amount_nano)
    return lot
