"""Why a choice ended, in OpenAI's five words."""

from collections.abc import Mapping

_WORDS: Mapping[str, str] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "end_turn": "stop",
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "abort": "length",
    "insufficient_system_resource": "length",
    "tool_calls": "tool_calls",
    "tool_call": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "function_call",
    "content_filter": "content_filter",
    "safety": "content_filter",
    "sensitive": "content_filter",
    "recitation": "content_filter",
    "refusal": "content_filter",
}


def read_finish_reason(reason: object) -> str | None:
    """None: not finished yet, which some vendors write as an empty string."""
    if not isinstance(reason, str) or not reason:
        return None
    return _WORDS.get(reason.lower(), "stop")


def settle_finish_reason(reason: str | None, *, calls_tools: bool, calls_function: bool) -> str:
    """What a finished choice says, made to agree with what it holds.

    Clients act on this word alone: `stop` beside tool calls loses the calls, `tool_calls` without any
    makes them wait for nothing.
    """
    if calls_tools:
        return "tool_calls" if reason in (None, "stop", "function_call") else reason
    if calls_function:
        return "function_call" if reason in (None, "tool_calls") else reason
    return "stop" if reason in (None, "tool_calls", "function_call") else reason
