"""What billing and its callers hand each other: frozen values, no rows, no Django.

Amounts are integer nano-units (10⁻⁹ of the currency); rates are nano-units per 1,000,000 tokens.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from common.errors import AppError

CURRENCY = "USD"


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of one request in disjoint classes; the sum of all classes is what was used.

    `output_tokens` leaves out `reasoning_tokens`, `input_tokens` leaves out everything read from or
    written to a cache.
    """

    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    image_input_tokens: int = 0

    @property
    def prompt_tokens(self) -> int:
        """Input as the customer's `usage` shows it."""
        return (
            self.input_tokens
            + self.cache_read_tokens
            + self.cache_write_5m_tokens
            + self.cache_write_1h_tokens
            + self.audio_input_tokens
            + self.image_input_tokens
        )

    @property
    def completion_tokens(self) -> int:
        """Output as the customer's `usage` shows it."""
        return self.output_tokens + self.reasoning_tokens + self.audio_output_tokens


@dataclass(frozen=True, slots=True)
class Rates:
    """Nano-units per 1,000,000 tokens of each class; `per_request` in nano-units."""

    input: int
    output: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int
    reasoning: int
    audio_input: int
    audio_output: int
    image_input: int
    per_request: int = 0
    dearest_input: int = field(init=False)
    dearest_output: int = field(init=False)

    def __post_init__(self) -> None:
        """What a token of unknown class may cost at most; asked for on every request."""
        dearest_input = max(
            self.input,
            self.cache_read,
            self.cache_write_5m,
            self.cache_write_1h,
            self.audio_input,
            self.image_input,
        )
        object.__setattr__(self, "dearest_input", dearest_input)
        object.__setattr__(self, "dearest_output", max(self.output, self.reasoning, self.audio_output))


@dataclass(frozen=True, slots=True)
class Band:
    """Rates for the whole request once its prompt is longer than `over_prompt_tokens`."""

    over_prompt_tokens: int
    rates: Rates


@dataclass(frozen=True, slots=True)
class Tier:
    """A service tier by the vendor's name for it ("flex", "priority", "batch"), at all hours."""

    name: str
    rates: Rates
    bands: tuple[Band, ...] = ()


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of the UTC week at which the default tier costs this instead.

    `days` (0 is Monday) are those on which it begins; minutes of the UTC day, `to_minute` excluded. Where it
    is not after `from_minute`, the window ends on the next day.
    """

    days: frozenset[int]
    from_minute: int
    to_minute: int
    rates: Rates
    bands: tuple[Band, ...] = ()


@dataclass(frozen=True, slots=True)
class Tariff:
    """One price version as the money path uses it. `bands` ascend by `over_prompt_tokens`.

    The first of `windows` that a moment falls into decides; `billing.pricing.price_at` takes them out. With
    windows it is a price list, without them it is what a request costs.
    """

    version_id: int
    rates: Rates
    bands: tuple[Band, ...] = ()
    tiers: tuple[Tier, ...] = ()
    windows: tuple[Window, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelTariffs:
    """What a customer pays for a model, what its vendor charges for it, and what its reseller pays.

    `wholesale` is None for the house, whose wholesale is its retail, and where none was published.
    """

    retail: Tariff
    cost: Tariff | None
    wholesale: Tariff | None = None


@dataclass(frozen=True, slots=True)
class Dated:
    """What holds from `since` on, until the next one of a list. None: nothing is for sale."""

    since: datetime
    tariffs: ModelTariffs | None


@dataclass(frozen=True, slots=True)
class Payer:
    """Who pays for a request: the ids the usage record carries, and the member behind the API key."""

    organization_id: int
    reseller_id: int
    api_key_id: int
    member_id: int | None = None


@dataclass(frozen=True, slots=True)
class Demand:
    """What a request may cost at worst.

    `max_output_tokens` None: the caller set no limit, so `model_max_output_tokens` counts, lowered to
    what the wallet affords.
    """

    request_id: UUID
    payer: Payer
    model: str
    prompt_tokens: int
    max_output_tokens: int | None
    model_max_output_tokens: int
    choices: int = 1
    service_tier: str = ""


@dataclass(frozen=True, slots=True)
class HeldBudget:
    """The part of a hold that a budget bears, and the period it is charged to."""

    budget_id: int
    period_id: int
    generation: int


@dataclass(slots=True, eq=False)
class Hold:
    """Credit kept aside for one request, and what it was admitted under: prices and a moment."""

    request_id: UUID
    payer: Payer
    model: str
    tariffs: ModelTariffs
    admitted_at: datetime
    amount_nano: int
    max_output_tokens: int
    service_tier: str
    lease_generation: int
    budgets: tuple[HeldBudget, ...] = ()
    is_open: bool = True


class UsageSource(StrEnum):
    REPORTED = "reported"
    CLAMPED = "clamped"
    ESTIMATED = "estimated"
    NONE = "none"


class Ending(StrEnum):
    """How a request ended. `relay.endings` decides what each costs."""

    COMPLETE = "complete"
    LENGTH = "length"
    FILTERED = "filtered"
    VENDOR_ERROR = "vendor_error"
    CLIENT_GONE = "client_gone"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a request used, as the usage record keeps it. `service_tier` as the vendor named it, or ""."""

    usage: TokenUsage
    source: UsageSource
    ending: Ending
    channel: str
    upstream_model: str
    is_stream: bool
    first_output_at: datetime | None
    ended_at: datetime
    service_tier: str = ""


@dataclass(frozen=True, slots=True)
class UsageCharge:
    """What settling a request took from the wallet, in nano-units."""

    charge_nano: int
    cost_nano: int


class CreditRefused(AppError):
    """The wallet cannot carry the request's worst case. Nothing was held."""

    code = "credit_refused"
    http_status = 429


class WalletFrozen(CreditRefused):
    """There may be credit, but none may be spent now."""

    code = "wallet_frozen"


class BudgetExceeded(CreditRefused):
    """A budget cannot carry the request's worst case. `subject` is whose ("organization", "member",
    "api_key"), `period` how long ("day", "month", "total")."""

    code = "budget_exceeded"

    def __init__(self, message: str, *, subject: str, period: str) -> None:
        super().__init__(message)
        self.subject = subject
        self.period = period


class TierNotPriced(AppError):
    """The model has no price for the service tier that was asked for, so it cannot be served there."""

    code = "service_tier_not_priced"
    http_status = 400


class PriceMissing(AppError):
    """The model has no price in force for this reseller, so it cannot be served."""

    code = "price_missing"
    http_status = 404


class MoneyUnavailable(AppError):
    """The books cannot be reached. A hold that fails with it holds nothing."""

    code = "money_unavailable"
    http_status = 503
