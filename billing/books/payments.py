"""Card payments after they came in: credit that waits, disputed money, refunds of what was spent already."""

from django.utils.translation import gettext_noop as _

from billing.books.rules import Search, search

# Nano-units; card payments are counted in cents.
CENT = 10_000_000

HELD = search(
    "held_credit",
    _("Held credit is what top-ups that are not unlocked have left, and what open disputes keep."),
    f"""
    SELECT owner, sum(ledger) AS ledger_nano, sum(held) AS held_nano
    FROM (
        SELECT a.owner, -e.amount AS ledger, 0::numeric AS held
        FROM billing_ledgeraccount a JOIN billing_ledgerentry e ON e.account_id = a.id WHERE a.code = '2030'
        UNION ALL
        SELECT 'organization:' || t.organization_id, 0, t.amount_minor * {CENT}::numeric
            - coalesce((SELECT sum(r.amount_nano) FROM billing_refund r
                WHERE r.top_up_id = t.id AND r.from_held AND r.state <> 'failed'), 0)
            - coalesce((SELECT sum(d.held_nano + d.taken_nano) FROM billing_dispute d
                WHERE d.top_up_id = t.id AND d.from_held), 0)
        FROM billing_topup t
        WHERE t.state = 'paid' AND t.held_until IS NOT NULL AND t.unlocked_at IS NULL
        UNION ALL
        SELECT 'organization:' || organization_id, 0, held_nano FROM billing_dispute WHERE held_nano > 0
    ) both_sides
    GROUP BY 1 HAVING sum(ledger) <> sum(held)
    """,  # noqa: S608 - a query of this module
)

DISPUTES = search(
    "disputes",
    _("Disputed money is what Stripe withdrew and no loss has booked away; a loss took what it says."),
    f"""
    SELECT d.dispute_id AS dispute, e.owner AS account_of, d.outcome,
        d.withdrawn_minor * {CENT}::numeric AS withdrawn_nano, coalesce(e.amount, 0) AS ledger_nano,
        d.margin_nano, -coalesce(m.margin, 0) AS margin_booked_nano
    FROM billing_dispute d
    FULL JOIN (SELECT a.owner, sum(e.amount) AS amount
        FROM billing_ledgeraccount a JOIN billing_ledgerentry e ON e.account_id = a.id
        WHERE a.code = '1150' GROUP BY 1) e ON e.owner = 'dispute:' || d.dispute_id
    LEFT JOIN (SELECT split_part(t.fact_key, ':', 2) AS dispute_id, sum(e.amount) AS margin
        FROM billing_ledgertransaction t JOIN billing_ledgerentry e ON e.transaction_id = t.id
        JOIN billing_ledgeraccount a ON a.id = e.account_id
        WHERE t.kind = 'dispute' AND a.code = '5020' GROUP BY 1) m ON m.dispute_id = d.dispute_id
    WHERE d.id IS NULL OR d.margin_nano <> -coalesce(m.margin, 0)
        OR coalesce(e.amount, 0) <> d.withdrawn_minor * {CENT}::numeric
            - d.taken_nano - d.owed_nano - d.tax_nano
    """,  # noqa: S608 - a query of this module
)

CARD_REFUNDS = search(
    "card_refunds",
    _("What goes back of a card payment is never more than was paid, and a refund says what it left owed."),
    f"""
    SELECT t.id AS top_up, NULL AS refund, x.credit AS credit_back_nano, x.tax AS tax_back_nano
    FROM billing_topup t
    JOIN (SELECT top_up_id, sum(amount_nano) AS credit, sum(tax_nano) AS tax FROM billing_refund
        WHERE top_up_id IS NOT NULL AND state <> 'failed' GROUP BY 1) x ON x.top_up_id = t.id
    WHERE x.credit > t.amount_minor * {CENT}::numeric OR x.tax > t.tax_minor * {CENT}::numeric
    UNION ALL
    SELECT r.top_up_id, r.id, r.owed_nano, coalesce(e.amount, 0)
    FROM billing_refund r
    LEFT JOIN billing_ledgertransaction s ON s.fact_key = 'refund:' || r.id || ':start'
    LEFT JOIN LATERAL (SELECT sum(e.amount) AS amount
        FROM billing_ledgerentry e JOIN billing_ledgeraccount a ON a.id = e.account_id
        WHERE e.transaction_id = s.id AND a.code = '1100') e ON true
    WHERE r.owed_nano <> coalesce(e.amount, 0)
    """,  # noqa: S608 - a query of this module
)

# Stripe's book comes to us line by line; a posting may be some hours ahead of its line.
STRIPE_LINES = search(
    "stripe_lines",
    _("Each line of Stripe's book is on our account there with its net amount, and nothing else is."),
    f"""
    SELECT coalesce(l.transaction_id, e.transaction_id) AS transaction, l.lines AS line,
        coalesce(l.net_nano, 0) AS line_nano, coalesce(e.amount, 0) AS booked_nano
    FROM (
        SELECT transaction_id, min(balance_transaction_id) AS lines,
            sum(net_minor) * {CENT}::numeric AS net_nano
        FROM billing_balancetransaction WHERE transaction_id IS NOT NULL AND currency = 'USD' GROUP BY 1
    ) l
    FULL JOIN (
        SELECT coalesce(b.transaction_id, t.id) AS transaction_id, min(t.posted_at) AS posted_at,
            sum(e.amount) AS amount, bool_or(t.fact_key ~ '^(pi|dp|po|bt):') AS is_by_stripe
        FROM billing_ledgerentry e
        JOIN billing_ledgeraccount a ON a.id = e.account_id
        JOIN billing_ledgertransaction t ON t.id = e.transaction_id
        LEFT JOIN billing_balancetransaction b
            ON t.kind = 'fee' AND t.fact_key = 'bt:' || b.balance_transaction_id || ':fee'
        WHERE a.code = '1010' GROUP BY 1
    ) e ON e.transaction_id = l.transaction_id
    WHERE coalesce(l.net_nano, 0) <> coalesce(e.amount, 0)
        AND (l.transaction_id IS NOT NULL
            OR e.is_by_stripe AND e.posted_at < now() - interval '2 days')
    """,  # noqa: S608 - a query of this module
)

SEARCHES: tuple[Search, ...] = (HELD, DISPUTES, CARD_REFUNDS, STRIPE_LINES)
