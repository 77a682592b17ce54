"""What customers have: wallets, what is held of them, what came into them."""

from django.utils.translation import gettext_noop as _

from billing.books.rules import Search, search

# Records of the batches that no aggregation has taken yet: few, found by their index.
NOT_AGGREGATED = """
SELECT u.organization_id, sum(u.charge_nano) AS charge_nano, sum(u.uncollected_nano) AS uncollected_nano
FROM billing_settlementbatch b JOIN billing_usagerecord u ON u.batch_id = b.id
WHERE b.aggregated_at IS NULL GROUP BY 1
"""

WALLETS = search(
    "wallets",
    _("What a wallet holds is what its lots hold, less what was charged since they were last drawn on."),
    f"""
    SELECT o.id AS organization_id, w.posted AS posted_nano, coalesce(l.remaining, 0) AS lots_nano,
        coalesce(u.charge_nano, 0) AS not_aggregated_nano
    FROM accounts_organization o
    LEFT JOIN billing_wallet w ON w.organization_id = o.id
    LEFT JOIN (SELECT organization_id, sum(remaining) AS remaining FROM billing_lot GROUP BY 1) l
        ON l.organization_id = o.id
    LEFT JOIN ({NOT_AGGREGATED}) u ON u.organization_id = o.id
    WHERE w.posted IS DISTINCT FROM coalesce(l.remaining, 0) - coalesce(u.charge_nano, 0)
    """,  # noqa: S608 - a query of this module
)

PENDING = search(
    "pending",
    _("What is held of a wallet is what its open leases have left."),
    """
    SELECT w.organization_id, w.pending AS pending_nano, coalesce(l.open, 0) AS leased_nano
    FROM billing_wallet w
    LEFT JOIN (SELECT wallet_id, sum(granted - settled) AS open FROM billing_lease
        WHERE state = 'open' GROUP BY 1) l ON l.wallet_id = w.organization_id
    WHERE w.pending <> coalesce(l.open, 0)
    """,
)

BUDGETS = search(
    "budgets",
    _("What is held of a budget's period is what its open leases have left."),
    """
    SELECT p.id AS period, p.budget_id AS budget, p.pending AS pending_nano,
        coalesce(l.open, 0) AS leased_nano
    FROM billing_budgetperiod p
    LEFT JOIN (SELECT period_id, sum(granted - settled) AS open FROM billing_budgetlease
        WHERE state = 'open' GROUP BY 1) l ON l.period_id = p.id
    WHERE p.pending <> coalesce(l.open, 0)
    """,
)

OWED = search(
    "owed",
    _("A customer owes what the ledger says and what went uncollected since; who owes is not active."),
    f"""
    SELECT w.organization_id, w.receivable AS owed_nano, w.status, coalesce(e.amount, 0) AS ledger_nano,
        coalesce(u.uncollected_nano, 0) AS not_aggregated_nano
    FROM billing_wallet w
    LEFT JOIN (SELECT a.owner, sum(e.amount) AS amount
        FROM billing_ledgeraccount a JOIN billing_ledgerentry e ON e.account_id = a.id
        WHERE a.code = '1100' GROUP BY 1) e ON e.owner = 'organization:' || w.organization_id
    LEFT JOIN ({NOT_AGGREGATED}) u USING (organization_id)
    WHERE w.receivable <> coalesce(e.amount, 0) + coalesce(u.uncollected_nano, 0)
        OR (w.receivable > 0 AND w.status = 'active') OR w.receivable < 0
    """,  # noqa: S608 - a query of this module
)

GRANTS = search(
    "grants",
    _("Each grant was posted once, in full: it became credit, or paid what the customer owed."),
    """
    SELECT g.id AS "grant", t.fact_key, g.amount_nano AS granted_nano, -coalesce(e.amount, 0) AS ledger_nano
    FROM billing_grant g
    FULL JOIN (SELECT * FROM billing_ledgertransaction WHERE kind = 'grant' AND fact_key LIKE 'grant:%') t
        ON t.fact_key = 'grant:' || g.id
    LEFT JOIN LATERAL (SELECT sum(e.amount) AS amount
        FROM billing_ledgerentry e JOIN billing_ledgeraccount a ON a.id = e.account_id
        WHERE e.transaction_id = t.id AND a.code IN ('2020', '1100')
            AND a.owner = 'organization:' || g.organization_id) e ON true
    WHERE g.id IS NULL OR g.amount_nano IS DISTINCT FROM -coalesce(e.amount, 0)
    """,
)

VOUCHERS = search(
    "vouchers",
    _("A voucher was used as often as it was redeemed, and each time the redeemer got its amount."),
    """
    SELECT v.id AS voucher, v.used, coalesce(r.redeemed, 0) AS redeemed, coalesce(r.wrong, 0) AS wrong_grants
    FROM billing_voucher v
    LEFT JOIN (SELECT r.voucher_id, count(*) AS redeemed, count(*) FILTER (WHERE g.kind <> 'voucher'
            OR g.organization_id <> r.organization_id OR g.amount_nano <> v.amount_nano) AS wrong
        FROM billing_voucherredemption r JOIN billing_grant g ON g.id = r.grant_id
        JOIN billing_voucher v ON v.id = r.voucher_id GROUP BY 1) r ON r.voucher_id = v.id
    WHERE v.used <> coalesce(r.redeemed, 0) OR r.wrong > 0
    """,
)

SEARCHES: tuple[Search, ...] = (WALLETS, PENDING, BUDGETS, OWED, GRANTS, VOUCHERS)
