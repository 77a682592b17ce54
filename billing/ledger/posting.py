"""The one way into the ledger: a fact under its key, posted once however often it is told."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from django.db import DatabaseError, connection
from django.utils import timezone

from billing.contracts import CURRENCY
from billing.ledger.chart import Account, Entry
from billing.models import OPERATOR_BOOKS, PostingKind
from common.errors import AppError
from common.ids import uuid7

CONTRADICTS = "FB001"
FOLD_AT_ONCE = 10_000

POST = "SELECT transaction_id, is_new FROM billing_post(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"


class FactContradicts(AppError):
    """The fact was posted before, with other entries. Nothing was posted now."""

    code = "fact_contradicts"
    http_status = 409


class PostingUnbalanced(AppError):
    """Debits and credits differ: a bug in the caller, caught before the database does."""

    code = "posting_unbalanced"
    http_status = 500


@dataclass(frozen=True, slots=True)
class Posting:
    """A business fact. `fact_key` names it: whoever learns of the fact again makes the same key."""

    fact_key: str
    kind: PostingKind
    entries: Sequence[Entry]
    effective_at: datetime | None = None
    reason: str = ""
    actor_id: int | None = None
    reverses: UUID | None = None


@dataclass(frozen=True, slots=True)
class Posted:
    """`is_new` False: the fact had been posted before, and its effects must not be repeated."""

    transaction_id: UUID
    is_new: bool


def post(posting: Posting) -> Posted:
    """Call it inside the transaction that does the fact's other effects, after their locks.

    Raises FactContradicts, PostingUnbalanced, and IntegrityError where an account would be overdrawn.
    """
    sums = _summed(posting.entries)
    if sum(sums.values()) or not sums:
        raise PostingUnbalanced(f"the entries of {posting.fact_key} do not balance")
    values: list[Any] = [
        uuid7(),
        OPERATOR_BOOKS,
        posting.fact_key,
        _digest(posting, sums),
        posting.kind,
        posting.effective_at or timezone.now(),
        posting.reason,
        posting.actor_id,
        posting.reverses,
        CURRENCY,
        _as_json(sums),
    ]
    try:
        with connection.cursor() as cursor:
            cursor.execute(POST, values)
            [(transaction_id, is_new)] = cursor.fetchall()
    except DatabaseError as error:
        if getattr(error.__cause__, "sqlstate", None) == CONTRADICTS:
            raise FactContradicts(f"{posting.fact_key} was posted with other entries") from error
        raise
    return Posted(transaction_id, is_new)


def fold(*, at_once: int = FOLD_AT_ONCE) -> int:
    """Bring balances of hot accounts up to date; returns how many entries this call folded."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT billing_fold(%s)", [at_once])
        [(folded,)] = cursor.fetchall()
    return int(folded)


def _summed(entries: Sequence[Entry]) -> dict[tuple[Account, str], int]:
    """One amount an account; what comes to nothing is no entry."""
    sums: dict[tuple[Account, str], int] = defaultdict(int)
    for entry in entries:
        sums[entry.account, entry.owner] += entry.amount
    return {account: sums[account] for account in sorted(sums) if sums[account]}


def _digest(posting: Posting, sums: dict[tuple[Account, str], int]) -> bytes:
    """What the fact says. Not when: a fact that is told again is told later."""
    said = [
        posting.kind,
        CURRENCY,
        posting.reverses,
        [[*account, amount] for account, amount in sums.items()],
    ]
    return hashlib.sha256(orjson.dumps(said)).digest()


def _as_json(sums: dict[tuple[Account, str], int]) -> str:
    rows = [
        {"code": account, "owner": owner, "hot": account.is_hot, "amount": amount}
        for (account, owner), amount in sums.items()
    ]
    return orjson.dumps(rows).decode()
