"""What the parts of the relay hand each other: values without Django, network or clock."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
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
    can turn into prompt tokens, base64 left out. `service_tier` "" is the default one.
    """

    model: str
    stream: bool
    include_usage: bool
    n: int
    max_output_tokens: int | None
    body: dict[str, Any]
    prompt_bytes: int
    attachments: Attachments = NO_ATTACHMENTS
    service_tier: str = ""


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
    service_tier: str = ""
    remember: Mapping[str, Any] = field(default_factory=dict)
    """By tool call id what the vendor wants back beside that call, opaque to everybody but its adapter."""


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """A request as a vendor with a protocol of its own gets it. `path` follows the channel's base URL.

    What the answer's translation must know travels in the last five fields, which AnswerFrame repeats.
    """

    path: str
    body: bytes
    dropped: tuple[str, ...] = ()  # best-effort parameters that were left out, by the customer's names
    stream_answer: bool = False  # the vendor streams, though the customer asked for a whole answer
    tool_names: Mapping[str, str] = field(default_factory=dict)  # names we had to change -> the customer's
    json_tool: str | None = None  # the forced tool whose arguments are the JSON that was asked for
    json_text: bool = False  # only instructed to write JSON: fences and prose around it are cut off
    function_form: bool = False  # asked with `functions`: the call is answered as `function_call`


@dataclass(frozen=True, slots=True)
class AnswerFrame:
    """What an answer carries that the vendor does not know. `created` is in Unix seconds.

    `model_fallback` is the model that was asked for; thinking is bound to it.
    """

    completion_id: str
    created: int
    model_fallback: str
    tool_names: Mapping[str, str] = field(default_factory=dict)
    json_tool: str | None = None
    json_text: bool = False
    function_form: bool = False


class RetryClass(StrEnum):
    """What an error of a vendor says about trying again."""

    CLIENT = "client"  # the request is at fault: never again, the channel is healthy
    KEY_BAD = "key_bad"  # our account or key: another key, and somebody must look
    RATE = "rate"  # cool the key down, another key meanwhile
    TRANSIENT = "transient"  # another try, elsewhere if possible
    CONTENT = "content"  # refused for its content: a retry endangers the key
    MODEL_GONE = "model_gone"  # the vendor no longer has a model we offer


@dataclass(frozen=True, slots=True)
class TextDelta:
    """`logprobs` is OpenAI's object for this piece of text."""

    text: str
    choice: int = 0
    logprobs: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    text: str
    choice: int = 0


@dataclass(frozen=True, slots=True)
class RefusalDelta:
    text: str
    choice: int = 0


@dataclass(frozen=True, slots=True)
class ToolCallStart:
    """`call` is any number the vendor tells its calls of a choice apart by; clients get their own, dense.

    `arguments`: all of them, or how they begin. `extra` goes into the first fragment as it is.
    """

    call: int
    call_id: str
    name: str
    arguments: str = ""
    choice: int = 0
    extra: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ToolCallArguments:
    call: int
    text: str
    choice: int = 0


@dataclass(frozen=True, slots=True)
class ToolCallEnd:
    """The arguments are complete; none at all means none are needed."""

    call: int
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Annotation:
    """One of OpenAI's annotations: where the text comes from."""

    value: Mapping[str, Any]
    choice: int = 0


@dataclass(frozen=True, slots=True)
class ThinkingBlock:
    """A finished piece of thinking with its signature; a client that sends it back keeps the thread."""

    block: Mapping[str, Any]
    choice: int = 0


@dataclass(frozen=True, slots=True)
class Finish:
    """`reason` in OpenAI's words. It is held until nothing more can come."""

    reason: str
    choice: int = 0


ChatEvent = (
    TextDelta
    | ReasoningDelta
    | RefusalDelta
    | ToolCallStart
    | ToolCallArguments
    | ToolCallEnd
    | Annotation
    | ThinkingBlock
    | Finish
)
