"""What would change an answer's meaning and that a model cannot do: refused before anything is sent."""

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from relay.capabilities import ModelTraits
from relay.contracts import NO_ATTACHMENTS, ChatRequest
from relay.errors import InvalidRequest
from relay.vendors.openai_shaped.dialects import Dialect

_MEDIA = {"image_url": ("vision", "images"), "input_audio": ("audio_in", "audio"), "file": ("pdf", "files")}


def refuse_unsupported(chat: ChatRequest, traits: ModelTraits, dialect: Dialect) -> None:
    """Raises InvalidRequest with `unsupported_parameter` or `unsupported_value`."""
    body = chat.body
    for name in _RULES.keys() & body.keys():
        if body[name]:
            _RULES[name](body[name], traits, dialect)
    if chat.attachments is not NO_ATTACHMENTS:
        _refuse_media(body["messages"], traits)


def _refuse_choices(n: int, traits: ModelTraits, _dialect: Dialect) -> None:
    if n > traits.n_max:
        _refuse("n", f"this model gives at most {traits.n_max} choices for a request")


def _refuse_logprobs(_wanted: bool, traits: ModelTraits, _dialect: Dialect) -> None:
    if not traits.logprobs:
        _refuse("logprobs", "this model gives no log probabilities", "unsupported_parameter")


def _refuse_modalities(modalities: list[str], _traits: ModelTraits, dialect: Dialect) -> None:
    if "audio" in modalities and not dialect.audio_out:
        _refuse("modalities", "this model answers in text only")


def _refuse_functions(_functions: list[Any], _traits: ModelTraits, dialect: Dialect) -> None:
    if not dialect.functions:
        _refuse("functions", "use 'tools' with this model", "unsupported_parameter")


def _refuse_stops(stop: str | list[str], traits: ModelTraits, _dialect: Dialect) -> None:
    if traits.stop_max is None:
        return
    if traits.stop_max == 0:
        _refuse("stop", "this model takes no stop sequences", "unsupported_parameter")
    if type(stop) is list and len(stop) > traits.stop_max:
        _refuse("stop", f"this model takes at most {traits.stop_max} stop sequences")


def _refuse_tools(tools: list[Any], traits: ModelTraits, dialect: Dialect) -> None:
    if not traits.tools:
        _refuse("tools", "this model cannot call tools", "unsupported_parameter")
    if not dialect.custom_tools and any(tool["type"] == "custom" for tool in tools):
        _refuse("tools", "this model takes tools of the type 'function' only")


def _refuse_tool_choice(choice: str | dict[str, Any], traits: ModelTraits, _dialect: Dialect) -> None:
    if not traits.forced_tool_choice and choice not in ("none", "auto"):
        _refuse("tool_choice", "this model cannot be made to call a tool")


def _refuse_format(wanted: Mapping[str, Any], traits: ModelTraits, _dialect: Dialect) -> None:
    if wanted["type"] == "json_schema" and traits.json_schema == "none":
        _refuse("response_format", "this model cannot be held to a schema")
    if wanted["type"] == "json_object" and not traits.json_object:
        _refuse("response_format", "this model cannot be held to JSON")


_RULES: Mapping[str, Callable[[Any, ModelTraits, Dialect], None]] = {
    "n": _refuse_choices,
    "logprobs": _refuse_logprobs,
    "modalities": _refuse_modalities,
    "functions": _refuse_functions,
    "stop": _refuse_stops,
    "tools": _refuse_tools,
    "tool_choice": _refuse_tool_choice,
    "response_format": _refuse_format,
}


def _refuse_media(messages: list[dict[str, Any]], traits: ModelTraits) -> None:
    for number, message in enumerate(messages):
        content = message.get("content")
        for index, part in enumerate(content if type(content) is list else ()):
            trait, kind = _MEDIA.get(part["type"], ("", ""))
            if trait and not getattr(traits, trait):
                _refuse(f"messages[{number}].content[{index}]", f"this model takes no {kind}")


def _refuse(param: str, problem: str, reason: str = "unsupported_value") -> NoReturn:
    kind = "parameter" if reason == "unsupported_parameter" else "value"
    raise InvalidRequest(f"Unsupported {kind}: '{param}': {problem}.", param=param, reason=reason)
