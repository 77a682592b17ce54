"""What operators and sweeps did: refunds, adjustments, corrections, expiry."""

from django.utils.translation import gettext_noop as _

from billing.books.rules import Search, search

REFUNDS = search(
    "refunds",
    _("A refund's payable is what left the wallet for it until it is paid or given back, and nothing then."),
    """
    SELECT r.id AS refund, e.owner AS account_of, r.state, r.amount_nano + r.tax_nano AS refund_nano,
        -coalesce(e.amount, 0) AS payable_nano, coalesce(e.postings, 0) AS postings
    FROM billing_refund r
    FULL JOIN (SELECT a.owner, sum(e.amount) AS amount, count(*) AS postings
        FROM billing_ledgeraccount a JOIN billing_ledgerentry e ON e.account_id = a.id
        WHERE a.code = '2060' GROUP BY 1) e ON e.owner = 'refund:' || r.id
    WHERE r.id IS NULL
        OR -coalesce(e.amount, 0) <> CASE
            WHEN r.state = 'requested' AND r.paid_at IS NULL THEN r.amount_nano + r.tax_nano ELSE 0 END
        OR coalesce(e.postings, 0) <> CASE WHEN r.state = 'requested' AND r.paid_at IS NULL THEN 1 ELSE 2 END
    """,
)

ADJUSTMENTS = search(
    "adjustments",
    _("What operators posted has a posting of its kind and amount; over the limit another one approved."),
    """
    SELECT a.id AS adjustment, a.kind, a.state, t.kind AS posted_as, a.amount_nano + a.tax_nano AS asked_nano,
        e.amount AS posted_nano, a.requested_by_id AS requested_by, a.decided_by_id AS decided_by
    FROM billing_adjustment a
    LEFT JOIN billing_ledgertransaction t ON t.id = a.transaction_id
    LEFT JOIN LATERAL (SELECT sum(amount) AS amount FROM billing_ledgerentry
        WHERE transaction_id = t.id AND amount > 0) e ON true
    WHERE (a.state = 'posted') <> (t.id IS NOT NULL)
        OR (t.id IS NOT NULL AND t.kind <> CASE
            WHEN a.kind IN ('goodwill', 'take_back', 'write_off', 'campaign') THEN 'adjustment'
            WHEN a.kind = 'claim' THEN 'top_up'
            ELSE a.kind END)
        OR (t.kind IN ('adjustment', 'top_up') AND e.amount <> a.amount_nano + a.tax_nano)
        OR (a.state = 'posted' AND a.needs_second AND (a.requested_by_id IS NULL
            OR a.decided_by_id IS NULL OR a.requested_by_id = a.decided_by_id))
    """,
)

CORRECTED_LOTS = search(
    "corrected_lots",
    _("Corrections give back to a lot no more than the posting of the charge had taken out of it."),
    """
    SELECT c.usage_posting_id AS transaction, e.lot_id AS lot, sum(e.amount) AS returned_nano,
        -coalesce(u.amount, 0) AS taken_nano
    FROM billing_usagecorrection c
    JOIN billing_lotentry e ON e.transaction_id = c.transaction_id
    JOIN billing_lot l ON l.id = e.lot_id AND l.origin_id <> e.transaction_id
    LEFT JOIN billing_lotentry u ON u.transaction_id = c.usage_posting_id AND u.lot_id = e.lot_id
    GROUP BY 1, 2, u.amount HAVING sum(e.amount) > -coalesce(u.amount, 0)
    """,
)

CORRECTED_MARGIN = search(
    "corrected_margin",
    _("A correction takes from the reseller's earnings what it says, and no other posting of its kind does."),
    """
    SELECT t.fact_key, c.margin_nano, -coalesce(e.amount, 0) AS booked_nano
    FROM billing_ledgertransaction t
    FULL JOIN billing_usagecorrection c ON c.transaction_id = t.id
    LEFT JOIN LATERAL (SELECT sum(e.amount) AS amount
        FROM billing_ledgerentry e JOIN billing_ledgeraccount a ON a.id = e.account_id
        WHERE e.transaction_id = t.id AND a.code = '5020') e ON true
    WHERE t.kind = 'correction' AND c.margin_nano IS DISTINCT FROM -coalesce(e.amount, 0)
    """,
)

REVENUE = search(
    "revenue",
    _("Revenue is what usage cost less what was given back of it: no other posting touches it."),
    """
    SELECT t.fact_key, t.kind, a.code, e.amount AS amount_nano
    FROM billing_ledgeraccount a JOIN billing_ledgerentry e ON e.account_id = a.id
    JOIN billing_ledgertransaction t ON t.id = e.transaction_id
    WHERE a.code IN ('4010', '4020') AND t.kind NOT IN ('usage', 'correction')
    """,
)

EXPIRY = search(
    "expiry",
    _("Credit expires out of lots that have a day for that, and not before it."),
    """
    SELECT l.id AS lot, t.fact_key, l.expires_at AS expires, t.posted_at AS posted
    FROM billing_ledgertransaction t JOIN billing_lotentry e ON e.transaction_id = t.id
    JOIN billing_lot l ON l.id = e.lot_id
    WHERE t.kind = 'expiry' AND (l.expires_at IS NULL OR t.posted_at < l.expires_at
        OR t.fact_key NOT LIKE 'expire:' || l.id || ':%')
    """,
)

CAMPAIGNS = search(
    "campaigns",
    _("What a campaign counts as granted is what the ledger booked as its expense."),
    """
    SELECT c.id AS campaign, c.granted_nano, coalesce(e.amount, 0) AS booked_nano
    FROM billing_campaign c
    LEFT JOIN LATERAL (SELECT sum(e.amount) AS amount
        FROM billing_ledgeraccount a JOIN billing_ledgerentry e ON e.account_id = a.id
        JOIN billing_ledgertransaction t ON t.id = e.transaction_id AND t.kind <> 'reversal'
        WHERE a.code = '5100' AND a.owner = 'campaign:#' || c.id) e ON true
    WHERE c.granted_nano <> coalesce(e.amount, 0)
    """,
)

SEARCHES: tuple[Search, ...] = (
    REFUNDS,
    ADJUSTMENTS,
    CORRECTED_LOTS,
    CORRECTED_MARGIN,
    REVENUE,
    EXPIRY,
    CAMPAIGNS,
)
