"""What other vendors than OpenAI refuse in a request, in their own words, as far as a relay meets it.

A rule takes the request and says what is wrong with it, or nothing.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from tests.doubles.vendor_script import text_of

Fields = Mapping[str, Any]
LLAMA_CONTEXT = 131_072  # tokens


class Mistake(NamedTuple):
    """`is_unreadable`: not even understood, which some vendors answer with 422 and plain text."""

    message: str
    param: str | None = None
    code: str | None = None
    is_unreadable: bool = False


Rule = Callable[[Fields], Mistake | None]


def _messages(fields: Fields) -> list[dict[str, Any]]:
    return fields.get("messages") or []


def _parts(fields: Fields) -> Iterator[dict[str, Any]]:
    for message in _messages(fields):
        if isinstance(message.get("content"), list):
            yield from message["content"]


def _has_json_word(fields: Fields) -> bool:
    return any("json" in text_of(message).lower() for message in _messages(fields))


def only_roles(*known: str, words: str, is_unreadable: bool = False) -> Rule:
    """`words` has places for the role, the number of the message and the roles that are known."""

    def rule(fields: Fields) -> Mistake | None:
        for index, message in enumerate(_messages(fields)):
            if message.get("role") not in known:
                said = words.format(role=message.get("role"), index=index, known=list(known))
                return Mistake(said, is_unreadable=is_unreadable)
        return None

    return rule


def only_message_fields(*known: str) -> Rule:
    def rule(fields: Fields) -> Mistake | None:
        for index, message in enumerate(_messages(fields)):
            if strange := sorted(message.keys() - set(known)):
                said = f"Additional properties are not allowed ({strange} unexpected) - 'messages.{index}'"
                return Mistake(said)
        return None

    return rule


def without(name: str, words: str) -> Rule:
    """The vendor does not take a field at all."""

    def rule(fields: Fields) -> Mistake | None:
        return None if fields.get(name) is None else Mistake(words, param=name)

    return rule


def within(name: str, low: float, high: float, words: str) -> Rule:
    """A number above `low` and below `high`, both of them out."""

    def rule(fields: Fields) -> Mistake | None:
        value = fields.get(name)
        return None if value is None or low < value < high else Mistake(words, code="invalid_parameter_error")

    return rule


# DeepSeek


def deepseek_text_only(fields: Fields) -> Mistake | None:
    for part in _parts(fields):
        if part["type"] != "text":
            said = f"messages[0]: unknown variant `{part['type']}`, expected `text`"
            return Mistake(said, is_unreadable=True)
    return None


def deepseek_functions_only(fields: Fields) -> Mistake | None:
    for tool in fields.get("tools") or ():
        if tool["type"] != "function":
            said = f"tools[0].type: unknown variant `{tool['type']}`, expected `function`"
            return Mistake(said, is_unreadable=True)
    return None


def deepseek_response_format(fields: Fields) -> Mistake | None:
    wanted = (fields.get("response_format") or {}).get("type")
    if wanted == "json_schema":
        return Mistake("This response_format type is unavailable now", code="invalid_request_error")
    if wanted == "json_object" and not _has_json_word(fields):
        said = (
            "Prompt must contain the word 'json' in some form to use 'response_format' of type 'json_object'."
        )
        return Mistake(said, code="invalid_request_error")
    return None


def deepseek_reasoning(fields: Fields) -> Mistake | None:
    """Thinking models want back what they thought beside tool calls; the first one refused it."""
    if fields.get("model") == "deepseek-reasoner":
        if any(message.get("reasoning_content") for message in _messages(fields)):
            return Mistake("The `reasoning_content` field is not allowed in the input messages.")
        return None
    thinking = fields.get("thinking") or {"type": "enabled"}
    if fields.get("model") == "deepseek-chat" or thinking.get("type") == "disabled":
        return None
    for message in _messages(fields):
        if message.get("tool_calls") and not message.get("reasoning_content"):
            said = "The `reasoning_content` in the thinking mode must be passed back to the API."
            return Mistake(said, code="invalid_request_error")
    return None


# xAI


def xai_reasoning_model(fields: Fields) -> Mistake | None:
    """Models whose name says nothing else reason, and take neither penalties nor stops then."""
    if "non-reasoning" in fields.get("model", ""):
        return None
    for name, said in (
        ("presence_penalty", "presencePenalty"),
        ("frequency_penalty", "frequencyPenalty"),
        ("stop", "stop"),
    ):
        if fields.get(name) is not None:
            return Mistake(f"Argument not supported on this model: {said}")
    return None


def xai_effort(fields: Fields) -> Mistake | None:
    if fields.get("reasoning_effort") is not None and fields.get("model") in {"grok-3", "grok-4"}:
        return Mistake("Argument not supported on this model: reasoningEffort")
    return None


def xai_names(fields: Fields) -> Mistake | None:
    if any(message.get("name") and message["role"] != "user" for message in _messages(fields)):
        return Mistake('Only messages of role "user" can have a name.')
    return None


def xai_strict(fields: Fields) -> Mistake | None:
    for tool in fields.get("tools") or ():
        if "strict" in tool.get("function", ()):
            return Mistake("Argument not supported: tools.function.strict")
    return None


# Qwen


def qwen_thinking(fields: Fields) -> Mistake | None:
    """Open models think unless told not to, and can think in streams only."""
    is_open = fields.get("model", "").startswith("qwen3-")
    thinks = fields.get("enable_thinking", is_open)
    if thinks and not fields.get("stream"):
        said = "parameter.enable_thinking must be set to false for non-streaming calls"
        return Mistake(said, code="invalid_parameter_error")
    if thinks and isinstance(fields.get("tool_choice"), dict):
        said = "The tool_choice parameter does not support being set to required or object in thinking mode"
        return Mistake(said, code="invalid_parameter_error")
    return None


def qwen_tools(fields: Fields) -> Mistake | None:
    if fields.get("tool_choice") == "required":
        said = "tool_choice is one of the strings that should be ['none', 'auto']"
        return Mistake(said, code="invalid_parameter_error")
    if fields.get("tools") and (fields.get("n") or 1) > 1:
        return Mistake("n should be 1 when tools is set", code="invalid_parameter_error")
    if any(tool.get("function", {}).get("name") == "search" for tool in fields.get("tools") or ()):
        return Mistake("Tool names are not allowed to be [search]", code="invalid_parameter_error")
    return None


def qwen_json_word(fields: Fields) -> Mistake | None:
    if (fields.get("response_format") or {}).get("type") == "json_object" and not _has_json_word(fields):
        said = (
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type"
            " 'json_object'."
        )
        return Mistake(said, code="invalid_parameter_error")
    return None


# Llama hosts


def llama_text_only(fields: Fields) -> Mistake | None:
    if any(isinstance(message.get("content"), list) for message in _messages(fields)):
        return Mistake("messages.0.content: Input should be a valid string", is_unreadable=True)
    return None


def llama_context(fields: Fields) -> Mistake | None:
    asked = fields.get("max_completion_tokens") or fields.get("max_tokens") or 0
    prompt = len(json.dumps(_messages(fields))) // 4
    if asked + prompt <= LLAMA_CONTEXT:
        return None
    return Mistake(
        f"This model's maximum context length is {LLAMA_CONTEXT} tokens. However, you requested"
        f" {asked + prompt} tokens ({prompt} in the messages, {asked} in the completion). Please reduce the"
        " length of the messages or completion."
    )
