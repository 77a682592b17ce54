"""What each ending costs, as a table."""

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.contracts import Ending, TokenUsage, UsageSource
from relay.contracts import ReportedUsage
from relay.endings import UsageBounds, bounded, ending_of, usage_owed

REPORTED = TokenUsage(input_tokens=100, output_tokens=20)
ZERO = TokenUsage()
ESTIMATED = TokenUsage(input_tokens=11, output_tokens=3)  # of 41 and 9 bytes

BOUNDS = UsageBounds(prompt_tokens=1_000, output_tokens=500)

NOTHING = None
AS_REPORTED = (REPORTED, UsageSource.REPORTED)
AS_ESTIMATED = (ESTIMATED, UsageSource.ESTIMATED)
PARTIAL = TokenUsage(input_tokens=100)
FREE = (ZERO, UsageSource.REPORTED)
FINISHED = (Ending.COMPLETE, Ending.LENGTH, Ending.FILTERED)
CUT_OFF = (Ending.VENDOR_ERROR, Ending.CLIENT_GONE)


@pytest.mark.parametrize(
    ("endings", "reported", "output_bytes", "owed"),
    [
        (FINISHED, REPORTED, 9, AS_REPORTED),
        (FINISHED, REPORTED, 0, AS_REPORTED),
        (FINISHED, PARTIAL, 9, (PARTIAL, UsageSource.REPORTED)),
        (FINISHED, ZERO, 9, FREE),
        (FINISHED, ZERO, 0, FREE),
        (FINISHED, None, 9, AS_ESTIMATED),
        (FINISHED, None, 0, (TokenUsage(input_tokens=11), UsageSource.ESTIMATED)),
        (CUT_OFF, REPORTED, 9, AS_REPORTED),
        (CUT_OFF, REPORTED, 0, NOTHING),
        (CUT_OFF, PARTIAL, 9, (PARTIAL, UsageSource.REPORTED)),
        (CUT_OFF, ZERO, 9, FREE),
        (CUT_OFF, ZERO, 0, NOTHING),
        (CUT_OFF, None, 9, AS_ESTIMATED),
        (CUT_OFF, None, 0, NOTHING),
    ],
)
def test_usage_owed(
    endings: tuple[Ending, ...],
    reported: TokenUsage | None,
    output_bytes: int,
    owed: tuple[TokenUsage, UsageSource] | None,
) -> None:
    report = None if reported is None else ReportedUsage(reported, clamped=False)
    for ending in endings:
        assert owed == usage_owed(
            ending=ending, reported=report, prompt_bytes=41, output_bytes=output_bytes, bounds=BOUNDS
        )


def test_what_the_reader_had_to_correct_is_marked() -> None:
    found = usage_owed(
        ending=Ending.COMPLETE,
        reported=ReportedUsage(REPORTED, clamped=True),
        prompt_bytes=41,
        output_bytes=9,
        bounds=BOUNDS,
    )
    assert found == (REPORTED, UsageSource.CLAMPED)


@pytest.mark.parametrize(
    ("reported", "charged"),
    [
        (TokenUsage(input_tokens=1 << 39), TokenUsage(input_tokens=1_000)),
        (
            TokenUsage(input_tokens=600, cache_read_tokens=900, output_tokens=501),
            TokenUsage(input_tokens=100, cache_read_tokens=900, output_tokens=500),
        ),
        (
            TokenUsage(output_tokens=10, reasoning_tokens=1 << 39),
            TokenUsage(output_tokens=0, reasoning_tokens=500),
        ),
    ],
)
def test_the_impossible_is_lowered_to_the_possible_and_marked(
    reported: TokenUsage, charged: TokenUsage
) -> None:
    found = usage_owed(
        ending=Ending.COMPLETE,
        reported=ReportedUsage(reported, clamped=False),
        prompt_bytes=41,
        output_bytes=9,
        bounds=BOUNDS,
    )
    assert found == (charged, UsageSource.CLAMPED)


@given(st.builds(TokenUsage, *[st.integers(0, 3_000)] * 9))
def test_bounding_never_adds_and_never_exceeds(usage: TokenUsage) -> None:
    lowered = bounded(usage, BOUNDS)
    assert all(getattr(lowered, f.name) <= getattr(usage, f.name) for f in fields(TokenUsage))
    assert lowered.prompt_tokens == min(usage.prompt_tokens, 1_000)
    assert lowered.completion_tokens == min(usage.completion_tokens, 500)


@pytest.mark.parametrize(
    ("reasons", "ending"),
    [
        (("stop",), Ending.COMPLETE),
        (("tool_calls", "stop"), Ending.COMPLETE),
        (("stop", "length"), Ending.LENGTH),
        (("content_filter",), Ending.FILTERED),
        ((), Ending.COMPLETE),
    ],
)
def test_ending_of(reasons: tuple[str, ...], ending: Ending) -> None:
    assert ending_of(reasons) == ending
