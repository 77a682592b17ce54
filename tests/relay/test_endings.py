"""What each ending costs, as a table."""

import pytest

from billing.contracts import Ending, TokenUsage, UsageSource
from relay.endings import ending_of, usage_owed

REPORTED = TokenUsage(input_tokens=100, output_tokens=20)
ZERO = TokenUsage()
ESTIMATED = TokenUsage(input_tokens=11, output_tokens=3)  # of 41 and 9 bytes

NOTHING = None
AS_REPORTED = (REPORTED, UsageSource.REPORTED)
AS_ESTIMATED = (ESTIMATED, UsageSource.ESTIMATED)


@pytest.mark.parametrize(
    ("ending", "reported", "output_bytes", "owed"),
    [
        (Ending.COMPLETE, REPORTED, 9, AS_REPORTED),
        (Ending.COMPLETE, REPORTED, 0, AS_REPORTED),
        (Ending.COMPLETE, ZERO, 9, (ZERO, UsageSource.REPORTED)),
        (Ending.COMPLETE, None, 9, AS_ESTIMATED),
        (Ending.LENGTH, REPORTED, 9, AS_REPORTED),
        (Ending.LENGTH, None, 9, AS_ESTIMATED),
        (Ending.FILTERED, REPORTED, 0, AS_REPORTED),
        (Ending.FILTERED, None, 9, AS_ESTIMATED),
        (Ending.VENDOR_ERROR, REPORTED, 0, NOTHING),
        (Ending.VENDOR_ERROR, None, 0, NOTHING),
        (Ending.VENDOR_ERROR, REPORTED, 9, AS_REPORTED),
        (Ending.VENDOR_ERROR, None, 9, AS_ESTIMATED),
        (Ending.CLIENT_GONE, None, 0, NOTHING),
        (Ending.CLIENT_GONE, REPORTED, 9, AS_REPORTED),
        (Ending.CLIENT_GONE, None, 9, AS_ESTIMATED),
    ],
)
def test_usage_owed(
    ending: Ending,
    reported: TokenUsage | None,
    output_bytes: int,
    owed: tuple[TokenUsage, UsageSource] | None,
) -> None:
    found = usage_owed(ending=ending, reported=reported, prompt_bytes=41, output_bytes=output_bytes)
    assert found == owed


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
