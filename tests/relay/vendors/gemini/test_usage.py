"""The vendor's counts as classes that can be priced one by one."""

from typing import Any

import pytest

from billing.contracts import TokenUsage
from relay.contracts import ReportedUsage
from relay.vendors.gemini import read_usage


def counted(raw: dict[str, Any]) -> TokenUsage:
    report = read_usage(raw)
    assert report is not None
    assert not report.clamped
    return report.usage


def counts(
    prompt: int | None, candidates: int | None, thoughts: int | None, total: int | None, **more: Any
) -> dict[str, Any]:
    named = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": candidates,
        "thoughtsTokenCount": thoughts,
        "totalTokenCount": total,
    }
    return {**{name: value for name, value in named.items() if value is not None}, **more}


def modality(**tokens: int) -> list[dict[str, Any]]:
    return [{"modality": name, "tokenCount": count} for name, count in tokens.items()]


def test_thoughts_are_billed_beside_the_candidates() -> None:
    usage = counted(counts(100, 20, 300, 420))
    assert usage == TokenUsage(input_tokens=100, output_tokens=20, reasoning_tokens=300)
    assert usage.completion_tokens == 320


def test_thoughts_that_are_in_the_candidates_already_are_not_added_twice() -> None:
    usage = counted(counts(100, 320, 300, 420))
    assert usage == TokenUsage(input_tokens=100, output_tokens=20, reasoning_tokens=300)


def test_no_candidates_are_zero() -> None:
    assert counted(counts(100, None, 300, 400)) == TokenUsage(input_tokens=100, reasoning_tokens=300)
    assert counted(counts(100, None, None, 100)) == TokenUsage(input_tokens=100)
    assert counted(counts(100, None, None, None)) == TokenUsage(input_tokens=100)


def test_candidates_that_were_left_out_follow_from_the_total() -> None:
    assert counted(counts(100, None, None, 140)) == TokenUsage(input_tokens=100, output_tokens=40)


def test_a_prompt_that_was_left_out_follows_from_the_total() -> None:
    assert counted(counts(None, 40, None, 140)) == TokenUsage(input_tokens=100, output_tokens=40)


def test_what_came_from_a_cache_is_part_of_the_prompt() -> None:
    usage = counted(counts(100, 5, None, 105, cachedContentTokenCount=60))
    assert usage == TokenUsage(input_tokens=40, cache_read_tokens=60, output_tokens=5)
    assert usage.prompt_tokens == 100


def test_what_tools_added_to_the_prompt_is_input_too() -> None:
    usage = counted(counts(100, 5, 7, 142, toolUsePromptTokenCount=30))
    assert usage == TokenUsage(input_tokens=130, output_tokens=5, reasoning_tokens=7)


def test_sound_and_images_have_prices_of_their_own() -> None:
    usage = counted(
        counts(
            100,
            5,
            None,
            105,
            cachedContentTokenCount=30,
            promptTokensDetails=modality(TEXT=20, AUDIO=50, IMAGE=25, DOCUMENT=5),
            cacheTokensDetails=modality(AUDIO=30),
            candidatesTokensDetails=modality(TEXT=3, AUDIO=2),
        )
    )
    assert usage == TokenUsage(
        input_tokens=25,
        cache_read_tokens=30,
        audio_input_tokens=20,
        image_input_tokens=25,
        output_tokens=3,
        audio_output_tokens=2,
    )
    assert usage.prompt_tokens == 100


def test_sound_from_a_cache_without_details_is_not_counted_twice() -> None:
    raw = counts(
        100, 5, None, 105, cachedContentTokenCount=90, promptTokensDetails=modality(TEXT=20, AUDIO=80)
    )
    usage = counted(raw)
    assert usage == TokenUsage(input_tokens=0, cache_read_tokens=90, audio_input_tokens=10, output_tokens=5)


@pytest.mark.parametrize(
    ("raw", "usage"),
    [
        (counts(-5, 3, None, None), TokenUsage(output_tokens=3)),
        (
            counts(10, 3, None, 13, cachedContentTokenCount=20),
            TokenUsage(cache_read_tokens=10, output_tokens=3),
        ),
        (counts(10, 3, None, 11), TokenUsage(input_tokens=10, output_tokens=3)),
        (counts(10, 3, 9, 13), TokenUsage(input_tokens=10, reasoning_tokens=3)),
        (
            counts(10, 3, None, 13, candidatesTokensDetails=modality(AUDIO=9)),
            TokenUsage(input_tokens=10, audio_output_tokens=3),
        ),
    ],
)
def test_impossible_counts_are_lowered_and_marked(raw: dict[str, Any], usage: TokenUsage) -> None:
    assert read_usage(raw) == ReportedUsage(usage, clamped=True)


@pytest.mark.parametrize("raw", [None, 7, [], {}, {"promptTokenCount": None}, {"promptTokenCount": 1 << 60}])
def test_no_report(raw: Any) -> None:
    assert read_usage(raw) is None


@pytest.mark.parametrize("count", [7, 7.0, "7"])
def test_whole_numbers_in_any_dress(count: Any) -> None:
    assert counted({"promptTokenCount": count}).input_tokens == 7


def test_details_that_are_nonsense_are_no_details() -> None:
    details = [None, 7, {"modality": "AUDIO"}, {"modality": "AUDIO", "tokenCount": "x"}]
    usage = counted(counts(10, 1, None, 11, promptTokensDetails=details))
    assert usage == TokenUsage(input_tokens=10, output_tokens=1)
