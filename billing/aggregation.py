"""From settled batches to rollups, lots and the ledger: each batch exactly once.

Claiming a batch and all that is made of it are one transaction: a worker that dies in between leaves it for
the next, and two workers never hold the same one.
"""

from collections import defaultdict
from dataclasses import dataclass
from uuid import UUID

import structlog
from django.db import connection, transaction
from django.db.models import Value
from django.db.models.functions import Greatest
from django.utils import timezone

from accounts.alerts import raise_alert
from accounts.models import APIKey
from billing.ledger import Account, Entry, Owner, Posting, post
from billing.ledger import templates as ledger_templates
from billing.ledger.chart import credit, debit
from billing.lots import change_lots, lock_lots
from billing.models import PostingKind, SettlementBatch
from billing.odd_usage import alert_about_odd_usage
from billing.spending import in_spending_order, take_in_order

AGGREGATE_AT_ONCE = 200

log = structlog.get_logger(__name__)

# Rows are added in the order of the unique key, so that two workers cannot wait for each other in a ring.
ADD_TO_ROLLUPS = """
INSERT INTO billing_usagerollup (organization_id, reseller_id, api_key_id, model, bucket, requests,
    prompt_tokens, completion_tokens, charge_nano, cost_nano)
SELECT organization_id, reseller_id, api_key_id, model,
    date_bin('15 minutes', started_at, 'epoch') AS bucket, count(*),
    sum(input_tokens + cache_read_tokens + cache_write_5m_tokens + cache_write_1h_tokens
        + audio_input_tokens + image_input_tokens),
    sum(output_tokens + reasoning_tokens + audio_output_tokens), sum(charge_nano), sum(cost_nano)
FROM billing_usagerecord WHERE batch_id = ANY(%s)
GROUP BY organization_id, reseller_id, api_key_id, model, bucket
ORDER BY organization_id, bucket, api_key_id, model
ON CONFLICT (organization_id, bucket, api_key_id, model) DO UPDATE SET
    requests = billing_usagerollup.requests + EXCLUDED.requests,
    prompt_tokens = billing_usagerollup.prompt_tokens + EXCLUDED.prompt_tokens,
    completion_tokens = billing_usagerollup.completion_tokens + EXCLUDED.completion_tokens,
    charge_nano = billing_usagerollup.charge_nano + EXCLUDED.charge_nano,
    cost_nano = billing_usagerollup.cost_nano + EXCLUDED.cost_nano
"""

LAST_USE = """
SELECT api_key_id, max(started_at) FROM billing_usagerecord WHERE batch_id = ANY(%s)
GROUP BY api_key_id ORDER BY api_key_id
"""

# A reseller earns what it charges above the wholesale price; on what was never collected it earns nothing.
SALES = """
SELECT organization_id, reseller_id, sum(charge_nano)::bigint, sum(uncollected_nano)::bigint,
    sum(CASE WHEN wholesale_version_id IS NULL THEN 0
             WHEN uncollected_nano > 0 THEN greatest(0, charge_nano - wholesale_nano)
             ELSE charge_nano - wholesale_nano END)::bigint
FROM billing_usagerecord WHERE batch_id = ANY(%s)
GROUP BY organization_id, reseller_id ORDER BY organization_id, reseller_id
"""

COSTS = """
SELECT channel, sum(cost_nano)::bigint FROM billing_usagerecord WHERE batch_id = ANY(%s)
GROUP BY channel HAVING sum(cost_nano) > 0 ORDER BY channel
"""


@dataclass(frozen=True, slots=True)
class _Sale:
    """What one organization bought of one reseller, in nano-units."""

    organization_id: int
    reseller_id: int
    charge: int
    uncollected: int
    margin: int


def aggregate_batches(*, at_once: int = AGGREGATE_AT_ONCE) -> int:
    """Add settled batches up, each exactly once; returns how many this call took."""
    with transaction.atomic():
        claimed = list(
            SettlementBatch.objects.select_for_update(skip_locked=True)
            .filter(aggregated_at=None)
            .order_by("created_at")
            .values_list("pk", flat=True)[:at_once]
        )
        if claimed:
            with connection.cursor() as cursor:
                cursor.execute(ADD_TO_ROLLUPS, [claimed])
            _note_key_use(claimed)
            posting_id = _post_usage(claimed)
            SettlementBatch.objects.filter(pk__in=claimed).update(
                aggregated_at=timezone.now(), posting_id=posting_id
            )
            alert_about_odd_usage(claimed)
    return len(claimed)


def _note_key_use(claimed: list[UUID]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(LAST_USE, [claimed])
        used = cursor.fetchall()
    for api_key_id, used_at in used:
        APIKey.across_all_organizations.filter(pk=api_key_id).update(
            last_used_at=Greatest("last_used_at", Value(used_at))
        )


def _post_usage(claimed: list[UUID]) -> UUID | None:
    """Consume lots and post, in one ledger transaction for all batches; None where nothing cost anything."""
    sales, costs = _read(claimed)
    lots = lock_lots([sale.organization_id for sale in sales if sale.charge])
    spendable = {organization: in_spending_order(held) for organization, held in lots.items()}
    changes: dict[int, int] = defaultdict(int)
    entries: list[Entry] = []
    for sale in sales:
        takes, missing = take_in_order(spendable.get(sale.organization_id, []), sale.charge)
        spent: dict[str, int] = defaultdict(int)
        for lot, amount in takes:
            changes[lot.lot_id] -= amount
            spent[lot.kind] += amount
        entries += _entries(sale, spent)
        if missing:
            entries += _suspended(sale, missing)
    for channel, cost in costs:
        entries += ledger_templates.upstream_cost(channel=channel, amount=cost)
    if not any(entry.amount for entry in entries):
        return None
    posted = post(Posting(fact_key=f"usage:{min(claimed)}", kind=PostingKind.USAGE, entries=entries))
    change_lots(posted.transaction_id, changes)
    return posted.transaction_id


def _read(claimed: list[UUID]) -> tuple[list[_Sale], list[tuple[str, int]]]:
    with connection.cursor() as cursor:
        cursor.execute(SALES, [claimed])
        sales = [_Sale(*row) for row in cursor.fetchall()]
        cursor.execute(COSTS, [claimed])
        costs: list[tuple[str, int]] = cursor.fetchall()
    return sales, costs


def _entries(sale: _Sale, spent: dict[str, int]) -> list[Entry]:
    """Commission is paid on what was paid for: promotional credit earns a reseller nothing."""
    entries = ledger_templates.usage(
        organization_id=sale.organization_id,
        reseller_id=sale.reseller_id,
        spent=spent,
        uncollected=sale.uncollected,
    )
    earned = sale.margin * spent.get("paid", 0) // sale.charge if sale.charge else 0
    return entries + ledger_templates.margin(reseller_id=sale.reseller_id, amount=earned)


def _suspended(sale: _Sale, missing: int) -> list[Entry]:
    """Lots that hold less than was charged are wrong; one customer's must not hold up everybody's books."""
    log.critical("lots_short", organization=sale.organization_id, missing_nano=missing)
    raise_alert(
        kind="lots_short",
        subject=Owner.organization(sale.organization_id),
        message=f"The lots hold {missing} nano-units less than was charged; suspense has the difference.",
        severity="critical",
    )
    owner = Owner.organization(sale.organization_id)
    return [
        debit(Account.SUSPENSE, owner, missing),
        credit(Account.PAID_REVENUE, Owner.reseller(sale.reseller_id), missing),
    ]
