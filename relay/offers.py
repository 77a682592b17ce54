"""What can be called now: the catalogue as one frozen snapshot per process, read in one go."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import structlog

from common.sealing import SealBroken
from relay.adapters import ADAPTERS, is_served
from relay.capabilities import ModelTraits, TraitsInvalid, read_traits, with_abilities
from relay.errors import ModelNotFound
from relay.models import Channel, LifecycleState, Model
from relay.routing import Target

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Offer:
    """A model that can be called. `created` is Unix seconds."""

    model: str
    owned_by: str
    created: int
    context_window: int
    max_output_tokens: int
    successor: str
    is_deprecated: bool
    shutdown_on: date | None
    targets: tuple[Target, ...]


class OfferBook:
    """Offers by model name, and the successors of what is no longer offered."""

    def __init__(self, offers: Mapping[str, Offer], successors: Mapping[str, str]) -> None:
        self.offers = offers
        self._successors = successors

    def find(self, model: str) -> Offer:
        """Raises ModelNotFound; a retired model's message names its successor."""
        offer = self.offers.get(model)
        if offer is None:
            raise model_not_found(model, self._successors.get(model, ""))
        return offer


def model_not_found(model: str, successor: str = "") -> ModelNotFound:
    shown = model if len(model) <= 100 else model[:100] + "…"
    if successor:
        return ModelNotFound(f"The model '{shown}' has been retired; use '{successor}' instead.")
    return ModelNotFound(f"The model '{shown}' does not exist or is not offered here.")


def load_offer_book() -> OfferBook:
    channels = {
        channel.pk: channel
        for channel in Channel.objects.filter(is_enabled=True)
        if channel.has_credential and is_served(channel.vendor)
    }
    api_keys = {pk: _open(channel) for pk, channel in channels.items()}
    offers, successors = {}, {}
    for model in Model.objects.prefetch_related("route_set"):
        if model.lifecycle == LifecycleState.RETIRED:
            successors[model.name] = model.successor
        elif model.is_enabled and (targets := _targets(model, channels, api_keys)):
            offers[model.name] = _offer(model, targets)
    return OfferBook(offers, successors)


def _open(channel: Channel) -> tuple[str, ...]:
    """A channel whose credential does not open is out of use, and the others go on."""
    try:
        return channel.open_api_keys()
    except SealBroken as error:
        log.error("channel_unusable", channel=channel.name, error=error.message)  # noqa: TRY400 - the message says it all
        return ()


def _targets(
    model: Model, channels: Mapping[int, Channel], api_keys: Mapping[int, tuple[str, ...]]
) -> tuple[Target, ...]:
    return tuple(
        Target(
            channel=channel.name,
            vendor=channel.vendor,
            base_url=channel.base_url.rstrip("/"),
            api_keys=api_keys[channel.pk],
            upstream_model=route.upstream_model,
            priority=channel.priority,
            weight=channel.weight,
            timeout_first_token_s=channel.timeout_first_token_s,
            traits=traits,
        )
        for route in model.route_set.all()
        if (channel := channels.get(route.channel_id)) is not None
        and api_keys[channel.pk]
        and (traits := _traits(model, channel.vendor)) is not None
    )


def _traits(model: Model, vendor: str) -> ModelTraits | None:
    """None where the catalogue says something that this vendor's adapter cannot mean."""
    said = {"max_tokens_field": model.max_tokens_field, "max_output": model.max_output_tokens}
    try:
        able = with_abilities(ADAPTERS[vendor].traits, model.capabilities)
        return read_traits(said | model.traits, able)
    except TraitsInvalid as error:
        log.error("model_unusable", model=model.name, error=str(error))  # noqa: TRY400 - the message says it all
        return None


def _offer(model: Model, targets: tuple[Target, ...]) -> Offer:
    return Offer(
        model=model.name,
        owned_by=model.owned_by,
        created=int(model.created_at.timestamp()),
        context_window=model.context_window,
        max_output_tokens=model.max_output_tokens,
        successor=model.successor,
        is_deprecated=model.lifecycle == LifecycleState.DEPRECATED,
        shutdown_on=model.shutdown_on,
        targets=targets,
    )
