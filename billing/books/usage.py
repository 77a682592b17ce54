"""Usage records against what was posted for them. What was detached counts with the sums kept of it.

Records, ledger entries and lot entries are many millions. Each is read once and summed up by posting, with a
mark (`billing_mark`) of how a sum is spread over customers. Where marks differ, and only there, the rows are
compared customer by customer.
"""

from django.utils.translation import gettext_noop as _

from billing.books.rules import PRIME, Rule, Search, search

# Postings of which records were detached: those cannot be had by customer any more, only as a whole.
PARTLY_ARCHIVED = """
SELECT DISTINCT b.posting_id
FROM billing_archivedbatch x JOIN billing_settlementbatch b ON b.id = x.batch_id
"""

SUM_UP_RECORDS = """
CREATE TEMP TABLE books_usage ON COMMIT DROP AS
SELECT b.posting_id AS transaction_id, u.reseller_id, u.channel, count(*) AS requests,
    billing_sum(u.charge_nano) AS charge, billing_sum(u.uncollected_nano) AS uncollected,
    billing_sum(u.cost_nano) AS cost,
    billing_sum(billing_mark(u.charge_nano, u.organization_id)) AS charge_mark,
    billing_sum(billing_mark(u.uncollected_nano, u.organization_id)) AS uncollected_mark
FROM billing_usagerecord u LEFT JOIN billing_settlementbatch b ON b.id = u.batch_id
GROUP BY 1, 2, 3
"""

SUM_UP_ENTRIES = """
CREATE TEMP TABLE books_entries ON COMMIT DROP AS
SELECT e.transaction_id, billing_sum(e.amount) FILTER (WHERE a.is_taken) AS taken,
    billing_sum(e.amount) FILTER (WHERE a.is_owed) AS owed,
    -billing_sum(e.amount) FILTER (WHERE a.is_revenue) AS revenue,
    billing_sum(e.amount) FILTER (WHERE a.is_cost) AS vendor_cost,
    -billing_sum(e.amount) FILTER (WHERE a.is_payable) AS vendor_payable,
    billing_sum(e.amount) FILTER (WHERE a.is_commission) AS commission_left,
    billing_sum(billing_mark(e.amount, a.organization_id)) FILTER (WHERE a.is_taken) AS taken_mark,
    billing_sum(billing_mark(e.amount, a.organization_id)) FILTER (WHERE a.is_owed) AS owed_mark,
    billing_sum(billing_mark(e.amount, a.organization_id)) FILTER (WHERE a.is_paid) AS paid_mark,
    billing_sum(billing_mark(e.amount, a.organization_id)) FILTER (WHERE a.is_promotional) AS promotional_mark
FROM billing_ledgerentry e
JOIN (
    SELECT id,
        CASE WHEN owner LIKE 'organization:%' THEN substr(owner, 14)::bigint ELSE 0 END AS organization_id,
        code IN ('2010', '2020', '2900') AS is_taken, code = '1100' AS is_owed,
        code IN ('4010', '4020') AS is_revenue, code = '5010' AS is_cost, code = '2100' AS is_payable,
        code IN ('2050', '5020') AS is_commission, code = '2010' AS is_paid, code = '2020' AS is_promotional
    FROM billing_ledgeraccount OFFSET 0
) a ON a.id = e.account_id
GROUP BY 1
"""

# What left a lot counts as the account does: positive.
SUM_UP_LOTS = """
CREATE TEMP TABLE books_lots ON COMMIT DROP AS
SELECT e.transaction_id,
    -billing_sum(billing_mark(e.amount, l.organization_id)) FILTER (WHERE l.kind = 'paid') AS paid_mark,
    -billing_sum(billing_mark(e.amount, l.organization_id)) FILTER (WHERE l.kind <> 'paid')
        AS promotional_mark
FROM billing_lotentry e JOIN billing_lot l ON l.id = e.lot_id
GROUP BY 1
"""

