"""What operators do with traffic."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import models, transaction

from common.broadcast import announce_on_commit
from common.sealing import is_sealed_by_first_key
from relay.catalog.specs import ChannelSpec, ModelSpec
from relay.models import Channel, Model, Route


@transaction.atomic
def apply_channels_and_models(*, channels: Iterable[ChannelSpec], specs: Iterable[ModelSpec]) -> list[str]:
    """Make channels, models and routes what the specs say; those that no spec names stay as they are.

    Returns a line for each difference; none when everything was so already. Credentials are compared, and
    never shown.
    """
    changes: list[str] = []
    for channel in channels:
        changes += _apply_channel(channel)
    for spec in specs:
        changes += _apply_model(spec)
    if changes:
        announce_on_commit("catalog")
    return changes


@transaction.atomic
def reseal_credentials() -> int:
    """Seal every channel's credential under the first key of the ring; returns how many were not yet.

    Raises SealBroken, and changes nothing, when one does not open.
    """
    resealed = 0
    for channel in Channel.objects.select_for_update().exclude(sealed_api_keys=None).order_by("pk"):
        if not is_sealed_by_first_key(bytes(channel.sealed_api_keys or b"")):
            channel.set_api_keys(channel.open_api_keys())
            channel.save(update_fields=["sealed_api_keys"])
            resealed += 1
    return resealed


def _apply_channel(spec: ChannelSpec) -> list[str]:
    channel = Channel.objects.select_for_update().filter(name=spec.name).first()
    is_new = channel is None
    if channel is None:
        channel = Channel(name=spec.name)
    changes = _assign(
        channel,
        {
            "vendor": spec.vendor,
            "base_url": spec.base_url,
            "priority": spec.priority,
            "weight": spec.weight,
            "timeout_first_token_s": spec.timeout_first_token_s,
            "max_concurrency": spec.max_concurrency,
        },
    )
    if channel.open_api_keys() != spec.api_keys:
        channel.set_api_keys(spec.api_keys)
        changes.append("credential")
    return _save(channel, f"channel {spec.name}", changes, is_new=is_new)


def _apply_model(spec: ModelSpec) -> list[str]:
    model = Model.objects.select_for_update().filter(name=spec.id).first()
    is_new = model is None
    if model is None:
        model = Model(name=spec.id)
    changes = _assign(
        model,
        {
            "owned_by": spec.owned_by,
            "context_window": spec.context_window,
            "max_output_tokens": spec.max_output_tokens,
            "max_tokens_field": spec.max_tokens_field,
            "capabilities": list(spec.capabilities),
            "traits": dict(spec.traits),
            "lifecycle": str(spec.lifecycle.state),
            "shutdown_on": spec.lifecycle.shutdown,
            "successor": spec.lifecycle.successor or "",
        },
    )
    lines = _save(model, f"model {spec.id}", changes, is_new=is_new)
    return lines + _apply_routes(model, spec)


def _apply_routes(model: Model, spec: ModelSpec) -> list[str]:
    wanted = {(route.channel, route.upstream_model) for route in spec.routes}
    current = {(route.channel.name, route.upstream_model): route for route in _routes(model)}
    changes = []
    for channel, upstream_model in sorted(wanted - set(current)):
        Route.objects.create(
            model=model, channel=Channel.objects.get(name=channel), upstream_model=upstream_model
        )
        changes.append(f"+ route {spec.id} → {channel}/{upstream_model}")
    for key in sorted(set(current) - wanted):
        current[key].delete()
        changes.append(f"- route {spec.id} → {key[0]}/{key[1]}")
    return changes


def _routes(model: Model) -> models.QuerySet[Route]:
    return Route.objects.filter(model=model).select_related("channel")


def _assign(row: models.Model, values: Mapping[str, Any]) -> list[str]:
    """Set what differs; returns the names."""
    changed = [name for name, value in values.items() if getattr(row, name) != value]
    for name in changed:
        setattr(row, name, values[name])
    return changed


def _save(row: models.Model, title: str, changes: list[str], *, is_new: bool) -> list[str]:
    if is_new:
        row.save()
        return [f"+ {title}"]
    if not changes:
        return []
    row.save()
    return [f"~ {title}: {', '.join(changes)}"]
