"""Credit on its way back into the lots it came from: failed refunds, corrections, reversals."""

from collections import defaultdict
from collections.abc import Mapping
from uuid import UUID

from django.db import connection

from billing.ledger import Posting, post
from billing.lots import CHANGE_LOTS, change_lots, receive
from billing.models import Lot, LotEntry, LotKind, Wallet, WalletStatus
from common.broadcast import announce_on_commit
from common.locking import lock_rows


def lock_lots_named(lot_ids: list[int]) -> dict[int, Lot]:
    """These lots, empty ones too; after the wallet's lock."""
    return {lot.pk: lot for lot in lock_rows(Lot.across_all_organizations.all(), lot_ids)}


def give_back(
    wallet: Wallet, by_lot: Mapping[int, int], *, posting: Posting, clears: int = 0, surplus: int = 0
) -> UUID | None:
    """Post it and move wallet and lots, all of them locked; None where the fact was known.

    `clears` is what pays the wallet's debt instead. `surplus` came out of no lot and opens a paid one.
    """
    posted = post(posting)
    if not posted.is_new:
        return None
    change_lots(posted.transaction_id, by_lot)
    if surplus:
        open_paid_lot(wallet.pk, posted.transaction_id, surplus)
    receive(wallet, sum(by_lot.values()) + surplus + clears, clears)
    return posted.transaction_id


def move_lots(moves: Mapping[UUID, Mapping[int, int]]) -> None:
    """What several postings do to lots that are locked, at once: in between a lot could hold too much."""
    sums: dict[int, int] = defaultdict(int)
    entries = []
    for transaction_id, changes in moves.items():
        for lot_id, change in changes.items():
            sums[lot_id] += change
            if change:
                entries.append(LotEntry(lot_id=lot_id, transaction_id=transaction_id, amount=change))
    LotEntry.objects.bulk_create(entries)
    with connection.cursor() as cursor:
        cursor.execute(CHANGE_LOTS, [list(sums), list(sums.values())])


def change_wallet(wallet: Wallet, *, posted: int, owed: int) -> None:
    """Of a wallet that is locked. Who owes is blocked; who owes no more is not."""
    wallet.posted += posted
    wallet.receivable += owed
    if wallet.status != WalletStatus.FROZEN:
        wallet.status = WalletStatus.BLOCKED if wallet.receivable else WalletStatus.ACTIVE
    wallet.save(update_fields=["posted", "receivable", "status"])
    announce_on_commit("wallet", str(wallet.pk))


def open_paid_lot(organization_id: int, transaction_id: UUID, amount_nano: int) -> None:
    """For credit that no lot had: the posting is its origin."""
    lot = Lot.across_all_organizations.create(
        organization_id=organization_id,
        kind=LotKind.PAID,
        origin_id=transaction_id,
        original=amount_nano,
        remaining=amount_nano,
    )
    LotEntry.objects.create(lot=lot, transaction_id=transaction_id, amount=amount_nano)
