"""What the parts of the relay hand each other: values without Django, network or clock."""

from dataclasses import dataclass
from typing import Any

from billing.contracts import TokenUsage


@dataclass(frozen=True, slots=True)
class Attachments:
    """What a prompt holds beside text. Sizes are characters of base64: four for three bytes."""

    images: int = 0
    image_size: int = 0
    audio_parts: int = 0
    audio_size: int = 0
    files: int = 0
    file_size: int = 0

    @property
    def inline_size(self) -> int:
        return self.image_size + self.audio_size + self.file_size


NO_ATTACHMENTS = Attachments()


@dataclass(slots=True, eq=False)
class ChatRequest:
    """A chat request that passed validation. Nothing changes it afterwards: every retry reads it.

    `max_output_tokens` None: the customer set no limit. `include_usage` is what the customer asked
    for; a vendor is always asked. `prompt_bytes` is at least the UTF-8 length of all text a vendor
    can turn into prompt tokens, base64 left out.
    """

    model: str
    stream: bool
    include_usage: bool
    n: int
    max_output_tokens: int | None
    body: dict[str, Any]
    prompt_bytes: int
    attachments: Attachments = NO_ATTACHMENTS


@dataclass(frozen=True, slots=True)
class ReportedUsage:
    """A vendor's report. `clamped`: a count was impossible (negative, a part above its whole) and
    was corrected, which somebody should look at."""

    usage: TokenUsage
    clamped: bool


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """A vendor's whole answer as the customer gets it.

    `usage` None: the vendor reported none, so `body` has no `usage` yet. `output_bytes` is the
    UTF-8 length of text, reasoning and tool arguments. `finish_reasons` holds one of OpenAI's
    values for each choice.
    """

    body: bytes
    usage: TokenUsage | None
    upstream_model: str
    finish_reasons: tuple[str, ...]
    has_output: bool
    output_bytes: int
    usage_clamped: bool = False
