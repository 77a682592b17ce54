"""Credit on its way back into the lots it came from: failed refunds, corrections, reversals."""

from collections.abc import Mapping
from uuid import UUID

from billing.ledger import Posting, post
from billing.lots import change_lots, receive
from billing.models import Lot, LotEntry, LotKind, Wallet
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
        _open_lot(wallet.pk, posted.transaction_id, surplus)
    receive(wallet, sum(by_lot.values()) + surplus + clears, clears)
    return posted.transaction_id


def _open_lot(organization_id: int, transaction_id: UUID, amount_nano: int) -> None:
    lot = Lot.across_all_organizations.create(
        organization_id=organization_id,
        kind=LotKind.PAID,
        origin_id=transaction_id,
        original=amount_nano,
        remaining=amount_nano,
    )
    LotEntry.objects.create(lot=lot, transaction_id=transaction_id, amount=amount_nano)
