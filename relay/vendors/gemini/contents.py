"""A customer's conversation as Gemini's `systemInstruction` and `contents`.

The vendor wants user and model in turn with the user first, no content without parts, and every call of a
function answered by name in the content right behind it, in the order of the calls.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import orjson

from relay.capabilities import ModelTraits
from relay.errors import InvalidRequest
from relay.vendors.gemini.parts import Part, message_parts, text_part
from relay.vendors.gemini.signatures import Signatures
from relay.vendors.shared.tool_names import ToolNames

_NOTHING_SAID = " "
_GO_ON = "Continue."
_NO_RESULT = "No result was given for this call."


@dataclass(slots=True)
class Conversation:
    system: list[Part] = field(default_factory=list)
    contents: list[dict[str, Any]] = field(default_factory=list)


def read_conversation(
    messages: list[dict[str, Any]], traits: ModelTraits, names: ToolNames, signatures: Signatures
) -> Conversation:
    """Raises InvalidRequest for parts the model cannot take."""
    builder = _Builder(traits, names, signatures)
    for index, message in enumerate(messages):
        builder.add(message, f"messages[{index}]")
    return builder.finish()


@dataclass(slots=True)
class _Call:
    """A call that waits for its answer."""

    call_id: str
    name: str
    response: Any = None


class _Builder:
    __slots__ = ("_conversation", "_is_leading", "_names", "_open", "_signatures", "_traits")

    def __init__(self, traits: ModelTraits, names: ToolNames, signatures: Signatures) -> None:
        self._traits = traits
        self._names = names
        self._signatures = signatures
        self._conversation = Conversation()
        self._is_leading = True  # only instructions so far
        self._open: list[_Call] = []  # of the last turn that called

    def add(self, message: Mapping[str, Any], where: str) -> None:
        role = message["role"]
        if role not in ("tool", "function"):
            self._close_calls()
        self._ROLES[role](self, message, where)

    def finish(self) -> Conversation:
        self._close_calls()
        contents = self._conversation.contents
        if not contents or contents[0]["role"] != "user":
            contents.insert(0, {"role": "user", "parts": [text_part(_NOTHING_SAID)]})
        if contents[-1]["role"] == "model" and not self._traits.prefill:
            contents.append({"role": "user", "parts": [text_part(_GO_ON)]})
        return self._conversation

    def _add_system(self, message: Mapping[str, Any], where: str) -> None:
        """Instructions in the middle stay there: at the top they would mean something else."""
        parts = self._parts(message, where)
        if self._is_leading:
            self._conversation.system += parts
            return
        for part in parts:
            part["text"] = f"<system>\n{part['text']}\n</system>"
        self._append("user", parts)

    def _add_user(self, message: Mapping[str, Any], where: str) -> None:
        self._is_leading = False
        self._append("user", self._parts(message, where))

    def _add_assistant(self, message: Mapping[str, Any], where: str) -> None:
        self._is_leading = False
        said = self._parts(message, where)
        refusal = message.get("refusal")
        if isinstance(refusal, str) and refusal:
            said.append(text_part(refusal))
        said += self._calls(message)
        if not said and message.get("audio"):
            raise InvalidRequest(
                f"Unsupported value: '{where}.audio': this model cannot hear what was said there.",
                param=f"{where}.audio",
                reason="unsupported_value",
            )
        self._append("model", said)

    def _calls(self, message: Mapping[str, Any]) -> list[Part]:
        calls = list(message.get("tool_calls") or ())
        called = message.get("function_call")
        if called:
            calls.append({"function": called})
        parts = [self._call(call) for call in calls]
        self._signatures.put(parts, calls)
        return parts

    def _call(self, call: Mapping[str, Any]) -> Part:
        name, arguments = _read_call(call)
        opened = _Call(call.get("id", ""), self._names.send(name))
        self._open.append(opened)
        return {"functionCall": {**self._identity(opened), "args": arguments}}

    def _identity(self, call: _Call) -> dict[str, str]:
        named = {"name": call.name}
        return {"id": call.call_id, **named} if call.call_id and self._traits.tool_call_ids else named

    def _add_result(self, message: Mapping[str, Any], where: str) -> None:
        self._answer("call_id", message["tool_call_id"], message, where)

    def _add_function_result(self, message: Mapping[str, Any], where: str) -> None:
        self._answer("name", self._names.send(message["name"]), message, where)

    def _answer(self, key: str, wanted: str, message: Mapping[str, Any], where: str) -> None:
        for call in self._open:
            if call.response is None and getattr(call, key) == wanted:
                call.response = _response(self._parts(message, where))
                return
        param = f"{where}.role"
        raise InvalidRequest(f"Invalid '{param}': it answers no tool call before it.", param=param)

    def _close_calls(self) -> None:
        """All answers to a turn's calls in one content, in the order of the calls."""
        if not self._open:
            return
        results = [
            {
                "functionResponse": {
                    **self._identity(call),
                    "response": {"error": _NO_RESULT} if call.response is None else call.response,
                }
            }
            for call in self._open
        ]
        self._open = []
        self._append("user", results)

    def _parts(self, message: Mapping[str, Any], where: str) -> list[Part]:
        return message_parts(message.get("content"), self._traits, f"{where}.content")

    def _append(self, role: str, parts: list[Part]) -> None:
        contents = self._conversation.contents
        if not parts:
            return
        if contents and contents[-1]["role"] == role:
            contents[-1]["parts"] += parts
        else:
            contents.append({"role": role, "parts": parts})

    _ROLES: ClassVar[Mapping[str, Callable[["_Builder", Mapping[str, Any], str], None]]] = {
        "system": _add_system,
        "developer": _add_system,
        "user": _add_user,
        "assistant": _add_assistant,
        "tool": _add_result,
        "function": _add_function_result,
    }


def _read_call(call: Mapping[str, Any]) -> tuple[str, Any]:
    """Name and arguments; a custom tool's input is text, which no object of arguments is."""
    custom = call.get("custom")
    if custom is not None:
        return custom["name"], {"input": custom["input"]}
    function = call["function"]
    return function["name"], _object(function["arguments"], "value", "_raw") or {}


def _response(parts: list[Part]) -> Any:
    """What a tool said, as the object the vendor wants."""
    return _object("".join(part["text"] for part in parts), "output", "output") or {"output": ""}


def _object(text: str, value_key: str, text_key: str) -> Any:
    """JSON of an object goes on to the byte; other JSON and other text become objects; None for nothing."""
    if not text.strip():
        return None
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {text_key: text}
    if isinstance(parsed, dict):
        return orjson.Fragment(text)
    return {value_key: text if value_key == text_key else orjson.Fragment(text)}