FIND_SUSPECTS = f"""
CREATE TEMP TABLE books_suspects ON COMMIT DROP AS
SELECT transaction_id FROM (
    SELECT u.transaction_id, u.charge_mark AS charge, u.uncollected_mark AS uncollected, 0::bigint AS paid,
        0::bigint AS promotional
    FROM books_usage u LEFT JOIN ({PARTLY_ARCHIVED}) x ON x.posting_id = u.transaction_id
    WHERE u.transaction_id IS NOT NULL AND x.posting_id IS NULL
    UNION ALL
    SELECT e.transaction_id,
        CASE WHEN t.kind = 'usage' AND x.posting_id IS NULL THEN -e.taken_mark ELSE 0 END,
        CASE WHEN t.kind = 'usage' AND x.posting_id IS NULL THEN -e.owed_mark ELSE 0 END,
        e.paid_mark, e.promotional_mark
    FROM books_entries e JOIN billing_ledgertransaction t ON t.id = e.transaction_id
    LEFT JOIN ({PARTLY_ARCHIVED}) x ON x.posting_id = e.transaction_id
    UNION ALL
    SELECT transaction_id, 0, 0, -paid_mark, -promotional_mark FROM books_lots
) marks
GROUP BY 1
HAVING mod(billing_sum(charge), {PRIME}) <> 0 OR mod(billing_sum(uncollected), {PRIME}) <> 0
    OR mod(billing_sum(paid), {PRIME}) <> 0 OR mod(billing_sum(promotional), {PRIME}) <> 0
"""  # noqa: S608 - a query of this module

STAGE = (
    "DROP TABLE IF EXISTS pg_temp.books_usage, pg_temp.books_entries, pg_temp.books_lots",
    "DROP TABLE IF EXISTS pg_temp.books_suspects",
    SUM_UP_RECORDS,
    SUM_UP_ENTRIES,
    SUM_UP_LOTS,
    FIND_SUSPECTS,
    "ANALYZE books_suspects",
)

# The only rows that are looked at are those of postings whose marks differ.
USAGE_BY_CUSTOMER = Search(
    (
        Rule(
            "usage_by_customer",
            _("A posting of usage takes from each customer what the usage records of its batches charge."),
            "is_usage AND (charge_nano <> credit_taken_nano + suspense_nano"
            " OR uncollected_nano <> owed_nano)",
        ),
        Rule(
            "lot_postings",
            _("A posting moves a customer's lots of each kind by what it moves on the customer's account."),
            "paid_lots_nano <> paid_nano OR promotional_lots_nano <> promotional_nano",
        ),
    ),
    f"""
    SELECT transaction_id AS transaction, organization_id, bool_or(is_usage) AS is_usage,
        billing_sum(charge) AS charge_nano, billing_sum(paid) + billing_sum(promotional) AS credit_taken_nano,
        billing_sum(suspense) AS suspense_nano, billing_sum(uncollected) AS uncollected_nano,
        billing_sum(owed) AS owed_nano, billing_sum(paid) AS paid_nano,
        billing_sum(paid_lots) AS paid_lots_nano, billing_sum(promotional) AS promotional_nano,
        billing_sum(promotional_lots) AS promotional_lots_nano
    FROM (
        SELECT s.transaction_id, u.organization_id, true AS is_usage, u.charge_nano AS charge,
            u.uncollected_nano AS uncollected, 0::bigint AS paid, 0::bigint AS promotional,
            0::bigint AS suspense, 0::bigint AS owed, 0::bigint AS paid_lots, 0::bigint AS promotional_lots
        FROM books_suspects s JOIN billing_settlementbatch b ON b.posting_id = s.transaction_id
        JOIN billing_usagerecord u ON u.batch_id = b.id
        LEFT JOIN ({PARTLY_ARCHIVED}) x ON x.posting_id = b.posting_id
        WHERE x.posting_id IS NULL
        UNION ALL
        SELECT s.transaction_id, a.organization_id, t.kind = 'usage' AND x.posting_id IS NULL,
            0, 0, CASE WHEN a.code = '2010' THEN e.amount ELSE 0 END,
            CASE WHEN a.code = '2020' THEN e.amount ELSE 0 END,
            CASE WHEN a.code = '2900' THEN e.amount ELSE 0 END,
            CASE WHEN a.code = '1100' THEN e.amount ELSE 0 END, 0, 0
        FROM books_suspects s JOIN billing_ledgerentry e USING (transaction_id)
        JOIN (SELECT id, code, substr(owner, 14)::bigint AS organization_id FROM billing_ledgeraccount
            WHERE code IN ('2010', '2020', '2900', '1100') AND owner LIKE 'organization:%') a
            ON a.id = e.account_id
        JOIN billing_ledgertransaction t ON t.id = e.transaction_id
        LEFT JOIN ({PARTLY_ARCHIVED}) x ON x.posting_id = t.id
        UNION ALL
        SELECT s.transaction_id, l.organization_id, false, 0, 0, 0, 0, 0, 0,
            CASE WHEN l.kind = 'paid' THEN -e.amount ELSE 0 END,
            CASE WHEN l.kind = 'paid' THEN 0 ELSE -e.amount END
        FROM books_suspects s JOIN billing_lotentry e USING (transaction_id)
        JOIN billing_lot l ON l.id = e.lot_id
    ) three_sides
    GROUP BY 1, 2
    HAVING billing_sum(paid_lots) <> billing_sum(paid)
        OR billing_sum(promotional_lots) <> billing_sum(promotional)
        OR bool_or(is_usage) AND (
            billing_sum(charge) <> billing_sum(paid) + billing_sum(promotional) + billing_sum(suspense)
            OR billing_sum(uncollected) <> billing_sum(owed))
    """,  # noqa: S608 - a query of this module
)

