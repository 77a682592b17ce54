"""How much to hold for a request, and what it comes to in the end. Pure: amounts in nano-units."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from billing.contracts import Demand, Hold, ModelTariffs, Outcome, Tariff, TokenUsage
from billing.pricing import affordable_output, price_usage, worst_price

LEAST_USEFUL_OUTPUT = 256
USAGE_CLASSES = tuple(field.name for field in fields(TokenUsage))


def worst_case(demand: Demand, tariffs: ModelTariffs, share: int) -> tuple[int, int]:
    """What to hold, and the output tokens per choice that it pays for certain.

    `share` is what a request without a limit of its own may take.
    """
    if demand.max_output_tokens is not None:
        return price_of(demand, tariffs, demand.max_output_tokens), demand.max_output_tokens
    full = price_of(demand, tariffs, demand.model_max_output_tokens)
    budget = max(share, least_price(demand, tariffs))
    if full <= budget:
        return full, demand.model_max_output_tokens
    return _lowered(demand, tariffs, budget)


def what_fits(demand: Demand, tariffs: ModelTariffs, share: int, free: int) -> tuple[int, int]:
    """The same within what is free now; a limit of the caller is never lowered."""
    amount, limit = worst_case(demand, tariffs, share)
    if amount <= free or demand.max_output_tokens is not None:
        return amount, limit
    return _lowered(demand, tariffs, free)


def least_price(demand: Demand, tariffs: ModelTariffs) -> int:
    """The price of the shortest answer worth sending the request for."""
    limit = demand.max_output_tokens
    if limit is None:
        limit = min(LEAST_USEFUL_OUTPUT, demand.model_max_output_tokens)
    return price_of(demand, tariffs, limit)


def price_of(demand: Demand, tariffs: ModelTariffs, output_tokens: int) -> int:
    return worst_price(
        tariffs.retail,
        prompt_tokens=demand.prompt_tokens,
        output_tokens=output_tokens * demand.choices,
        tier=demand.service_tier,
    )


def has_tier(tariff: Tariff, tier: str) -> bool:
    return any(one.name == tier for one in tariff.tiers)


def billed_tier(hold: Hold, outcome: Outcome) -> str:
    """The tier that was asked for, unless the vendor says that it served another: then the default.

    Never a third one: nothing was held for it.
    """
    if not hold.service_tier or outcome.service_tier in ("", hold.service_tier):
        return hold.service_tier
    return ""


def usage_record(hold: Hold, outcome: Outcome) -> Mapping[str, Any]:
    """A row for `billing_settle`. Retail, wholesale and cost are each worked out from the tokens."""
    usage, tariffs, tier = outcome.usage, hold.tariffs, billed_tier(hold, outcome)
    record = {
        "request_id": hold.request_id,
        "organization_id": hold.payer.organization_id,
        "reseller_id": hold.payer.reseller_id,
        "api_key_id": hold.payer.api_key_id,
        "model": hold.model,
        "channel": outcome.channel,
        "upstream_model": outcome.upstream_model.replace("\0", "")[:200],
        **{name: getattr(usage, name) for name in USAGE_CLASSES},
        "price_nano": price_usage(usage, tariffs.retail, tier),
        "cost_nano": price_usage(usage, tariffs.cost, tier) if tariffs.cost else 0,
        "wholesale_nano": price_usage(usage, tariffs.wholesale, tier) if tariffs.wholesale else 0,
        "retail_version_id": tariffs.retail.version_id,
        "cost_version_id": tariffs.cost.version_id if tariffs.cost else None,
        "wholesale_version_id": tariffs.wholesale.version_id if tariffs.wholesale else None,
        "service_tier": tier,
        "usage_source": outcome.source,
        "ending": outcome.ending,
        "is_stream": outcome.is_stream,
        "started_at": hold.admitted_at,
        "first_output_at": outcome.first_output_at,
        "ended_at": outcome.ended_at,
    }
    if hold.budgets:
        record["budget_period_ids"] = [held.period_id for held in hold.budgets]
    return record


def _lowered(demand: Demand, tariffs: ModelTariffs, budget: int) -> tuple[int, int]:
    affordable = affordable_output(
        tariffs.retail,
        prompt_tokens=demand.prompt_tokens,
        budget_nano=budget,
        tier=demand.service_tier,
    )
    limit = min(affordable // demand.choices, demand.model_max_output_tokens)
    return price_of(demand, tariffs, limit), limit
