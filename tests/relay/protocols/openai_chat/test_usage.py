from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.contracts import TokenUsage
from relay.protocols.openai_chat.usage import read_usage, usage_from_openai, usage_to_openai


def usage(prompt: Any, completion: Any, total: Any = None, **details: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total, **details}


def prompt_details(**counts: Any) -> dict[str, Any]:
    return {"prompt_tokens_details": counts}


def completion_details(**counts: Any) -> dict[str, Any]:
    return {"completion_tokens_details": counts}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (usage(28, 120, 148), TokenUsage(input_tokens=28, output_tokens=120)),
        (usage(0, 0, 0), TokenUsage()),
        (usage(28.0, 120.0), TokenUsage(input_tokens=28, output_tokens=120)),
        (
            usage(100, 50, 150, **prompt_details(cached_tokens=64)),
            TokenUsage(input_tokens=36, cache_read_tokens=64, output_tokens=50),
        ),
        (
            usage(100, 5, 105, **prompt_details(cached_tokens=60, cache_write_tokens=30)),
            TokenUsage(input_tokens=10, cache_read_tokens=60, cache_write_5m_tokens=30, output_tokens=5),
        ),
        (
            usage(
                100,
                5,
                **prompt_details(
                    cache_creation_input_tokens=30,
                    cache_creation={"ephemeral_1h_input_tokens": 20},
                ),
            ),
            TokenUsage(
                input_tokens=70,
                cache_write_5m_tokens=10,
                cache_write_1h_tokens=20,
                output_tokens=5,
            ),
        ),
        (
            usage(100, 50, **prompt_details(audio_tokens=30, image_tokens=20)),
            TokenUsage(input_tokens=50, audio_input_tokens=30, image_input_tokens=20, output_tokens=50),
        ),
        (
            usage(10, 105, 115, **completion_details(reasoning_tokens=100)),
            TokenUsage(input_tokens=10, output_tokens=5, reasoning_tokens=100),
        ),
        (
            usage(10, 50, **completion_details(audio_tokens=20, rejected_prediction_tokens=5)),
            TokenUsage(input_tokens=10, output_tokens=30, audio_output_tokens=20),
        ),
        (usage(7, 2, 9, prompt_tokens_details=None), TokenUsage(input_tokens=7, output_tokens=2)),
    ],
)
def test_inclusive_counts_become_disjoint_classes(raw: Any, expected: TokenUsage) -> None:
    assert usage_from_openai(raw) == expected


def test_reasoning_beside_the_completion_is_added_when_the_total_says_so() -> None:
    raw = usage(10, 5, 115, **completion_details(reasoning_tokens=100))
    assert usage_from_openai(raw) == TokenUsage(input_tokens=10, output_tokens=5, reasoning_tokens=100)


def test_reasoning_is_part_of_the_completion_when_the_total_says_so() -> None:
    raw = usage(10, 5, 15, **completion_details(reasoning_tokens=100))
    report = read_usage(raw)
    assert report is not None
    assert report.usage.completion_tokens == 5
    assert report.clamped


def test_deepseek_counts_hits_and_misses() -> None:
    raw = usage(100, 7, 107, prompt_cache_hit_tokens=64, prompt_cache_miss_tokens=36)
    expected = TokenUsage(input_tokens=36, cache_read_tokens=64, output_tokens=7)
    assert usage_from_openai(raw) == expected
    assert usage_from_openai({**raw, "prompt_tokens": None}) == expected
    assert usage_from_openai({**raw, **prompt_details(cached_tokens=64)}) == expected
    assert usage_from_openai({**raw, **prompt_details(cached_tokens=0)}) == expected


@pytest.mark.parametrize(
    "raw",
    [
        None,
        {},
        [],
        "usage",
        usage(None, None),
        usage(10, None),
        usage(None, 10),
        usage("10", "5"),
        usage(True, False),
        usage(1.5, 2.5),
        usage(10**15, 5),
        {"total_tokens": 10},
    ],
)
def test_what_is_missing_is_not_zero(raw: Any) -> None:
    assert usage_from_openai(raw) is None


def test_a_missing_half_follows_from_the_total() -> None:
    assert usage_from_openai(usage(7, None, 9)) == TokenUsage(input_tokens=7, output_tokens=2)
    assert usage_from_openai(usage(None, 2, 9)) == TokenUsage(input_tokens=7, output_tokens=2)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (usage(-5, 7), TokenUsage(output_tokens=7)),
        (usage(5, -7), TokenUsage(input_tokens=5)),
        (
            usage(5, 7, **prompt_details(cached_tokens=-3)),
            TokenUsage(input_tokens=5, output_tokens=7),
        ),
        (
            usage(5, 7, **prompt_details(cached_tokens=9, cache_write_tokens=9)),
            TokenUsage(cache_read_tokens=5, output_tokens=7),
        ),
    ],
)
def test_impossible_counts_are_corrected_and_flagged(raw: Any, expected: TokenUsage) -> None:
    report = read_usage(raw)
    assert report is not None
    assert (report.usage, report.clamped) == (expected, True)


def test_possible_counts_are_not_flagged() -> None:
    report = read_usage(usage(100, 50, 150, **prompt_details(cached_tokens=100)))
    assert report is not None
    assert not report.clamped


def test_the_customer_sees_inclusive_counts() -> None:
    shown = usage_to_openai(
        TokenUsage(
            input_tokens=10,
            cache_read_tokens=20,
            cache_write_5m_tokens=3,
            cache_write_1h_tokens=4,
            output_tokens=5,
            reasoning_tokens=6,
        )
    )
    assert shown == {
        "prompt_tokens": 37,
        "completion_tokens": 11,
        "total_tokens": 48,
        "prompt_tokens_details": {
            "cached_tokens": 20,
            "cache_write_tokens": 7,
            "cache_write_1h_tokens": 4,
        },
        "completion_tokens_details": {"reasoning_tokens": 6},
    }


counts = st.integers(0, 10**7)
usages = st.builds(
    TokenUsage,
    input_tokens=counts,
    cache_read_tokens=counts,
    cache_write_5m_tokens=counts,
    output_tokens=counts,
    reasoning_tokens=counts,
    audio_input_tokens=counts,
    audio_output_tokens=counts,
    image_input_tokens=counts,
)


@given(usages)
def test_what_the_customer_sees_is_what_we_bill(billed: TokenUsage) -> None:
    assert usage_from_openai(usage_to_openai(billed)) == billed


scalars = st.none() | st.booleans() | st.integers(-50, 50) | st.floats() | st.just("7")
details = st.dictionaries(
    st.sampled_from(["cached_tokens", "cache_write_tokens", "reasoning_tokens", "audio_tokens"]),
    scalars,
)
FIELD_NAMES = [
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "prompt_tokens_details",
    "completion_tokens_details",
    "prompt_cache_hit_tokens",
    "prompt_cache_miss_tokens",
]


@given(st.dictionaries(st.sampled_from(FIELD_NAMES), scalars | details))
def test_no_report_makes_a_negative_count(raw: dict[str, Any]) -> None:
    report = read_usage(raw)
    if report is not None:
        assert min(getattr(report.usage, name) for name in TokenUsage.__slots__) >= 0
