"""The shapes in which commands print rows; scripts rely on them."""

from typing import Any

from billing.models import UsageRecord, Wallet
from common.ids import public_id


def wallet_as_json(wallet: Wallet) -> dict[str, Any]:
    return {
        "posted_nano": wallet.posted,
        "pending_nano": wallet.pending,
        "available_nano": wallet.available,
        "currency": wallet.currency,
    }


def usage_as_json(record: UsageRecord) -> dict[str, Any]:
    """`prompt_tokens` and `completion_tokens` are the sums the customer saw; the classes are disjoint."""
    return {
        "request_id": public_id("req", record.request_id),
        "organization": record.organization_id,
        "api_key": record.api_key_id,
        "model": record.model,
        "channel": record.channel,
        "upstream_model": record.upstream_model,
        "prompt_tokens": record.prompt_tokens,
        "completion_tokens": record.completion_tokens,
        "input_tokens": record.input_tokens,
        "cache_read_tokens": record.cache_read_tokens,
        "cache_write_5m_tokens": record.cache_write_5m_tokens,
        "cache_write_1h_tokens": record.cache_write_1h_tokens,
        "output_tokens": record.output_tokens,
        "reasoning_tokens": record.reasoning_tokens,
        "audio_input_tokens": record.audio_input_tokens,
        "audio_output_tokens": record.audio_output_tokens,
        "image_input_tokens": record.image_input_tokens,
        "charge_nano": record.charge_nano,
        "uncollected_nano": record.uncollected_nano,
        "cost_nano": record.cost_nano,
        "usage_source": record.usage_source,
        "ending": record.ending,
        "started_at": record.started_at.isoformat(),
        "ended_at": record.ended_at.isoformat(),
    }
