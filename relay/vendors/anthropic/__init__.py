"""Anthropic's Messages API, as a vendor of chat models. Everything here is pure: bytes in, bytes out."""

from relay.capabilities import ModelTraits
from relay.vendors.anthropic.collect import AnswerCollector
from relay.vendors.anthropic.errors import refusal, refuses_thoughts, retry_class, stream_failure
from relay.vendors.anthropic.request import PATH, build_request
from relay.vendors.anthropic.response import translate_answer
from relay.vendors.anthropic.stream import AnthropicStreamTranslator
from relay.vendors.anthropic.usage import read_usage

__all__ = [
    "DEFAULT_TRAITS",
    "PATH",
    "AnswerCollector",
    "AnthropicStreamTranslator",
    "build_request",
    "headers",
    "read_usage",
    "refusal",
    "refuses_thoughts",
    "retry_class",
    "stream_failure",
    "translate_answer",
]

VERSION = "2023-06-01"  # the last one in which models take temperature and top_p

# What holds for a model of this vendor unless the catalogue says otherwise.
DEFAULT_TRAITS = ModelTraits(
    max_output=64_000,
    default_max_tokens=64_000,
    sampling="temp_xor_top_p",
    penalties=False,
    stop_max=None,
    seed=False,
    logprobs=False,
    n_max=1,
    image_url_schemes=("https",),
    audio_in=False,
    strict_tools=False,
    reasoning="budget",
    reasoning_efforts=("low", "medium", "high"),
    system_mid_conversation=False,
    tool_name_regex="[a-zA-Z0-9_-]{1,128}",
)


def headers(api_key: str) -> tuple[tuple[str, str], ...]:
    return (
        ("x-api-key", api_key),
        ("anthropic-version", VERSION),
        ("Content-Type", "application/json"),
        ("Accept-Encoding", "identity"),
        ("User-Agent", "farebox"),
    )
