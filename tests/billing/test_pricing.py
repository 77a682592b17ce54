"""Price arithmetic: exact integers, one rounding, the whole request in one band, tier and window."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.contracts import Band, Rates, Tariff, Tier, TokenUsage, Window
from billing.pricing import affordable_output, price_at, price_usage, rates_for, window_at, worst_price
from billing.tariffs import complete_rates
from common.money import parse_nano

TOKENS = st.integers(min_value=0, max_value=10**7)
RATE = st.integers(min_value=0, max_value=10**12)


def tariff(**rates: int) -> Tariff:
    return Tariff(version_id=1, rates=complete_rates(rates))


CLASSES = [name for name, field in Rates.__dataclass_fields__.items() if field.init]
RATES = st.builds(Rates, **dict.fromkeys(CLASSES, RATE))
# "" is the default; no tariff knows the last.
TIERS = ("", "flex", "priority", "scale")
MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
MOMENTS = st.integers(0, 2 * 7 * 24 * 60 - 1).map(lambda minutes: MONDAY + timedelta(minutes=minutes))


@st.composite
def bands(draw: st.DrawFn) -> tuple[Band, ...]:
    thresholds = draw(st.lists(st.integers(1, 10**6), unique=True, max_size=3))
    return tuple(Band(over, draw(RATES)) for over in sorted(thresholds))


@st.composite
def windows(draw: st.DrawFn) -> Window:
    begin = draw(st.integers(0, 1439))
    end = draw(st.integers(0, 1440).filter(lambda minute: minute != begin))
    return Window(draw(st.frozensets(st.integers(0, 6), min_size=1)), begin, end, draw(RATES), draw(bands()))


@st.composite
def tariffs(draw: st.DrawFn) -> Tariff:
    names = draw(st.lists(st.sampled_from(TIERS[1:3]), unique=True))
    tiers = tuple(Tier(name, draw(RATES), draw(bands())) for name in names)
    return Tariff(1, draw(RATES), draw(bands()), tiers, tuple(draw(st.lists(windows(), max_size=3))))


@st.composite
def usages(draw: st.DrawFn, prompt: int, output: int) -> TokenUsage:
    """Any split of at most so many tokens over the classes."""
    counts = {}
    for names, most in ((INPUT, prompt), (OUTPUT, output)):
        left = draw(st.integers(0, most))
        for name in draw(st.permutations(names)):
            counts[name] = draw(st.integers(0, left))
            left -= counts[name]
    return TokenUsage(**counts)


_PROMPT = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "audio_input", "image_input")
INPUT = tuple(f"{name}_tokens" for name in _PROMPT)
OUTPUT = ("output_tokens", "reasoning_tokens", "audio_output_tokens")


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


def test_a_million_cheap_requests_cost_their_sum_to_the_nano() -> None:
    """37.5 nano-dollars a token: charged one by one in whole nanos, half to even."""
    cheap = tariff(input=parse_nano("0.0375"), output=0)
    counts = range(1, 10**6 + 1)
    charged = sum(price_usage(TokenUsage(input_tokens=count), cheap) for count in counts)
    exact = Fraction(sum(counts) * 75, 2)
    # Only odd counts end in half a nano. Those of 1 mod 4 are rounded up, those of 3 mod 4 down.
    # Of each there are as many, so that nothing is left over.
    assert charged == exact == 18_750_018_750_000


@given(tariffs(), st.lists(TOKENS, min_size=9, max_size=9), st.sampled_from(TIERS))
def test_price_is_the_exact_sum_rounded_once(tariff: Tariff, counts: list[int], tier: str) -> None:
    usage = TokenUsage(*counts)
    rates = rates_for(tariff, usage.prompt_tokens, tier)
    exact = rates.per_request + sum(
        Fraction(count * getattr(rates, name.removesuffix("_tokens")), 10**6)
        for name, count in zip(TokenUsage.__dataclass_fields__, counts, strict=True)
    )
    assert price_usage(usage, tariff, tier) == round(exact)


@given(RATES, st.lists(TOKENS, min_size=9, max_size=9), st.lists(TOKENS, min_size=9, max_size=9))
def test_more_tokens_never_cost_less(rates: Rates, counts: list[int], more: list[int]) -> None:
    flat = Tariff(1, rates)
    sums = [one + other for one, other in zip(counts, more, strict=True)]
    assert price_usage(TokenUsage(*sums), flat) >= price_usage(TokenUsage(*counts), flat)


@given(RATES, st.lists(TOKENS, min_size=9, max_size=9), st.lists(TOKENS, min_size=9, max_size=9))
def test_tokens_add_up_but_for_the_rounding(rates: Rates, counts: list[int], more: list[int]) -> None:
    flat = Tariff(1, rates)
    sums = [one + other for one, other in zip(counts, more, strict=True)]
    apart = price_usage(TokenUsage(*counts), flat) + price_usage(TokenUsage(*more), flat) - rates.per_request
    assert abs(price_usage(TokenUsage(*sums), flat) - apart) <= 1
    whole = [10**6 * count for count in counts]
    assert price_usage(TokenUsage(*whole), flat) == rates.per_request + sum(
        count * getattr(rates, name.removesuffix("_tokens"))
        for name, count in zip(TokenUsage.__dataclass_fields__, counts, strict=True)
    )


@given(tariffs(), MOMENTS, st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), st.data())
def test_worst_price_bounds_every_usage(
    tariff: Tariff, moment: datetime, most: tuple[int, int], data: st.DataObject
) -> None:
    """In any class and band, at the tier that was asked for and wherever the vendor served the default."""
    asked = data.draw(st.sampled_from(TIERS))
    served = data.draw(st.sampled_from(("", asked, "scale")))
    usage = data.draw(usages(*most))
    flat = price_at(tariff, moment)
    bound = worst_price(flat, prompt_tokens=most[0], output_tokens=most[1], tier=asked)
    assert price_usage(usage, flat, served) <= bound


@given(tariffs(), st.sampled_from(TIERS), st.integers(0, 10**6), st.integers(0, 10**12))
def test_affordable_output_is_within_the_budget(tariff: Tariff, tier: str, prompt: int, budget: int) -> None:
    tokens = affordable_output(tariff, prompt_tokens=prompt, budget_nano=budget, tier=tier)
    if tokens > 0:
        output = min(tokens, 10**7)
        assert worst_price(tariff, prompt_tokens=prompt, output_tokens=output, tier=tier) <= budget


def test_a_longer_prompt_moves_the_whole_request_to_the_band() -> None:
    base, long = (
        complete_rates({"input": 10**6, "output": 0}),
        complete_rates({"input": 2 * 10**6, "output": 0}),
    )
    banded = Tariff(1, base, (Band(100, long),))
    assert price_usage(TokenUsage(input_tokens=100), banded) == 100
    assert price_usage(TokenUsage(input_tokens=60, cache_read_tokens=41), banded) == 202


def rates_of(dollars: int) -> Rates:
    return complete_rates({"input": dollars * 10**9, "output": dollars * 10**9})


def test_a_tier_costs_its_own_rates_and_bands_and_an_unknown_one_the_defaults() -> None:
    flex = Tier("flex", rates_of(1), (Band(100, rates_of(2)),))
    tiered = Tariff(1, rates_of(3), (Band(100, rates_of(4)),), (flex,))
    prices = {
        tier: [price_usage(TokenUsage(input_tokens=count), tiered, tier) // count for count in (100, 101)]
        for tier in ("", "flex", "priority")
    }
    assert prices == {"": [3000, 4000], "flex": [1000, 2000], "priority": [3000, 4000]}


def test_what_is_held_is_the_dearer_of_the_tier_asked_for_and_the_default() -> None:
    tiered = Tariff(1, rates_of(3), (), (Tier("flex", rates_of(1)), Tier("priority", rates_of(5))))
    held = [
        worst_price(tiered, prompt_tokens=10**6, output_tokens=0, tier=tier) // 10**9
        for tier in ("", "flex", "priority", "scale")
    ]
    assert held == [3, 3, 5, 3]


class TestWindows:
    NIGHT = Window(frozenset({4}), 22 * 60, 6 * 60, rates_of(1))  # Friday 22:00 to Saturday 06:00
    FRIDAY = datetime(2026, 11, 27, tzinfo=UTC)

    def dollars_at(self, moment: datetime, *windows: Window) -> int:
        return price_at(Tariff(1, rates_of(9), windows=windows), moment).rates.input // 10**9

    @pytest.mark.parametrize(
        ("hours", "microseconds", "dollars"),
        [
            (22, -1, 9),
            (22, 0, 1),
            (24, -1, 1),
            (24, 0, 1),
            (30, -1, 1),
            (30, 0, 9),
            (46, 0, 9),  # Saturday evening is another day
            (-2, 0, 9),  # and so is Thursday
            (0, 0, 9),  # what began on Thursday would be open now
        ],
    )
    def test_a_window_over_midnight_belongs_to_the_day_it_begins_on(
        self, hours: int, microseconds: int, dollars: int
    ) -> None:
        moment = self.FRIDAY + timedelta(hours=hours, microseconds=microseconds)
        assert self.dollars_at(moment, self.NIGHT) == dollars

    def test_over_sunday_midnight_comes_monday(self) -> None:
        night = Window(frozenset({6}), 23 * 60, 60, rates_of(1))
        assert [self.dollars_at(MONDAY + timedelta(minutes=m), night) for m in (-61, -60, 59, 60)] == [
            9,
            1,
            1,
            9,
        ]

    def test_a_whole_day_is_from_midnight_to_midnight(self) -> None:
        monday = Window(frozenset({0}), 0, 1440, rates_of(1))
        edges = [
            timedelta(microseconds=-1),
            timedelta(0),
            timedelta(days=1, microseconds=-1),
            timedelta(days=1),
        ]
        assert [self.dollars_at(MONDAY + edge, monday) for edge in edges] == [9, 1, 1, 9]

    def test_the_first_window_that_is_open_decides(self) -> None:
        windows = [Window(frozenset(range(7)), 600, end, rates_of(end - 600)) for end in (601, 602)]
        assert [self.dollars_at(MONDAY + timedelta(minutes=m), *windows) for m in (600, 601, 602)] == [
            1,
            2,
            9,
        ]

    def test_a_window_brings_its_own_bands_or_none(self) -> None:
        whole = frozenset(range(7))
        priced = Tariff(
            1,
            rates_of(9),
            (Band(10, rates_of(20)),),
            windows=(
                Window(whole, 0, 60, rates_of(1), (Band(5, rates_of(2)),)),
                Window(whole, 60, 120, rates_of(3)),
            ),
        )
        found = [
            [rates_for(price_at(priced, MONDAY + timedelta(hours=h)), n).input // 10**9 for n in (5, 11)]
            for h in range(3)
        ]
        assert found == [[1, 2], [3, 3], [9, 20]]

    def test_a_tier_costs_the_same_at_all_hours(self) -> None:
        flex = Tier("flex", rates_of(4))
        priced = Tariff(1, rates_of(9), tiers=(flex,), windows=(self.NIGHT,))
        at_night = price_at(priced, self.FRIDAY + timedelta(hours=23))
        assert (rates_for(at_night, 1).input, rates_for(at_night, 1, "flex").input) == (10**9, 4 * 10**9)

    @pytest.mark.parametrize("day", [datetime(2026, 3, 27, tzinfo=UTC), datetime(2026, 10, 23, tzinfo=UTC)])
    def test_summer_time_changes_nothing(self, day: datetime) -> None:
        """The clocks of Berlin are put on or back on the Sunday after; the window goes by UTC."""
        early = Window(frozenset(range(7)), 60, 120, rates_of(1))
        berlin = ZoneInfo("Europe/Berlin")
        for minutes in range(0, 4 * 24 * 60, 30):
            moment = day + timedelta(minutes=minutes)
            expected = 1 if moment.hour == 1 else 9
            assert self.dollars_at(moment, early) == expected
            assert self.dollars_at(moment.astimezone(berlin), early) == expected

    def test_without_windows_the_tariff_is_what_it_was(self) -> None:
        plain = Tariff(1, rates_of(9))
        assert price_at(plain, MONDAY) is plain
        assert window_at(plain, MONDAY) is None

    @given(tariffs(), MOMENTS)
    def test_what_holds_at_a_moment_has_no_windows_left(self, tariff: Tariff, moment: datetime) -> None:
        flat = price_at(tariff, moment)
        assert (flat.windows, flat.version_id, flat.tiers) == ((), tariff.version_id, tariff.tiers)
        assert price_at(flat, moment) is flat
