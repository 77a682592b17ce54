"""What a reseller has earned on one lot, as far as the usage records are still there."""

from django.db import connection

from billing.models import TopUp

# Aggregation pays margin by a customer's share of paid credit in a posting, rounded down; corrections took
# theirs back. A lot's part of that is its part of the paid credit. Detached months have no records: what was
# earned there stays earned.
OF_LOT = """
WITH lots AS (
    SELECT e.transaction_id, sum(-e.amount) AS paid,
        coalesce(sum(-e.amount) FILTER (WHERE l.id = %(lot)s), 0) AS used
    FROM billing_lotentry e JOIN billing_lot l ON l.id = e.lot_id
    JOIN billing_ledgertransaction t ON t.id = e.transaction_id
    WHERE t.kind = 'usage' AND l.organization_id = %(organization)s AND l.kind = 'paid'
        AND e.transaction_id IN (SELECT transaction_id FROM billing_lotentry WHERE lot_id = %(lot)s)
    GROUP BY 1
), sold AS (
    SELECT b.posting_id AS transaction_id, sum(u.charge_nano) AS charge,
        sum(CASE WHEN u.wholesale_version_id IS NULL THEN 0
            WHEN u.uncollected_nano > 0 THEN greatest(0, u.charge_nano - u.wholesale_nano)
            ELSE u.charge_nano - u.wholesale_nano END) AS margin
    FROM billing_settlementbatch b JOIN billing_usagerecord u ON u.batch_id = b.id
    WHERE b.posting_id IN (SELECT transaction_id FROM lots) AND u.organization_id = %(organization)s
        AND u.reseller_id = %(reseller)s
    GROUP BY 1
), given_back AS (
    SELECT c.usage_posting_id AS transaction_id, sum(c.margin_nano) AS margin, sum(e.paid) AS paid,
        sum(e.used) AS used
    FROM billing_usagecorrection c
    CROSS JOIN LATERAL (SELECT coalesce(sum(e.amount), 0) AS paid,
            coalesce(sum(e.amount) FILTER (WHERE l.id = %(lot)s), 0) AS used
        FROM billing_lotentry e JOIN billing_lot l ON l.id = e.lot_id
        WHERE e.transaction_id = c.transaction_id AND l.kind = 'paid'
            AND l.origin_id <> e.transaction_id) e
    WHERE c.usage_posting_id IN (SELECT transaction_id FROM lots) AND c.organization_id = %(organization)s
    GROUP BY 1
)
SELECT coalesce(sum(l.used - coalesce(g.used, 0)), 0)::bigint,
    coalesce(sum(CASE WHEN s.charge > 0 AND l.paid > coalesce(g.paid, 0) THEN floor(
        (floor(s.margin * l.paid / s.charge) - coalesce(g.margin, 0))
        * (l.used - coalesce(g.used, 0)) / (l.paid - coalesce(g.paid, 0))) END), 0)::bigint
FROM lots l LEFT JOIN sold s USING (transaction_id) LEFT JOIN given_back g USING (transaction_id)
"""


def earned_on(top_up: TopUp, spent_nano: int) -> int:
    """What the reseller has of `spent_nano` of the top-up's credit, rounded down."""
    if top_up.lot_id is None or spent_nano <= 0:
        return 0
    of = {
        "lot": top_up.lot_id,
        "organization": top_up.organization_id,
        "reseller": top_up.organization.reseller_id,
    }
    with connection.cursor() as cursor:
        cursor.execute(OF_LOT, of)
        [(used, earned)] = cursor.fetchall()
    return max(0, int(earned)) * min(spent_nano, used) // used if used > 0 else 0
