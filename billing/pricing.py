"""What tokens cost. Pure integers: one exact sum over all classes, then one rounding, half to even."""

from billing.contracts import Rates, Tariff, TokenUsage
from common.money import TOKENS_PER_RATE, divide_half_even

UNBOUNDED_OUTPUT = 2**31


def price_usage(usage: TokenUsage, tariff: Tariff) -> int:
    """Nano-units for one request."""
    rates = rates_for(tariff, usage.prompt_tokens)
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


def rates_for(tariff: Tariff, prompt_tokens: int) -> Rates:
    """The band the whole request falls into, by its whole prompt, cache included."""
    rates = tariff.rates
    for band in tariff.bands:
        if prompt_tokens > band.over_prompt_tokens:
            rates = band.rates
    return rates


def worst_price(tariff: Tariff, *, prompt_tokens: int, output_tokens: int) -> int:
    """The most that `prompt_tokens` and `output_tokens` can cost, whatever classes they turn out to be."""
    worst = _worst(tariff.rates, prompt_tokens, output_tokens)
    for rates in _reachable_bands(tariff, prompt_tokens):
        worst = max(worst, _worst(rates, prompt_tokens, output_tokens))
    return worst


def affordable_output(tariff: Tariff, *, prompt_tokens: int, budget_nano: int) -> int:
    """How many output tokens `budget_nano` certainly pays after the prompt; 0 means none."""
    spare = budget_nano - worst_price(tariff, prompt_tokens=prompt_tokens, output_tokens=0)
    if spare < 0:
        return 0
    reachable = (tariff.rates, *_reachable_bands(tariff, prompt_tokens))
    dearest = max(rates.dearest_output for rates in reachable)
    return spare * TOKENS_PER_RATE // dearest if dearest else UNBOUNDED_OUTPUT


def _reachable_bands(tariff: Tariff, prompt_tokens: int) -> list[Rates]:
    return [band.rates for band in tariff.bands if prompt_tokens > band.over_prompt_tokens]


def _worst(rates: Rates, prompt_tokens: int, output_tokens: int) -> int:
    total = prompt_tokens * rates.dearest_input + output_tokens * rates.dearest_output
    return -(-total // TOKENS_PER_RATE) + rates.per_request
