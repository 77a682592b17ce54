"""Price arithmetic: exact integers, one rounding, the whole request in one band."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.contracts import Band, Rates, Tariff, TokenUsage
from billing.pricing import affordable_output, price_usage, rates_for, worst_price
from billing.tariffs import complete_rates
from common.money import parse_nano

TOKENS = st.integers(min_value=0, max_value=10**7)
RATE = st.integers(min_value=0, max_value=10**12)


def tariff(**rates: int) -> Tariff:
    return Tariff(version_id=1, rates=complete_rates(rates))


@st.composite
def tariffs(draw: st.DrawFn) -> Tariff:
    names = [name for name, field in Rates.__dataclass_fields__.items() if field.init]
    rates = Rates(**{name: draw(RATE) for name in names})
    bands = draw(st.lists(st.integers(1, 10**6), unique=True, max_size=3))
    return Tariff(
        1, rates, tuple(Band(over, Rates(**{name: draw(RATE) for name in names})) for over in sorted(bands))
    )


@pytest.mark.parametrize(
    ("usage", "nano"),
    [
        (TokenUsage(input_tokens=1), 38),
        (TokenUsage(input_tokens=1_234, output_tokens=567, cache_read_tokens=89), 132_159),
        (TokenUsage(), 0),
    ],
)
def test_cheap_tokens_cost_nanos(usage: TokenUsage, nano: int) -> None:
    cheap = tariff(input=parse_nano("0.0375"), output=parse_nano("0.15"), cache_read=parse_nano("0.009375"))
    assert price_usage(usage, cheap) == nano


def test_half_a_nano_rounds_to_even() -> None:
    half = tariff(input=500_000, output=0)
    assert [price_usage(TokenUsage(input_tokens=count), half) for count in (1, 3, 5)] == [0, 2, 2]


@given(tariffs(), st.lists(TOKENS, min_size=9, max_size=9))
def test_price_is_the_exact_sum_rounded_once(tariff: Tariff, counts: list[int]) -> None:
    usage = TokenUsage(*counts)
    rates = rates_for(tariff, usage.prompt_tokens)
    exact = rates.per_request + sum(
        Fraction(count * getattr(rates, name.removesuffix("_tokens")), 10**6)
        for name, count in zip(TokenUsage.__dataclass_fields__, counts, strict=True)
    )
    assert price_usage(usage, tariff) == round(exact)


@given(tariffs(), st.integers(0, 10**6), st.integers(0, 10**6), st.data())
def test_worst_price_bounds_every_usage(
    tariff: Tariff, prompt: int, output: int, data: st.DataObject
) -> None:
    input_tokens = data.draw(st.integers(0, prompt))
    output_tokens = data.draw(st.integers(0, output))
    usage = TokenUsage(
        input_tokens=input_tokens,
        cache_write_1h_tokens=prompt - input_tokens,
        output_tokens=output_tokens,
        reasoning_tokens=output - output_tokens,
    )
    assert price_usage(usage, tariff) <= worst_price(tariff, prompt_tokens=prompt, output_tokens=output)


@given(tariffs(), st.integers(0, 10**6), st.integers(0, 10**12))
def test_affordable_output_is_within_the_budget(tariff: Tariff, prompt: int, budget: int) -> None:
    tokens = affordable_output(tariff, prompt_tokens=prompt, budget_nano=budget)
    if tokens > 0:
        assert worst_price(tariff, prompt_tokens=prompt, output_tokens=min(tokens, 10**7)) <= budget


def test_a_longer_prompt_moves_the_whole_request_to_the_band() -> None:
    base, long = (
        complete_rates({"input": 10**6, "output": 0}),
        complete_rates({"input": 2 * 10**6, "output": 0}),
    )
    banded = Tariff(1, base, (Band(100, long),))
    assert price_usage(TokenUsage(input_tokens=100), banded) == 100
    assert price_usage(TokenUsage(input_tokens=60, cache_read_tokens=41), banded) == 202
