"""A customer's conversation as Anthropic's `system` and `messages`.

The vendor is strict: it wants user and assistant in turn with the user first, no empty text, every tool
call answered in the message right behind it with the results first, and each call's id only once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import orjson

from relay.capabilities import ModelTraits
from relay.errors import InvalidRequest
from relay.vendors.anthropic.content import Block, content_blocks, keep_cache_control, text_block
from relay.vendors.anthropic.names import CallIds
from relay.vendors.anthropic.thinking import Thoughts
from relay.vendors.shared.tool_names import ToolNames

_NOTHING_SAID = "."
_GO_ON = "Continue."
_NO_RESULT = "No result was given for this call."


@dataclass(slots=True)
class Conversation:
    """`called` are the names of all tools in it, as the vendor gets them."""

    system: list[Block] = field(default_factory=list)
    messages: list[Block] = field(default_factory=list)
    called: dict[str, None] = field(default_factory=dict)


def read_conversation(
    messages: list[dict[str, Any]], traits: ModelTraits, names: ToolNames, *, thoughts: Thoughts | None
) -> Conversation:
    """`thoughts` None: the model does not think this time, so earlier thoughts stay out.

    Raises InvalidRequest for parts the model cannot take.
    """
    builder = _Builder(traits, names, thoughts)
    for index, message in enumerate(messages):
        builder.add(message, f"messages[{index}]")
    return builder.finish()


class _Builder:
    __slots__ = ("_conversation", "_ids", "_is_leading", "_names", "_number", "_thoughts", "_traits")

    def __init__(self, traits: ModelTraits, names: ToolNames, thoughts: Thoughts | None) -> None:
        self._traits = traits
        self._names = names
        self._thoughts = thoughts
        self._ids = CallIds()
        self._conversation = Conversation()
        self._is_leading = True  # only instructions so far
        self._number = 0  # of calls in the deprecated form, which have no id

    def add(self, message: Mapping[str, Any], where: str) -> None:
        self._ROLES[message["role"]](self, message, where)

    def finish(self) -> Conversation:
        self._close_calls()
        messages = self._conversation.messages
        if not messages or messages[0]["role"] != "user":
            messages.insert(0, _user(text_block(_NOTHING_SAID)))
        if messages[-1]["role"] == "assistant":
            self._end_with_assistant(messages)
        return self._conversation

    def _end_with_assistant(self, messages: list[Block]) -> None:
        """The model goes on with its own words where it can, else it is asked to."""
        last = messages[-1]["content"][-1]
        if self._traits.prefill and self._thoughts is None and last["type"] == "text":
            last["text"] = last["text"].rstrip()
        else:
            messages.append(_user(text_block(_GO_ON)))

    def _add_system(self, message: Mapping[str, Any], where: str) -> None:
        """Instructions in the middle stay there: at the top they would mean something else."""
        blocks = self._content(message, where)
        if self._is_leading:
            self._conversation.system += blocks
        elif self._traits.system_mid_conversation:
            self._append("system", blocks)
        else:
            for block in blocks:
                block["text"] = f"<system>\n{block['text']}\n</system>"
            self._append("user", blocks)

    def _add_user(self, message: Mapping[str, Any], where: str) -> None:
        self._is_leading = False
        self._append("user", self._content(message, where))

    def _add_assistant(self, message: Mapping[str, Any], where: str) -> None:
        self._is_leading = False
        self._close_calls()
        said = self._content(message, where)
        refusal = message.get("refusal")
        if isinstance(refusal, str) and refusal.strip():
            said.append(text_block(refusal))
        said += self._calls(message)
        if not said and message.get("audio"):
            raise InvalidRequest(
                f"Unsupported value: '{where}.audio': this model cannot hear what was said there.",
                param=f"{where}.audio",
                reason="unsupported_value",
            )
        if said and self._thoughts is not None:
            said = [*self._thoughts.of(message), *said]
        self._append("assistant", said)

    def _calls(self, message: Mapping[str, Any]) -> list[Block]:
        calls = [_read_call(call) for call in message.get("tool_calls") or ()]
        called = message.get("function_call")
        if called:
            self._number += 1
            calls.append((self._function_id(called["name"]), called["name"], _arguments(called["arguments"])))
        return [self._call(*call) for call in calls]

    def _call(self, call_id: str, name: str, arguments: Any) -> Block:
        sent = self._names.send(name)
        self._conversation.called[sent] = None
        return {"type": "tool_use", "id": self._ids.begin(call_id), "name": sent, "input": arguments}

    def _add_result(self, message: Mapping[str, Any], where: str) -> None:
        self._answer(message["tool_call_id"], message, where)

    def _add_function_result(self, message: Mapping[str, Any], where: str) -> None:
        self._answer(self._function_id(message["name"]), message, where)

    def _function_id(self, name: str) -> str:
        return f"call_{self._number}_{name}"

    def _answer(self, call_id: str, message: Mapping[str, Any], where: str) -> None:
        sent = self._ids.answer(call_id)
        if sent is None:
            param = f"{where}.role"
            raise InvalidRequest(f"Invalid '{param}': it answers no tool call before it.", param=param)
        result: Block = {"type": "tool_result", "tool_use_id": sent}
        blocks = self._content(message, where)
        if blocks:
            result["content"] = blocks
        self._place_result(keep_cache_control(result, message, where))

    def _close_calls(self) -> None:
        for sent in self._ids.close():
            self._place_result(
                {"type": "tool_result", "tool_use_id": sent, "content": _NO_RESULT, "is_error": True}
            )

    def _place_result(self, result: Block) -> None:
        """Into the message right behind the calls, before everything that is no result."""
        messages = self._conversation.messages
        at = max(index for index, each in enumerate(messages) if each["role"] == "assistant") + 1
        if at == len(messages) or messages[at]["role"] != "user":
            messages.insert(at, _user())
        content = messages[at]["content"]
        results = sum(block["type"] == "tool_result" for block in content)
        content.insert(results, result)

    def _content(self, message: Mapping[str, Any], where: str) -> list[Block]:
        blocks = content_blocks(message.get("content"), self._traits, f"{where}.content")
        if blocks and message["role"] != "tool":
            keep_cache_control(blocks[-1], message, where)
        return blocks

    def _append(self, role: str, blocks: list[Block]) -> None:
        messages = self._conversation.messages
        if not blocks:
            return
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += blocks
        else:
            messages.append({"role": role, "content": blocks})

    _ROLES: ClassVar[Mapping[str, Callable[["_Builder", Mapping[str, Any], str], None]]] = {
        "system": _add_system,
        "developer": _add_system,
        "user": _add_user,
        "assistant": _add_assistant,
        "tool": _add_result,
        "function": _add_function_result,
    }


def _user(*blocks: Block) -> Block:
    return {"role": "user", "content": list(blocks)}


def _read_call(call: Mapping[str, Any]) -> tuple[str, str, Any]:
    """Id, name and arguments; a custom tool's input is text, which no object of arguments is."""
    custom = call.get("custom")
    if custom is not None:
        return call["id"], custom["name"], {"input": custom["input"]}
    function = call["function"]
    return call["id"], function["name"], _arguments(function["arguments"])


def _arguments(text: str) -> Any:
    """What a model once wrote goes back to the byte: numbers and letters written anew would differ.

    What is no object, as nothing keeps models from writing, is wrapped into one.
    """
    if not text.strip():
        return {}
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {"_raw": text}
    return orjson.Fragment(text) if isinstance(parsed, dict) else {"_raw": text}