USAGE_POSTINGS = search(
    "usage_postings",
    _("A posting of usage is what its records say: credit taken, debts, revenue, vendor cost."),
    """
    SELECT transaction_id AS transaction, sum(charge) AS charge_nano, sum(taken) AS credit_taken_nano,
        sum(uncollected) AS uncollected_nano, sum(owed) AS owed_nano, sum(revenue) AS revenue_nano,
        sum(cost) AS cost_nano, sum(vendor_cost) AS vendor_cost_nano
    FROM (
        SELECT transaction_id, charge, uncollected, cost, 0::bigint AS taken, 0::bigint AS owed,
            0::bigint AS revenue, 0::bigint AS vendor_cost, 0::bigint AS vendor_payable,
            0::bigint AS commission_left
        FROM books_usage
        UNION ALL
        SELECT b.posting_id, x.charge_nano, x.uncollected_nano, x.cost_nano, 0, 0, 0, 0, 0, 0
        FROM billing_archivedbatch x JOIN billing_settlementbatch b ON b.id = x.batch_id
        UNION ALL
        SELECT e.transaction_id, 0, 0, 0, e.taken, e.owed, e.revenue, e.vendor_cost, e.vendor_payable,
            e.commission_left
        FROM books_entries e JOIN billing_ledgertransaction t ON t.id = e.transaction_id
        WHERE t.kind = 'usage'
    ) both_sides
    WHERE transaction_id IS NOT NULL
    GROUP BY 1
    HAVING sum(charge) <> sum(taken) OR sum(uncollected) <> sum(owed)
        OR sum(charge) + sum(uncollected) <> sum(revenue) OR sum(cost) <> sum(vendor_cost)
        OR sum(cost) <> sum(vendor_payable) OR sum(commission_left) <> 0
    """,
)

