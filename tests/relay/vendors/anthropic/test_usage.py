"""Counts of the vendor, as the classes we charge by."""

from typing import Any

import pytest

from billing.contracts import TokenUsage
from relay.contracts import ReportedUsage
from relay.vendors.anthropic import read_usage
from relay.vendors.anthropic.usage import read_service_tier


def reported(**counts: Any) -> ReportedUsage:
    report = read_usage({"input_tokens": 10, "output_tokens": 20, **counts})
    assert report is not None
    return report


def test_input_leaves_out_the_cache_already() -> None:
    report = reported(cache_read_input_tokens=1000, cache_creation_input_tokens=200)
    assert report.usage == TokenUsage(
        input_tokens=10, cache_read_tokens=1000, cache_write_5m_tokens=200, output_tokens=20
    )
    assert report.usage.prompt_tokens == 1210
    assert not report.clamped


def test_cache_writes_are_told_apart_by_their_lifetime() -> None:
    lifetimes = {"ephemeral_5m_input_tokens": 150, "ephemeral_1h_input_tokens": 50}
    for total in ({"cache_creation_input_tokens": 200}, {}):
        usage = reported(cache_creation=lifetimes, **total).usage
        assert (usage.cache_write_5m_tokens, usage.cache_write_1h_tokens) == (150, 50)


def test_thinking_is_a_part_of_the_output() -> None:
    usage = reported(output_tokens_details={"thinking_tokens": 15}).usage
    assert (usage.output_tokens, usage.reasoning_tokens, usage.completion_tokens) == (5, 15, 20)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"input_tokens": -5}, TokenUsage(output_tokens=20)),
        ({"cache_read_input_tokens": -1}, TokenUsage(input_tokens=10, output_tokens=20)),
        (
            {"output_tokens_details": {"thinking_tokens": 30}},
            TokenUsage(input_tokens=10, reasoning_tokens=20),
        ),
        (
            {"cache_creation_input_tokens": 100, "cache_creation": {"ephemeral_1h_input_tokens": 300}},
            TokenUsage(input_tokens=10, output_tokens=20, cache_write_1h_tokens=100),
        ),
        (
            {
                "cache_creation_input_tokens": 100,
                "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 30},
            },
            TokenUsage(input_tokens=10, output_tokens=20, cache_write_5m_tokens=70, cache_write_1h_tokens=30),
        ),
    ],
)
def test_impossible_counts_are_corrected_and_marked(counts: dict[str, Any], expected: TokenUsage) -> None:
    report = reported(**counts)
    assert report.usage == expected
    assert report.clamped


@pytest.mark.parametrize(
    "raw",
    [None, 5, [], {}, {"input_tokens": 1}, {"output_tokens": 1}, {"input_tokens": "1", "output_tokens": 2}],
)
def test_no_report_is_not_a_report_of_nothing(raw: object) -> None:
    assert read_usage(raw) is None


@pytest.mark.parametrize("count", [1 << 50, 1.5, "7", True, None, {}])
def test_what_is_no_count_was_not_reported(count: object) -> None:
    assert read_usage({"input_tokens": count, "output_tokens": 1}) is None
    assert reported(cache_read_input_tokens=count).usage.cache_read_tokens == 0


def test_an_explicit_zero_is_a_fact() -> None:
    assert read_usage({"input_tokens": 0, "output_tokens": 0}) == ReportedUsage(TokenUsage(), clamped=False)


def test_whole_decimals_are_counts() -> None:
    assert reported(input_tokens=12.0).usage.input_tokens == 12


@pytest.mark.parametrize(
    ("raw", "tier"),
    [
        ({"service_tier": "standard"}, "default"),
        ({"service_tier": "priority"}, "priority"),
        ({}, ""),
        (None, ""),
    ],
)
def test_the_tier_that_was_used(raw: object, tier: str) -> None:
    assert read_service_tier(raw) == tier
