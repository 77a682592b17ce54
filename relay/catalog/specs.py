"""What a catalogue file says, as frozen values.

Rates are integer nano-units per 1,000,000 tokens (`per_request`: nano-units per request). A card
holds only the classes its file names; what an unnamed class costs is billing's decision.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class ChannelSpec:
    """One upstream credential. No `api_keys`: the channel is known but cannot be used yet."""

    name: str
    vendor: str
    base_url: str
    api_keys: tuple[str, ...] = field(repr=False)
    priority: int
    weight: int
    timeout_first_token_s: float
    max_concurrency: int


@dataclass(frozen=True, slots=True)
class RouteSpec:
    channel: str
    upstream_model: str


class LifecycleState(StrEnum):
    """Where the vendor stands with a model, not whether it is offered."""

    ACTIVE = "active"
    DEPRECATED = "deprecated"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """`shutdown` is the vendor's last day, where known; `successor` is a model id."""

    state: LifecycleState = LifecycleState.ACTIVE
    shutdown: date | None = None
    successor: str | None = None


@dataclass(frozen=True, slots=True)
class BandSpec:
    """Rates for the whole request once its prompt, cache included, is longer than the threshold."""

    over_prompt_tokens: int
    rates: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """Rates of certain hours: minutes of the UTC day, `to_minute` excluded, at most 1440.

    `days` are those on which it begins; one that does not end after it begins ends on the next day.
    """

    days: tuple[str, ...]
    from_minute: int
    to_minute: int
    rates: Mapping[str, int]
    bands: tuple[BandSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class TierSpec:
    """Rates of a service tier, by the vendor's name for it, at all hours."""

    name: str
    rates: Mapping[str, int]
    bands: tuple[BandSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class RateCard:
    """Prices of one model. `bands` ascend; of `windows` the first that is open decides.

    `override_reason` allows a price below cost.
    """

    rates: Mapping[str, int]
    bands: tuple[BandSpec, ...] = ()
    windows: tuple[WindowSpec, ...] = ()
    tiers: tuple[TierSpec, ...] = ()
    override_reason: str = ""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What customers name in `model`. No `price`: known, but not to be offered."""

    id: str
    owned_by: str
    routes: tuple[RouteSpec, ...]
    context_window: int
    max_output_tokens: int
    max_tokens_field: str
    capabilities: tuple[str, ...]
    traits: Mapping[str, object]
    lifecycle: Lifecycle
    price: RateCard | None
    cost: RateCard | None
    wholesale: RateCard | None = None


@dataclass(frozen=True, slots=True)
class Catalog:
    channels: tuple[ChannelSpec, ...]
    models: tuple[ModelSpec, ...]
