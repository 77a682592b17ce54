"""Gemini's generateContent, as a vendor of chat models. Everything here is pure: bytes in, bytes out."""

from relay.capabilities import ModelTraits
from relay.vendors.gemini.array import JsonArraySplitter
from relay.vendors.gemini.errors import refusal, refuses_thoughts, retry_class, stream_failure
from relay.vendors.gemini.request import build_request
from relay.vendors.gemini.response import translate_answer
from relay.vendors.gemini.stream import GeminiStreamTranslator
from relay.vendors.gemini.usage import read_usage

__all__ = [
    "DEFAULT_TRAITS",
    "GeminiStreamTranslator",
    "JsonArraySplitter",
    "build_request",
    "headers",
    "read_usage",
    "refusal",
    "refuses_thoughts",
    "retry_class",
    "stream_failure",
    "translate_answer",
]

# What holds for a model of this vendor unless the catalogue says otherwise: as the third generation has it.
DEFAULT_TRAITS = ModelTraits(
    max_output=65_536,
    default_max_tokens=65_536,
    penalties=False,
    stop_max=5,
    logprobs=False,
    n_max=1,
    image_url_schemes=(),
    strict_tools=False,
    parallel_tool_calls=False,
    reasoning="level",
    reasoning_efforts=("low", "medium", "high"),
    reasoning_budget_range=(128, 32_768),
    reasoning_can_disable=False,
    system_mid_conversation=False,
    signed_tool_calls=True,
    tool_name_regex="[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}",
)


def headers(api_key: str) -> tuple[tuple[str, str], ...]:
    """The key never goes into the address, which ends up in logs."""
    return (
        ("x-goog-api-key", api_key),
        ("Content-Type", "application/json"),
        ("Accept-Encoding", "identity"),
        ("User-Agent", "farebox"),
    )