USAGE_BY_CHANNEL = search(
    "usage_by_channel",
    _("A posting of usage books to each channel what the requests it served cost."),
    f"""
    SELECT transaction_id AS transaction, channel, sum(cost) AS cost_nano, sum(booked) AS booked_nano
    FROM (
        SELECT transaction_id, channel, cost, 0::bigint AS booked
        FROM books_usage WHERE transaction_id IS NOT NULL
        UNION ALL
        SELECT e.transaction_id, substr(a.owner, 9), 0, e.amount
        FROM billing_ledgeraccount a JOIN billing_ledgerentry e ON e.account_id = a.id
        JOIN billing_ledgertransaction t ON t.id = e.transaction_id
        WHERE a.code = '5010' AND t.kind = 'usage'
    ) both_sides
    WHERE transaction_id NOT IN ({PARTLY_ARCHIVED})
    GROUP BY 1, 2 HAVING sum(cost) <> sum(booked)
    """,  # noqa: S608 - a query of this module
)

# A reseller earns what it charges above wholesale, and nothing on what was never collected; of that the share
# that was paid credit, rounded down for each customer. The house earns nothing.
EARNED = """
SELECT sold.transaction_id, sold.reseller_id,
    CASE WHEN sold.charge = 0 THEN 0
        ELSE floor(sold.margin::numeric * coalesce(paid.amount, 0) / sold.charge)::bigint END AS earned
FROM (
    SELECT b.posting_id AS transaction_id, u.reseller_id, u.organization_id,
        billing_sum(u.charge_nano) AS charge,
        billing_sum(CASE WHEN u.wholesale_version_id IS NULL THEN 0
            WHEN u.uncollected_nano > 0 THEN greatest(0, u.charge_nano - u.wholesale_nano)
            ELSE u.charge_nano - u.wholesale_nano END) AS margin
    FROM billing_usagerecord u JOIN billing_settlementbatch b ON b.id = u.batch_id
    WHERE b.posting_id IS NOT NULL
        AND u.reseller_id IN (SELECT id FROM accounts_reseller WHERE NOT is_house)
    GROUP BY 1, 2, 3
) sold
LEFT JOIN (
    SELECT e.transaction_id, o.id AS organization_id, e.amount
    FROM accounts_reseller r JOIN accounts_organization o ON o.reseller_id = r.id
    JOIN billing_ledgeraccount a ON a.owner = 'organization:' || o.id
    JOIN billing_ledgerentry e ON e.account_id = a.id
    WHERE a.code = '2010' AND NOT r.is_house
) paid ON (paid.transaction_id, paid.organization_id) = (sold.transaction_id, sold.organization_id)
"""

USAGE_BY_RESELLER = search(
    "usage_by_reseller",
    _("A posting of usage books to each reseller what its customers paid, and what it earned of that."),
    f"""
    SELECT transaction_id AS transaction, reseller_id, sum(sold) AS sold_nano, sum(revenue) AS revenue_nano,
        sum(earned) AS earned_nano, sum(booked) AS booked_nano
    FROM (
        SELECT transaction_id, reseller_id, charge + uncollected AS sold, 0::bigint AS revenue,
            0::bigint AS earned, 0::bigint AS booked
        FROM books_usage WHERE transaction_id IS NOT NULL
        UNION ALL
        SELECT transaction_id, reseller_id, 0, 0, earned, 0 FROM ({EARNED}) margins
        UNION ALL
        SELECT e.transaction_id, substr(a.owner, 10)::bigint, 0,
            CASE WHEN a.code IN ('4010', '4020') THEN -e.amount ELSE 0 END, 0,
            CASE WHEN a.code = '5020' THEN e.amount ELSE 0 END
        FROM billing_ledgeraccount a JOIN billing_ledgerentry e ON e.account_id = a.id
        JOIN billing_ledgertransaction t ON t.id = e.transaction_id
        WHERE a.code IN ('4010', '4020', '5020') AND t.kind = 'usage' AND a.owner LIKE 'reseller:%'
    ) both_sides
    WHERE transaction_id NOT IN ({PARTLY_ARCHIVED})
    GROUP BY 1, 2
    HAVING sum(sold) <> sum(revenue) OR sum(earned) <> sum(booked)
    """,  # noqa: S608 - a query of this module
)

SEARCHES: tuple[Search, ...] = (USAGE_BY_CUSTOMER, USAGE_POSTINGS, USAGE_BY_CHANNEL, USAGE_BY_RESELLER)
