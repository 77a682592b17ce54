"""What each ending of a request costs: one pure function, and the estimate for what nobody counted.

| ending                          | usage reported | charged                       |
|---------------------------------|----------------|-------------------------------|
| complete, length, filtered      | yes            | as reported, a zero is a fact |
| complete, length, filtered      | no             | estimate, marked              |
| vendor error, client gone       | any            | nothing, if nothing came out  |
| vendor error after output       | yes / no       | as reported / estimate        |
| client gone after output        | yes / no       | as reported / estimate        |
"""

from billing.contracts import Ending, TokenUsage, UsageSource

BYTES_PER_TOKEN = 4
FINISHED = frozenset({Ending.COMPLETE, Ending.LENGTH, Ending.FILTERED})
ENDING_OF_REASON = {"length": Ending.LENGTH, "content_filter": Ending.FILTERED}


def usage_owed(
    *, ending: Ending, reported: TokenUsage | None, prompt_bytes: int, output_bytes: int
) -> tuple[TokenUsage, UsageSource] | None:
    """The usage to charge and where it comes from; None when nothing is owed.

    `output_bytes` is what the vendor sent as text, reasoning and tool arguments, never error text.
    """
    if ending not in FINISHED and output_bytes == 0:
        return None
    if reported is not None:
        return reported, UsageSource.REPORTED
    return estimate_usage(prompt_bytes, output_bytes), UsageSource.ESTIMATED


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
