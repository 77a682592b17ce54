"""Usage records against everything made of them: batches, postings, rollups. What was detached counts with
the sums that were kept of it."""

from django.utils.translation import gettext_noop as _

from billing.books.ledger import PARTLY_ARCHIVED
from billing.books.rules import Rule, Search, search

# What the records of each posting say of each customer, made once for the rules that need it. A batch that
# is unknown counts as not aggregated. `margin` is what the reseller earns where the customer paid: what it
# charges above wholesale, and nothing on what was never collected.
STAGE = (
    "DROP TABLE IF EXISTS pg_temp.books_usage",
    """
    CREATE TEMP TABLE books_usage ON COMMIT DROP AS
    SELECT b.posting_id AS transaction_id, b.aggregated_at IS NOT NULL AS is_aggregated, u.organization_id,
        u.reseller_id, count(*) AS requests, billing_sum(u.charge_nano) AS charge,
        billing_sum(u.uncollected_nano) AS uncollected, billing_sum(u.cost_nano) AS cost,
        billing_sum(CASE WHEN u.wholesale_version_id IS NULL THEN 0
            WHEN u.uncollected_nano > 0 THEN greatest(0, u.charge_nano - u.wholesale_nano)
            ELSE u.charge_nano - u.wholesale_nano END) AS margin
    FROM billing_usagerecord u LEFT JOIN billing_settlementbatch b ON b.id = u.batch_id
    GROUP BY 1, 2, 3, 4
    """,
    "ANALYZE books_usage",
)

BATCHES = Search(
    (
        Rule(
            "batches",
            _("A settlement batch charges what its usage records charge, and every record is in a batch."),
            "NOT is_known OR batch_nano <> records_nano OR records > settled",
        ),
    ),
    """
    SELECT batch, bool_or(is_known) AS is_known, billing_sum(batch_nano) AS batch_nano,
        billing_sum(records_nano) AS records_nano, billing_sum(records) AS records,
        billing_sum(settled) AS settled
    FROM (
        SELECT id AS batch, true AS is_known, charge_nano AS batch_nano, 0::bigint AS records_nano,
            0::bigint AS records, records::bigint AS settled
        FROM billing_settlementbatch
        UNION ALL
        SELECT batch_id, false, 0, charge_nano, 1, 0 FROM billing_usagerecord
        UNION ALL
        SELECT batch_id, false, 0, charge_nano, records, 0 FROM billing_archivedbatch
    ) both_sides
    GROUP BY batch
    HAVING NOT bool_or(is_known) OR billing_sum(batch_nano) <> billing_sum(records_nano)
        OR billing_sum(records) > billing_sum(settled)
    """,
)

AGGREGATED = search(
    "aggregated",
    _("A batch that is aggregated was posted as usage, unless it was free; such postings have batches."),
    """
    SELECT b.id AS batch, b.aggregated_at AS aggregated, b.posting_id AS transaction, t.kind AS posted_as,
        b.charge_nano
    FROM billing_settlementbatch b LEFT JOIN billing_ledgertransaction t ON t.id = b.posting_id
    WHERE (b.posting_id IS NOT NULL AND (b.aggregated_at IS NULL OR t.kind IS DISTINCT FROM 'usage'))
        OR (b.posting_id IS NULL AND b.aggregated_at IS NOT NULL AND b.charge_nano <> 0)
    UNION ALL
    SELECT NULL, NULL, t.id, t.kind, NULL FROM billing_ledgertransaction t
    WHERE t.kind = 'usage'
        AND NOT EXISTS (SELECT 1 FROM billing_settlementbatch b WHERE b.posting_id = t.id)
    """,
)

# The ledger's side of a posting of usage, whole.
POSTED = """
SELECT e.transaction_id, 0 AS charge, 0 AS uncollected, 0 AS cost,
    sum(e.amount) FILTER (WHERE a.code IN ('2010', '2020', '2900')) AS taken,
    sum(e.amount) FILTER (WHERE a.code = '1100') AS owed,
    -sum(e.amount) FILTER (WHERE a.code IN ('4010', '4020')) AS revenue,
    sum(e.amount) FILTER (WHERE a.code = '5010') AS vendor_cost,
    -sum(e.amount) FILTER (WHERE a.code = '2100') AS vendor_payable,
    sum(e.amount) FILTER (WHERE a.code IN ('2050', '5020')) AS commission_left
FROM billing_ledgertransaction t
JOIN billing_ledgerentry e ON e.transaction_id = t.id JOIN billing_ledgeraccount a ON a.id = e.account_id
WHERE t.kind = 'usage' GROUP BY 1
"""

