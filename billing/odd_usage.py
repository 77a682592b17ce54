"""Usage that somebody should look at: counts a vendor cannot have meant, and counts it never gave."""

from collections.abc import Sequence
from uuid import UUID

from django.db import connection

from accounts.alerts import raise_alert
from common.ids import public_id

# An answer that ended early may well have no counts; one that the vendor finished must.
ODD = """
SELECT usage_source, channel, model, count(*), (array_agg(request_id ORDER BY request_id))[1]
FROM billing_usagerecord
WHERE batch_id = ANY(%s) AND (usage_source = 'clamped'
    OR (usage_source = 'estimated' AND ending IN ('complete', 'length', 'filtered')))
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""

MESSAGES = {
    "clamped": "The vendor reported impossible usage for {count} requests, {request} first; it was charged"
    " within what the request can have used.",
    "estimated": "The vendor reported no usage for {count} finished requests, {request} first; it was"
    " estimated.",
}


def alert_about_odd_usage(batch_ids: Sequence[UUID]) -> None:
    """One open alert for each kind, channel and model. Call it last in the transaction that claims batches,
    so that every record is looked at once: it takes the locks of alerts, always in the same order."""
    with connection.cursor() as cursor:
        cursor.execute(ODD, [list(batch_ids)])
        found = cursor.fetchall()
    for source, channel, model, count, request_id in found:
        raise_alert(
            kind=f"usage_{source}",
            subject=f"{channel} {model}",
            message=MESSAGES[source].format(count=count, request=public_id("req", request_id)),
        )
