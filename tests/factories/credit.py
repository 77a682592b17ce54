"""Credit that came in and was spent, and what must be equal after everything that moves money."""

from contextlib import closing
from typing import Any
from uuid import uuid4

from django.db import connection, transaction

from billing.aggregation import aggregate_batches
from billing.books import prices, verify_books
from billing.ledger import Account, Owner
from billing.lots import Arrival, bring_in
from billing.models import Lot, LotKind, PostingKind
from tests.factories.money import Payer, lease, make_record, settle

# The records of these tests name price versions that are not there.
OF_PRICES = {rule.name for search in prices.SEARCHES for rule in search.rules}

DIFFERENCES = """
SELECT w.organization_id, w.posted, l.remaining, l.entries, u.charged, w.receivable, a.owed, u.uncollected,
    l.paid, a.paid_booked, l.promotional, a.promotional_booked
FROM billing_wallet w
CROSS JOIN LATERAL (
    SELECT coalesce(sum(remaining), 0) AS remaining,
        coalesce(sum(remaining) FILTER (WHERE kind = 'paid'), 0) AS paid,
        coalesce(sum(remaining) FILTER (WHERE kind = 'promotional'), 0) AS promotional,
        coalesce(sum((SELECT sum(e.amount) FROM billing_lotentry e WHERE e.lot_id = t.id)), 0) AS entries
    FROM billing_lot t WHERE t.organization_id = w.organization_id) l
CROSS JOIN LATERAL (
    SELECT coalesce(sum(r.charge_nano), 0) AS charged, coalesce(sum(r.uncollected_nano), 0) AS uncollected
    FROM billing_usagerecord r JOIN billing_settlementbatch b ON b.id = r.batch_id
    WHERE b.aggregated_at IS NULL AND r.organization_id = w.organization_id) u
CROSS JOIN LATERAL (
    SELECT coalesce(sum(balance) FILTER (WHERE code = '1100'), 0) AS owed,
        coalesce(-sum(balance) FILTER (WHERE code = '2010'), 0) AS paid_booked,
        coalesce(-sum(balance) FILTER (WHERE code = '2020'), 0) AS promotional_booked
    FROM billing_ledgeraccount WHERE owner = 'organization:' || w.organization_id) a
WHERE w.posted <> l.remaining - u.charged OR l.remaining <> l.entries
   OR l.paid <> a.paid_booked OR l.promotional <> a.promotional_booked
   OR w.receivable <> a.owed + u.uncollected
"""

# Revenue is what aggregated usage cost, less what was given back of it.
REVENUE = """
SELECT (SELECT coalesce(-sum(e.amount), 0) FROM billing_ledgerentry e
        JOIN billing_ledgeraccount a ON a.id = e.account_id WHERE a.code IN ('4010', '4020'))
    - (SELECT coalesce(sum(r.charge_nano + r.uncollected_nano), 0) FROM billing_usagerecord r
        JOIN billing_settlementbatch b ON b.id = r.batch_id WHERE b.aggregated_at IS NOT NULL)
    + (SELECT coalesce(sum(amount_nano), 0) FROM billing_usagecorrection)
"""


REVERSALS = """
SELECT t.id FROM billing_ledgertransaction t CROSS JOIN LATERAL (
    SELECT 1 FROM billing_ledgerentry WHERE transaction_id IN (t.id, t.reverses_id)
    GROUP BY account_id HAVING sum(amount) <> 0) x
WHERE t.kind = 'reversal'
"""


def arrive(payer: Payer, amount: int, kind: LotKind = LotKind.PAID, **terms: Any) -> Lot:
    arrival = {
        "organization_id": payer.organization.pk,
        "kind": kind,
        "amount_nano": amount,
        "fact_key": uuid4().hex,
        "posting_kind": PostingKind.TOP_UP if kind == LotKind.PAID else PostingKind.GRANT,
        "source": Account.BANK if kind == LotKind.PAID else Account.PROMOTIONS,
        "source_owner": Owner.OPERATOR,
        **terms,
    }
    lot = bring_in(Arrival(**arrival))
    assert lot is not None
    return lot


def spend(payer: Payer, amount: int, *, aggregated: bool = True, **facts: Any) -> dict[str, Any]:
    """One request of this price, settled; what it could not pay is owed. Returns its record."""
    holder = uuid4()
    lease(payer, holder, min(amount, payer.wallet.available))
    record = make_record(payer, amount, **facts)
    settle(holder, record)
    if aggregated:
        aggregate_batches()
    return record


def remaining(*lots: Lot) -> list[int]:
    return [Lot.across_all_organizations.get(pk=lot.pk).remaining for lot in lots]


def balance(code: Account, owner: str | None = None) -> int:
    """Of an account, or of all accounts of this code; entries, so hot ones are not behind."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(e.amount), 0) FROM billing_ledgerentry e"
            " JOIN billing_ledgeraccount a ON a.id = e.account_id"
            " WHERE a.code = %s AND (%s::text IS NULL OR a.owner = %s)",
            [code, owner, owner],
        )
        return int(cursor.fetchone()[0])


def assert_money_adds_up() -> None:
    """Wallets = lots = ledger, for every customer; the deferred checks of the database pass as well."""
    with transaction.atomic(), closing(connection.cursor()) as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        cursor.execute(DIFFERENCES)
        assert cursor.fetchall() == []
        cursor.execute(REVENUE)
        assert cursor.fetchone()[0] == 0
        cursor.execute(REVERSALS)
        assert cursor.fetchall() == []
        cursor.execute("SELECT coalesce(sum(amount), 0) FROM billing_ledgerentry")
        assert cursor.fetchone()[0] == 0
    broken = {one["name"]: one["differences"] for one in verify_books()["checks"] if not one["ok"]}
    assert not {name: rows for name, rows in broken.items() if name not in OF_PRICES}
