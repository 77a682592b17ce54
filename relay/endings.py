"""What each ending of a request costs: one pure function, and the estimate for what nobody counted.

| ending                          | usage reported | charged                       |
|---------------------------------|----------------|-------------------------------|
| complete, length, filtered      | yes            | as reported, a zero is a fact |
| complete, length, filtered      | no             | estimate, marked              |
| vendor error, client gone       | any            | nothing, if nothing came out  |
| vendor error after output       | yes / no       | as reported / estimate        |
| client gone after output        | yes / no       | as reported / estimate        |
| any                             | impossible     | lowered to what is possible, marked, alerted |

Impossible is what is negative or contradicts itself, a prompt longer than the model's context window, and
more output than the model can write. A report within that but above the hold is believed: vendors add to
prompts what we do not see, and bill us for it.
"""

from dataclasses import asdict, dataclass

from billing.contracts import Ending, TokenUsage, UsageSource
from relay.contracts import ReportedUsage

BYTES_PER_TOKEN = 4
PROMPT_CLASSES = (
    "input_tokens",
    "image_input_tokens",
    "audio_input_tokens",
    "cache_write_1h_tokens",
    "cache_write_5m_tokens",
    "cache_read_tokens",
)
OUTPUT_CLASSES = ("output_tokens", "reasoning_tokens", "audio_output_tokens")
FINISHED = frozenset({Ending.COMPLETE, Ending.LENGTH, Ending.FILTERED})
ENDING_OF_REASON = {"length": Ending.LENGTH, "content_filter": Ending.FILTERED}


@dataclass(frozen=True, slots=True)
class UsageBounds:
    """The most tokens that can be true: of the prompt, and of all output together."""

    prompt_tokens: int
    output_tokens: int


def usage_owed(
    *,
    ending: Ending,
    reported: ReportedUsage | None,
    prompt_bytes: int,
    output_bytes: int,
    bounds: UsageBounds,
) -> tuple[TokenUsage, UsageSource] | None:
    """The usage to charge and where it comes from; None when nothing is owed.

    `output_bytes` is what the vendor sent as text, reasoning and tool arguments, never error text.
    """
    if ending not in FINISHED and output_bytes == 0:
        return None
    if reported is None:
        return bounded(estimate_usage(prompt_bytes, output_bytes), bounds), UsageSource.ESTIMATED
    usage = bounded(reported.usage, bounds)
    is_as_reported = usage == reported.usage and not reported.clamped
    return usage, UsageSource.REPORTED if is_as_reported else UsageSource.CLAMPED


def bounded(usage: TokenUsage, bounds: UsageBounds) -> TokenUsage:
    """The same usage where it is possible; otherwise the classes that vendors misreport most give first."""
    over_prompt = usage.prompt_tokens - bounds.prompt_tokens
    over_output = usage.completion_tokens - bounds.output_tokens
    if over_prompt <= 0 and over_output <= 0:
        return usage
    counts = asdict(usage)
    _lower(counts, PROMPT_CLASSES, over_prompt)
    _lower(counts, OUTPUT_CLASSES, over_output)
    return TokenUsage(**counts)


def _lower(counts: dict[str, int], classes: tuple[str, ...], excess: int) -> None:
    for name in classes:
        given = max(0, min(counts[name], excess))
        counts[name] -= given
        excess -= given


def estimate_usage(prompt_bytes: int, output_bytes: int) -> TokenUsage:
    """Four bytes make a token: near enough for English, and for Chinese at three bytes a character."""
    return TokenUsage(
        input_tokens=-(-prompt_bytes // BYTES_PER_TOKEN),
        output_tokens=-(-output_bytes // BYTES_PER_TOKEN),
    )


def ending_of(finish_reasons: tuple[str, ...]) -> Ending:
    """Of several choices the first that was cut short says how the request ended."""
    for reason in finish_reasons:
        if reason in ENDING_OF_REASON:
            return ENDING_OF_REASON[reason]
    return Ending.COMPLETE
