"""Double entry, and the lots behind customers' credit. A debit is positive, a credit negative."""

from django.utils.translation import gettext_noop as _

from billing.books.rules import Search, search

TRANSACTIONS = search(
    "postings_balance",
    _("A posting has at least two entries in the same books, and they sum to zero in each currency."),
    """
    SELECT t.id AS transaction, t.fact_key, e.currency, e.entries, e.amount AS sum_nano
    FROM billing_ledgertransaction t
    FULL JOIN (SELECT e.transaction_id, a.currency, count(*) AS entries, billing_sum(e.amount) AS amount,
            min(a.scope) AS first_scope, max(a.scope) AS last_scope
        FROM billing_ledgerentry e JOIN billing_ledgeraccount a ON a.id = e.account_id GROUP BY 1, 2) e
        ON e.transaction_id = t.id
    WHERE t.id IS NULL OR e.entries IS NULL OR e.entries < 2 OR e.amount <> 0
        OR e.first_scope <> t.scope OR e.last_scope <> t.scope
    """,
)

FACTS = search(
    "facts",
    _("No business fact was posted twice."),
    """
    SELECT scope, fact_key, count(*) AS postings FROM billing_ledgertransaction
    GROUP BY 1, 2 HAVING count(*) > 1
    """,
)

REVERSALS = search(
    "reversals",
    _("A reversal undoes another posting entry by entry, and none is reversed twice."),
    """
    SELECT t.fact_key, t.reverses_id AS reverses, x.account_id AS account, x.sum AS difference_nano
    FROM billing_ledgertransaction t
    CROSS JOIN LATERAL (
        SELECT account_id, sum(amount) FROM billing_ledgerentry
        WHERE transaction_id IN (t.id, t.reverses_id) GROUP BY 1 HAVING sum(amount) <> 0) x
    WHERE t.kind = 'reversal'
    UNION ALL
    SELECT min(fact_key), reverses_id, NULL, count(*) FROM billing_ledgertransaction
    WHERE reverses_id IS NOT NULL GROUP BY 2 HAVING count(*) > 1
    """,
)

ACCOUNTS = search(
    "accounts",
    _("An account's balance and what waits to be folded into it are the sum of its entries."),
    """
    SELECT a.code, a.owner, a.balance AS balance_nano, coalesce(f.amount, 0) AS waiting_nano,
        coalesce(e.amount, 0) AS entries_nano, coalesce(f.wrong, 0) AS wrong_waiting
    FROM billing_ledgeraccount a
    LEFT JOIN (SELECT account_id, billing_sum(amount) AS amount FROM billing_ledgerentry GROUP BY 1) e
        ON e.account_id = a.id
    LEFT JOIN (SELECT f.account_id, sum(f.amount) AS amount, count(*) FILTER (WHERE e.id IS NULL) AS wrong
        FROM billing_ledgerunfolded f
        LEFT JOIN billing_ledgerentry e
            ON (e.id, e.account_id, e.amount) = (f.entry_id, f.account_id, f.amount)
        GROUP BY 1) f ON f.account_id = a.id
    WHERE a.balance + coalesce(f.amount, 0) <> coalesce(e.amount, 0) OR f.wrong > 0
        OR (NOT a.is_hot AND f.account_id IS NOT NULL)
    """,
)

CREDIT = search(
    "credit",
    _("What the ledger owes a customer, paid and promotional, is what the lots of that kind hold."),
    """
    SELECT owner, kind, -sum(ledger) AS ledger_nano, sum(lots) AS lots_nano
    FROM (
        SELECT a.owner, CASE a.code WHEN '2010' THEN 'paid' ELSE 'promotional' END AS kind,
            e.amount AS ledger, 0 AS lots
        FROM billing_ledgeraccount a
        JOIN (SELECT account_id, billing_sum(amount) AS amount FROM billing_ledgerentry GROUP BY 1) e
            ON e.account_id = a.id
        WHERE a.code IN ('2010', '2020')
        UNION ALL
        SELECT 'organization:' || organization_id, kind, 0, remaining FROM billing_lot
    ) both_sides
    GROUP BY 1, 2 HAVING sum(ledger) + sum(lots) <> 0
    """,
)