USAGE_POSTINGS = search(
    "usage_postings",
    _("A posting of usage is what its records say: credit taken, debts, revenue, vendor cost."),
    f"""
    SELECT transaction_id AS transaction, sum(charge) AS charge_nano, sum(taken) AS credit_taken_nano,
        sum(uncollected) AS uncollected_nano, sum(owed) AS owed_nano, sum(revenue) AS revenue_nano,
        sum(cost) AS cost_nano, sum(vendor_cost) AS vendor_cost_nano
    FROM (
        SELECT transaction_id, billing_sum(charge) AS charge, billing_sum(uncollected) AS uncollected,
            billing_sum(cost) AS cost, 0 AS taken, 0 AS owed, 0 AS revenue, 0 AS vendor_cost,
            0 AS vendor_payable, 0 AS commission_left
        FROM books_usage GROUP BY 1
        UNION ALL
        SELECT b.posting_id, x.charge_nano, x.uncollected_nano, x.cost_nano, 0, 0, 0, 0, 0, 0
        FROM billing_archivedbatch x JOIN billing_settlementbatch b ON b.id = x.batch_id
        UNION ALL
        {POSTED}
    ) both_sides
    WHERE transaction_id IS NOT NULL
    GROUP BY 1
    HAVING sum(charge) <> coalesce(sum(taken), 0) OR sum(uncollected) <> coalesce(sum(owed), 0)
        OR sum(charge) + sum(uncollected) <> coalesce(sum(revenue), 0)
        OR sum(cost) <> coalesce(sum(vendor_cost), 0) OR sum(cost) <> coalesce(sum(vendor_payable), 0)
        OR coalesce(sum(commission_left), 0) <> 0
    """,  # noqa: S608 - a query of this module
)

