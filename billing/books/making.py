"""What is made of usage records on their way: settlement batches, rollups, the sums of detached months."""

from django.utils.translation import gettext_noop as _

from billing.books.rules import PRIME, Rule, Search, search

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

# Buckets before this moment may hold usage that was detached: those are compared by customer.
BOUNDARY = "SELECT coalesce(max(rollups_until), '-infinity') FROM billing_usagearchive"

AGGREGATED_RECORDS = f"""
billing_usagerecord u
WHERE NOT EXISTS (SELECT 1 FROM billing_settlementbatch b WHERE b.id = u.batch_id AND b.aggregated_at IS NULL)
    AND u.started_at >= ({BOUNDARY})
"""  # noqa: S608 - a query of this module

PROMPT = """u.input_tokens + u.cache_read_tokens + u.cache_write_5m_tokens + u.cache_write_1h_tokens
    + u.audio_input_tokens + u.image_input_tokens"""
COMPLETION = "u.output_tokens + u.reasoning_tokens + u.audio_output_tokens"
OF_RECORDS = {
    "requests": "1",
    "prompt": PROMPT,
    "completion": COMPLETION,
    "charge": "u.charge_nano",
    "cost": "u.cost_nano",
}
OF_ROLLUPS = {
    "requests": "r.requests",
    "prompt": "r.prompt_tokens",
    "completion": "r.completion_tokens",
    "charge": "r.charge_nano",
    "cost": "r.cost_nano",
}

# Microseconds of the quarter of an hour, from the moment of a request and from a rollup.
QUARTER = "floor(date_part('epoch', u.started_at) / 900)::bigint * 900000000"
BUCKET = "(date_part('epoch', r.bucket) * 1000000)::bigint"


def _summed(values: dict[str, str], key: str) -> str:
    """Each value summed up; and all of them in one mark of how they are spread over time."""
    sums = [f"billing_sum({value}) AS {name}" for name, value in values.items()]
    mixed = " + ".join(f"{7**power} * mod({value}, {PRIME})" for power, value in enumerate(values.values()))
    return f"{', '.join(sums)}, billing_sum(billing_mark({mixed}, {key})) AS mark"


# Rollups are nearly as many as records. Summed up by customer, key and model they are few; where the sums or
# the marks of how they are spread over time differ, and only there, each rollup is compared.
STAGE = (
    "DROP TABLE IF EXISTS pg_temp.books_records, pg_temp.books_rollups, pg_temp.books_odd",
    f"""
    CREATE TEMP TABLE books_records ON COMMIT DROP AS
    SELECT u.organization_id, u.api_key_id, u.reseller_id, u.model, {_summed(OF_RECORDS, QUARTER)}
    FROM {AGGREGATED_RECORDS} GROUP BY 1, 2, 3, 4
    """,  # noqa: S608 - a query of this module
    f"""
    CREATE TEMP TABLE books_rollups ON COMMIT DROP AS
    SELECT r.organization_id, r.api_key_id, r.reseller_id, r.model, {_summed(OF_ROLLUPS, BUCKET)}
    FROM billing_usagerollup r WHERE r.bucket >= ({BOUNDARY}) GROUP BY 1, 2, 3, 4
    """,  # noqa: S608 - a query of this module
    f"""
    CREATE TEMP TABLE books_odd ON COMMIT DROP AS
    SELECT organization_id, api_key_id, reseller_id, model
    FROM books_records u FULL JOIN books_rollups r USING (organization_id, api_key_id, reseller_id, model)
    WHERE ({", ".join(f"u.{name}" for name in OF_RECORDS)}, mod(u.mark, {PRIME}))
        IS DISTINCT FROM ({", ".join(f"r.{name}" for name in OF_RECORDS)}, mod(r.mark, {PRIME}))
    """,  # noqa: S608 - a query of this module
    "ANALYZE books_odd",
)

ROLLUPS = search(
    "rollups",
    _("A rollup is the sum of the usage records of aggregated batches in its quarter of an hour."),
    f"""
    SELECT organization_id, api_key_id AS api_key, model, bucket, sum(rollup_requests) AS rollup_requests,
        sum(requests) AS requests, sum(rollup_charge) AS rollup_nano, sum(charge) AS charge_nano
    FROM (
        SELECT organization_id, api_key_id, reseller_id, model, bucket, requests AS rollup_requests,
            prompt_tokens AS rollup_prompt, completion_tokens AS rollup_completion,
            charge_nano AS rollup_charge, cost_nano AS rollup_cost, 0::bigint AS requests,
            0::bigint AS prompt, 0::bigint AS completion, 0::bigint AS charge, 0::bigint AS cost
        FROM books_odd JOIN billing_usagerollup r USING (organization_id, api_key_id, reseller_id, model)
        WHERE r.bucket >= ({BOUNDARY})
        UNION ALL
        SELECT u.organization_id, u.api_key_id, u.reseller_id, u.model,
            date_bin('15 minutes', u.started_at, 'epoch'), 0, 0, 0, 0, 0, 1, {PROMPT}, {COMPLETION},
            u.charge_nano, u.cost_nano
        FROM books_odd o, {AGGREGATED_RECORDS}
            AND (u.organization_id, u.api_key_id, u.reseller_id, u.model)
                = (o.organization_id, o.api_key_id, o.reseller_id, o.model)
    ) both_sides
    GROUP BY organization_id, api_key_id, reseller_id, model, bucket
    HAVING sum(rollup_requests) <> sum(requests) OR sum(rollup_prompt) <> sum(prompt)
        OR sum(rollup_completion) <> sum(completion) OR sum(rollup_charge) <> sum(charge)
        OR sum(rollup_cost) <> sum(cost)
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

SEARCHES: tuple[Search, ...] = (BATCHES, AGGREGATED, ROLLUPS, ARCHIVED)