LOTS = search(
    "lots",
    _("A lot holds the sum of its entries; the first is all of it, and came with the posting it is from."),
    """
    SELECT l.id AS lot, l.organization_id, l.original AS original_nano, l.remaining AS remaining_nano,
        coalesce(e.amount, 0) AS entries_nano, o.amount AS first_nano
    FROM billing_lot l
    LEFT JOIN (SELECT lot_id, billing_sum(amount) AS amount FROM billing_lotentry GROUP BY 1) e
        ON e.lot_id = l.id
    LEFT JOIN billing_lotentry o ON o.lot_id = l.id AND o.transaction_id = l.origin_id
    WHERE l.remaining <> coalesce(e.amount, 0) OR l.original IS DISTINCT FROM o.amount
        OR l.remaining < 0 OR l.remaining > l.original
    """,
)

# A payment's own posting names it, so does what went back of it; a claim is what settled it.
SUSPENSE = search(
    "suspense",
    _("Nothing stands in suspense but payments that operators have still to place."),
    """
    SELECT x.payment, p.settled_at AS settled, sum(x.amount) AS suspense_nano
    FROM (
        SELECT e.amount, CASE WHEN t.fact_key LIKE 'pi:%' OR t.fact_key LIKE 'unmatched:%'
            THEN split_part(t.fact_key, ':', 2) ELSE coalesce(u.payment_intent_id, a.owner) END AS payment
        FROM billing_ledgeraccount a JOIN billing_ledgerentry e ON e.account_id = a.id
        LEFT JOIN billing_ledgertransaction t ON t.id = e.transaction_id
        LEFT JOIN billing_unmatchedpayment u ON u.settled_by_id = t.id
        WHERE a.code = '2900'
    ) x
    LEFT JOIN billing_unmatchedpayment p ON p.payment_intent_id = x.payment
    GROUP BY 1, 2, p.id
    HAVING (sum(x.amount) <> 0 AND (p.id IS NULL OR p.settled_at IS NOT NULL)) OR sum(x.amount) > 0
        OR (sum(x.amount) = 0 AND p.id IS NOT NULL AND p.settled_at IS NULL)
    """,
)

CORRECTIONS = search(
    "corrections",
    _("What was given back of a charge was posted as that, and is never more than the request had cost."),
    """
    SELECT c.id AS correction, c.request_id AS request, c.amount_nano AS given_back_nano,
        t.kind AS posted_as, e.amount AS revenue_nano, u.price_nano
    FROM billing_usagecorrection c
    LEFT JOIN billing_ledgertransaction t ON t.id = c.transaction_id
    LEFT JOIN LATERAL (SELECT sum(e.amount) AS amount
        FROM billing_ledgerentry e JOIN billing_ledgeraccount a ON a.id = e.account_id
        WHERE e.transaction_id = c.transaction_id AND a.code IN ('4010', '4020')) e ON true
    LEFT JOIN LATERAL (SELECT u.charge_nano + u.uncollected_nano AS price_nano
        FROM billing_usagerecord u WHERE u.request_id = c.request_id) u ON true
    WHERE t.kind IS DISTINCT FROM 'correction' OR e.amount IS DISTINCT FROM c.amount_nano
        OR (SELECT sum(s.amount_nano) FROM billing_usagecorrection s WHERE s.request_id = c.request_id)
            > u.price_nano
    """,
)

SEARCHES: tuple[Search, ...] = (
    TRANSACTIONS,
    FACTS,
    REVERSALS,
    ACCOUNTS,
    CREDIT,
    LOTS,
    SUSPENSE,
    CORRECTIONS,
)