USAGE_BY_CHANNEL = search(
    "usage_by_channel",
    _("A posting of usage books to each channel what the requests it served cost."),
    f"""
    SELECT transaction_id AS transaction, channel, sum(cost) AS cost_nano, sum(booked) AS booked_nano
    FROM (
        SELECT b.posting_id AS transaction_id, u.channel, billing_sum(u.cost_nano) AS cost, 0 AS booked
        FROM billing_usagerecord u JOIN billing_settlementbatch b ON b.id = u.batch_id
        WHERE b.posting_id IS NOT NULL GROUP BY 1, 2
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

# A reseller earns its margin on the share that was paid credit, rounded down for each customer.
USAGE_BY_RESELLER = search(
    "usage_by_reseller",
    _("A posting of usage books to each reseller what its customers paid, and what it earned of that."),
    f"""
    SELECT transaction_id AS transaction, reseller_id, billing_sum(sold) AS sold_nano,
        billing_sum(revenue) AS revenue_nano, billing_sum(earned) AS earned_nano,
        billing_sum(booked) AS booked_nano
    FROM (
        SELECT u.transaction_id, u.reseller_id, u.charge + u.uncollected AS sold, 0::bigint AS revenue,
            CASE WHEN u.margin = 0 OR u.charge = 0 THEN 0
                ELSE floor(u.margin::numeric * coalesce(paid.amount, 0) / u.charge)::bigint END AS earned,
            0::bigint AS booked
        FROM books_usage u
        LEFT JOIN (
            SELECT e.transaction_id, substr(a.owner, 14)::bigint AS organization_id, e.amount
            FROM billing_ledgeraccount a JOIN billing_ledgerentry e ON e.account_id = a.id
            WHERE a.code = '2010' AND a.owner LIKE 'organization:%'
        ) paid ON (paid.transaction_id, paid.organization_id) = (u.transaction_id, u.organization_id)
            AND u.margin <> 0
        WHERE u.transaction_id IS NOT NULL
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
    HAVING billing_sum(sold) <> billing_sum(revenue) OR billing_sum(earned) <> billing_sum(booked)
    """,  # noqa: S608 - a query of this module
)

# Buckets before this moment may hold usage that was detached: those are compared by customer.
BOUNDARY = "SELECT coalesce(max(rollups_until), '-infinity') FROM billing_usagearchive"

ROLLUPS = search(
    "rollups",
    _("A rollup is the sum of the usage records of aggregated batches in its quarter of an hour."),
    f"""
    SELECT organization_id, api_key_id AS api_key, model, bucket,
        billing_sum(rollup_requests) AS rollup_requests, billing_sum(requests) AS requests,
        billing_sum(rollup_charge) AS rollup_nano, billing_sum(charge) AS charge_nano
    FROM (
        SELECT organization_id, api_key_id, reseller_id, model, bucket, requests AS rollup_requests,
            prompt_tokens AS rollup_prompt, completion_tokens AS rollup_completion,
            charge_nano AS rollup_charge, cost_nano AS rollup_cost, 0::bigint AS requests,
            0::bigint AS prompt, 0::bigint AS completion, 0::bigint AS charge, 0::bigint AS cost
        FROM billing_usagerollup WHERE bucket >= ({BOUNDARY})
        UNION ALL
        SELECT u.organization_id, u.api_key_id, u.reseller_id, u.model,
            date_bin('15 minutes', u.started_at, 'epoch'), 0, 0, 0, 0, 0, 1,
            u.input_tokens + u.cache_read_tokens + u.cache_write_5m_tokens + u.cache_write_1h_tokens
                + u.audio_input_tokens + u.image_input_tokens,
            u.output_tokens + u.reasoning_tokens + u.audio_output_tokens, u.charge_nano, u.cost_nano
        FROM billing_usagerecord u JOIN billing_settlementbatch b ON b.id = u.batch_id
        WHERE b.aggregated_at IS NOT NULL AND date_bin('15 minutes', u.started_at, 'epoch') >= ({BOUNDARY})
    ) both_sides
    GROUP BY organization_id, api_key_id, reseller_id, model, bucket
    HAVING billing_sum(rollup_requests) <> billing_sum(requests)
        OR billing_sum(rollup_prompt) <> billing_sum(prompt)
        OR billing_sum(rollup_completion) <> billing_sum(completion)
        OR billing_sum(rollup_charge) <> billing_sum(charge)
        OR billing_sum(rollup_cost) <> billing_sum(cost)
    """,  # noqa: S608 - a query of this module
)

ARCHIVED = search(
    "archived_usage",
    _("What a customer used in detached months is in the rollups of that time and the sums of batches."),
    f"""
    SELECT organization_id, sum(rollup_requests) AS rollup_requests, sum(requests) AS requests,
        sum(rollup_charge) AS rollup_nano, sum(charge) AS charge_nano
    FROM (
        SELECT organization_id, requests AS rollup_requests, charge_nano AS rollup_charge,
            cost_nano AS rollup_cost, 0::bigint AS requests, 0::bigint AS charge, 0::bigint AS cost
        FROM billing_usagerollup WHERE bucket < ({BOUNDARY})
        UNION ALL
        SELECT organization_id, 0, 0, 0, records, charge_nano, cost_nano FROM billing_archivedusage
        UNION ALL
        SELECT u.organization_id, 0, 0, 0, 1, u.charge_nano, u.cost_nano
        FROM billing_usagerecord u JOIN billing_settlementbatch b ON b.id = u.batch_id
        WHERE (SELECT count(*) > 0 FROM billing_usagearchive)
            AND b.aggregated_at IS NOT NULL AND date_bin('15 minutes', u.started_at, 'epoch') < ({BOUNDARY})
    ) both_sides
    GROUP BY 1
    HAVING sum(rollup_requests) <> sum(requests) OR sum(rollup_charge) <> sum(charge)
        OR sum(rollup_cost) <> sum(cost)
    UNION ALL
    SELECT NULL, sum(b.records), sum(o.records), sum(b.charge_nano), sum(o.charge_nano)
    FROM (SELECT archive_id, sum(records) AS records, sum(charge_nano) AS charge_nano,
            sum(uncollected_nano) AS uncollected_nano, sum(cost_nano) AS cost_nano
        FROM billing_archivedbatch GROUP BY 1) b
    FULL JOIN (SELECT archive_id, sum(records) AS records, sum(charge_nano) AS charge_nano,
            sum(uncollected_nano) AS uncollected_nano, sum(cost_nano) AS cost_nano
        FROM billing_archivedusage GROUP BY 1) o USING (archive_id)
    WHERE (b.records, b.charge_nano, b.uncollected_nano, b.cost_nano)
        IS DISTINCT FROM (o.records, o.charge_nano, o.uncollected_nano, o.cost_nano)
    GROUP BY archive_id
    """,  # noqa: S608 - a query of this module
)

SEARCHES: tuple[Search, ...] = (
    BATCHES,
    AGGREGATED,
    USAGE_POSTINGS,
    USAGE_BY_CHANNEL,
    USAGE_BY_RESELLER,
    ROLLUPS,
    ARCHIVED,
)
