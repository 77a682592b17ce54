"""Which credit is spent first. Pure: amounts in nano-units."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(slots=True)
class SpendableLot:
    """What spending needs to know of a lot; `remaining` goes down as it is spent."""

    lot_id: int
    kind: str
    remaining: int
    priority: int
    expires_at: datetime | None


def in_spending_order(lots: Iterable[SpendableLot]) -> list[SpendableLot]:
    """Priority, then what expires first, promotional before paid, the oldest first."""
    return sorted(
        lots,
        key=lambda lot: (lot.priority, lot.expires_at or NEVER, lot.kind == "paid", lot.lot_id),
    )


def take_in_order(lots: Sequence[SpendableLot], amount: int) -> tuple[list[tuple[SpendableLot, int]], int]:
    """What each lot gives towards `amount`, the first of the sequence first; and what they lack."""
    takes = []
    for lot in lots:
        taken = min(lot.remaining, amount)
        if taken:
            lot.remaining -= taken
            amount -= taken
            takes.append((lot, taken))
    return takes, amount
