"""What tokens cost. Pure integers: one exact sum over all classes, then one rounding, half to even.

What a request costs follows from its usage, its tariff, the moment it was admitted at and the service tier
that served it; the usage record keeps all four.
"""

from datetime import UTC, datetime

from billing.contracts import Band, Rates, Tariff, TokenUsage, Window
from common.money import TOKENS_PER_RATE, divide_half_even

UNBOUNDED_OUTPUT = 2**31
DAYS_PER_WEEK = 7


def price_at(tariff: Tariff, moment: datetime) -> Tariff:
    """The tariff without windows that holds at `moment`, which knows its zone."""
    if not tariff.windows:
        return tariff
    window = window_at(tariff, moment)
    if window is None:
        return Tariff(tariff.version_id, tariff.rates, tariff.bands, tariff.tiers)
    return Tariff(tariff.version_id, window.rates, window.bands, tariff.tiers)


def window_at(tariff: Tariff, moment: datetime) -> Window | None:
    """The first window that `moment` falls into. UTC knows no summer time, and nor does this."""
    moment = moment.astimezone(UTC)
    weekday, minute = moment.weekday(), moment.hour * 60 + moment.minute
    return next((window for window in tariff.windows if _is_open(window, weekday, minute)), None)


def _is_open(window: Window, weekday: int, minute: int) -> bool:
    if window.from_minute < window.to_minute:
        return weekday in window.days and window.from_minute <= minute < window.to_minute
    if minute >= window.from_minute:
        return weekday in window.days
    return minute < window.to_minute and (weekday - 1) % DAYS_PER_WEEK in window.days


def price_usage(usage: TokenUsage, tariff: Tariff, tier: str = "") -> int:
    """Nano-units for one request. `tariff` is of `price_at`; an unknown tier costs the default rates."""
    rates = rates_for(tariff, usage.prompt_tokens, tier)
    total = (
        usage.input_tokens * rates.input
        + usage.cache_read_tokens * rates.cache_read
        + usage.cache_write_5m_tokens * rates.cache_write_5m
        + usage.cache_write_1h_tokens * rates.cache_write_1h
        + usage.output_tokens * rates.output
        + usage.reasoning_tokens * rates.reasoning
        + usage.audio_input_tokens * rates.audio_input
        + usage.audio_output_tokens * rates.audio_output
        + usage.image_input_tokens * rates.image_input
    )
    return divide_half_even(total, TOKENS_PER_RATE) + rates.per_request


def band_for(tariff: Tariff, prompt_tokens: int, tier: str = "") -> Band | None:
    """The band that `rates_for` takes the rates from; None: the request is below all of them."""
    _, bands = _served_at(tariff, tier)
    return next((band for band in reversed(bands) if prompt_tokens > band.over_prompt_tokens), None)


def tier_for(tariff: Tariff, tier: str) -> str:
    """The tier whose price a request costs: its own where that has one, else "", the default."""
    return tier if any(one.name == tier for one in tariff.tiers) else ""


def rates_for(tariff: Tariff, prompt_tokens: int, tier: str = "") -> Rates:
    """The band the whole request falls into, by its whole prompt, cache included."""
    rates, bands = _served_at(tariff, tier) if tier else (tariff.rates, tariff.bands)
    for band in bands:
        if prompt_tokens > band.over_prompt_tokens:
            rates = band.rates
    return rates


def worst_price(tariff: Tariff, *, prompt_tokens: int, output_tokens: int, tier: str = "") -> int:
    """The most that `prompt_tokens` and `output_tokens` can cost, whatever classes they turn out to be.

    A vendor may serve the default tier where another was asked for, so the dearer of the two counts.
    """
    worst = _worst(tariff.rates, prompt_tokens, output_tokens)
    if tier or tariff.bands:
        for rates in _reachable(tariff, prompt_tokens, tier):
            worst = max(worst, _worst(rates, prompt_tokens, output_tokens))
    return worst


def affordable_output(tariff: Tariff, *, prompt_tokens: int, budget_nano: int, tier: str = "") -> int:
    """How many output tokens `budget_nano` certainly pays after the prompt; 0 means none."""
    spare = budget_nano - worst_price(tariff, prompt_tokens=prompt_tokens, output_tokens=0, tier=tier)
    if spare < 0:
        return 0
    dearest = max(rates.dearest_output for rates in _reachable(tariff, prompt_tokens, tier))
    return spare * TOKENS_PER_RATE // dearest if dearest else UNBOUNDED_OUTPUT


def _served_at(tariff: Tariff, tier: str) -> tuple[Rates, tuple[Band, ...]]:
    for one in tariff.tiers:
        if one.name == tier:
            return one.rates, one.bands
    return tariff.rates, tariff.bands


def _reachable(tariff: Tariff, prompt_tokens: int, tier: str) -> list[Rates]:
    """Every rate that a prompt of at most `prompt_tokens` may be charged at."""
    reachable = [tariff.rates]
    if tariff.bands:
        reachable += _begun(tariff.bands, prompt_tokens)
    if tier:
        rates, bands = _served_at(tariff, tier)
        reachable += [rates, *_begun(bands, prompt_tokens)]
    return reachable


def _begun(bands: tuple[Band, ...], prompt_tokens: int) -> list[Rates]:
    return [band.rates for band in bands if prompt_tokens > band.over_prompt_tokens]


def _worst(rates: Rates, prompt_tokens: int, output_tokens: int) -> int:
    total = prompt_tokens * rates.dearest_input + output_tokens * rates.dearest_output
    return -(-total // TOKENS_PER_RATE) + rates.per_request
