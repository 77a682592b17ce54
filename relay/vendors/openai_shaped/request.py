"""A customer's request as a vendor of OpenAI's shape takes it.

What the vendor or the model lacks and that only asks nicely is left out and named; what would change the
answer's meaning is refused. The request itself stays as it is.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from relay.capabilities import ModelTraits, nearest_effort
from relay.contracts import ChatRequest, UpstreamRequest
from relay.protocols.openai_chat.request import forwarded_fields, write_body
from relay.vendors.openai_shaped.dialects import Dialect
from relay.vendors.openai_shaped.messages import MessageReader, with_instruction
from relay.vendors.openai_shaped.unsupported import refuse_unsupported

PATH = "/chat/completions"

_BY_SCHEMA = (
    "Answer with one JSON object and nothing else: no prose before or after it, no code fences."
    " It must be valid against this JSON Schema:\n"
)
# Values that ask for nothing: leaving them out is not worth a word.
_NEUTRAL: Mapping[str, Any] = {
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "temperature": 1,
    "top_p": 1,
    "logit_bias": {},
    "verbosity": "medium",
    "parallel_tool_calls": True,
    "repetition_penalty": 1,
    "min_p": 0,
    "top_k": -1,
    "reasoning_effort": "none",
    "prompt_cache_options": {},
    "chat_template_kwargs": {},
}
_USERS = ("user", "safety_identifier")
_NOTHING: Mapping[str, Any] = {}
_SAMPLING: Mapping[str, tuple[str, ...]] = {
    "temp_only": ("top_p",),
    "fixed_1": ("temperature", "top_p"),
    "none": ("temperature", "top_p"),
}


def build_request(
    chat: ChatRequest,
    *,
    upstream_model: str,
    traits: ModelTraits,
    max_output_tokens: int | None,
    user_id: str | None,
    dialect: Dialect,
    memory: Mapping[str, Any] = _NOTHING,
) -> UpstreamRequest:
    """`user_id` is the customer's user, hashed. `memory` holds what earlier answers gave in `remember`.

    Raises InvalidRequest for what this model cannot do.
    """
    refuse_unsupported(chat, traits, dialect)
    build = _Build(chat, traits, dialect)
    build.drop_what_is_lacking()
    build.fit_numbers()
    build.fit_tools()
    build.think()
    build.fit_format()
    build.fit_messages(memory)
    build.name_user(user_id)
    build.stream_thoughts()
    outgoing = build.out
    outgoing["model"] = upstream_model
    if max_output_tokens is not None:
        outgoing[traits.max_tokens_field] = max_output_tokens
    return UpstreamRequest(
        path=PATH,
        body=write_body(outgoing),
        dropped=tuple(build.dropped),
        stream_answer=build.stream_answer,
    )


class _Build:
    """One request on its way to the vendor's shape."""

    __slots__ = ("_chat", "_dialect", "_traits", "dropped", "out", "stream_answer")

    def __init__(self, chat: ChatRequest, traits: ModelTraits, dialect: Dialect) -> None:
        self._chat = chat
        self._traits = traits
        self._dialect = dialect
        self.out = forwarded_fields(chat)
        self.dropped: list[str] = []
        self.stream_answer = False

    def drop_what_is_lacking(self) -> None:
        traits, dialect = self._traits, self._dialect
        if lost := dialect.lost & self.out.keys():
            self._drop(*sorted(lost))
        if not traits.penalties:
            self._drop("presence_penalty", "frequency_penalty")
        if not traits.seed:
            self._drop("seed")
        if not traits.stream_usage:
            self.out.pop("stream_options", None)
        self._drop(*_SAMPLING.get(traits.sampling, ()))
        if traits.sampling == "temp_xor_top_p" and "temperature" in self.out:
            self._drop("top_p")

    def fit_numbers(self) -> None:
        for name, (low, high) in self._dialect.ranges.items():
            if name in self.out:
                self.out[name] = min(max(self.out[name], low), high)

    def fit_tools(self) -> None:
        if not self._traits.parallel_tool_calls:
            self._drop("parallel_tool_calls")
        tools = self.out.get("tools")
        if tools and not self._traits.strict_tools:
            loose = [_without_strict(tool) for tool in tools]
            if any(tool.get("function", {}).get("strict") for tool in tools):
                self.dropped.append("tools[].function.strict")
            self.out["tools"] = loose

    def think(self) -> None:
        """The one word for it, in the vendor's own: an effort, or a switch and perhaps a budget."""
        wanted = self.out.get("reasoning_effort")
        kind = self._traits.reasoning
        if kind in {"toggle", "budget"} and self._dialect.toggle is not None:
            self.out.pop("reasoning_effort", None)
            self._switch(wanted)
        elif wanted is not None and kind == "none":
            self._drop("reasoning_effort")
        elif wanted is not None:
            self.out["reasoning_effort"] = self._effort(wanted)

    def _switch(self, wanted: str | None) -> None:
        """What the customer says in the vendor's own words goes before what follows from an effort."""
        toggle = self._dialect.toggle
        if toggle is None or any(name in self.out for name in toggle.on):
            return
        if wanted is None:
            if toggle.must_be_off_unless_streamed and not self._chat.stream:
                self.out.update(toggle.off)
            return
        if wanted == "none":
            self.out.update(toggle.off if self._traits.reasoning_can_disable else {})
            return
        self.out.update(toggle.on)
        if toggle.budget and self._traits.reasoning == "budget":
            self.out.setdefault(toggle.budget, dict(self._traits.reasoning_budgets)[wanted])

    def _effort(self, wanted: str) -> str:
        allowed = self._traits.reasoning_efforts
        if wanted in allowed:
            return wanted
        return nearest_effort("minimal" if wanted == "none" else wanted, allowed)

    @property
    def _thinks(self) -> bool:
        toggle = self._dialect.toggle
        if toggle is None or self._traits.reasoning not in {"toggle", "budget"}:
            return False
        return any(self.out.get(name) != value for name, value in toggle.off.items())

    def stream_thoughts(self) -> None:
        """A model that thinks in streams only is streamed from, also for a whole answer."""
        toggle = self._dialect.toggle
        if self._chat.stream or toggle is None or not toggle.must_be_off_unless_streamed or not self._thinks:
            return
        self.stream_answer = True
        self.out["stream"] = True
        if self._traits.stream_usage:
            self.out["stream_options"] = {"include_usage": True}

    def fit_format(self) -> None:
        """A schema the vendor does not take is told in words, beside JSON if it takes that."""
        wanted = self.out.get("response_format")
        if wanted is None or wanted["type"] != "json_schema" or self._traits.json_schema == "native":
            return
        schema = wanted["json_schema"].get("schema") or {"type": "object"}
        instruction = _BY_SCHEMA + orjson.dumps(schema).decode()
        self.out["messages"] = with_instruction(self.out["messages"], instruction)
        if self._traits.json_object:
            self.out["response_format"] = {"type": "json_object"}
        else:
            del self.out["response_format"]

    def fit_messages(self, memory: Mapping[str, Any]) -> None:
        wants_thoughts = self._dialect.returns_reasoning and self._thinks
        reader = MessageReader(self._dialect, wants_thoughts=wants_thoughts, memory=memory)
        self.out["messages"] = reader.read(self.out["messages"])
        if reader.dropped_names:
            self.dropped.append("messages[].name")

    def name_user(self, user_id: str | None) -> None:
        """Never in the customer's words: those may be a name or an address."""
        told = [name for name in _USERS if self.out.pop(name, None) is not None]
        if user_id is not None and (told or self._dialect.always_names_user):
            self.out[self._dialect.user_field] = user_id
        elif told:
            self.dropped += told

    def _drop(self, *names: str) -> None:
        for name in names:
            if name in self.out and self.out.pop(name) != _NEUTRAL.get(name):
                self.dropped.append(name)


def _without_strict(tool: dict[str, Any]) -> dict[str, Any]:
    function = tool.get("function")
    if function is None or "strict" not in function:
        return tool
    return {**tool, "function": {name: value for name, value in function.items() if name != "strict"}}
