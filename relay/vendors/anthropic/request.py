"""A customer's chat request as a call of Anthropic's Messages API, version 2023-06-01.

What would change the answer's meaning and cannot be had is refused; what only asks nicely is left out and
named. Everything is written anew: the request the customer sent is never changed.
"""

from collections.abc import Mapping
from typing import Any, NoReturn

import orjson

from relay.capabilities import ModelTraits
from relay.contracts import ChatRequest, UpstreamRequest
from relay.errors import InvalidRequest
from relay.vendors.anthropic.content import keep_cache_control, text_block
from relay.vendors.anthropic.messages import Conversation, read_conversation
from relay.vendors.anthropic.schema import answer_schema, is_open, tool_schema
from relay.vendors.anthropic.thinking import Thinking, Thoughts, plan_thinking
from relay.vendors.anthropic.tools import Toolbox, read_tools
from relay.vendors.shared.image_detail import IMAGE_DETAIL, asks_for_detail
from relay.vendors.shared.tool_names import ToolNames

PATH = "/v1/messages"
LONGEST_WHOLE_ANSWER = 21_333  # tokens; longer ones may take more than ten minutes and must be streamed
JSON_TOOL = "json_response"

_JSON_ONLY = "Answer with one JSON object and nothing else: no prose before or after it, no code fences."
_BY_SCHEMA = f"{_JSON_ONLY} It must be valid against this JSON Schema:\n"
# Left out and named, unless the value is the one that changes nothing.
_BEST_EFFORT: Mapping[str, Any] = {
    "seed": None,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "logit_bias": {},
    "verbosity": "medium",
    "prediction": None,
    "prompt_cache_key": None,
    "prompt_cache_options": {},
    "prompt_cache_retention": None,
    "store": False,
    "metadata": {},
    "min_p": 0,
    "repetition_penalty": 1,
    "enable_thinking": None,
    "thinking_budget": None,
    "vl_high_resolution_images": False,
    "chat_template_kwargs": {},
    "reasoning": {},
}
_SPEAKERS = frozenset({"system", "developer", "user", "assistant"})
_SERVICE_TIERS: Mapping[str, str] = {"auto": "auto", "default": "standard_only"}
_LEAST_TOP_P_WITH_THINKING = 0.95


def build_request(
    chat: ChatRequest,
    *,
    upstream_model: str,
    traits: ModelTraits,
    max_output_tokens: int | None,
    memory: Mapping[str, Any],
    user_id: str | None,
    sends_thoughts: bool = True,
) -> UpstreamRequest:
    """`memory` holds what earlier answers gave in `remember`; `user_id` is the customer's user, hashed.

    `sends_thoughts` False builds the request anew after the vendor refused the thoughts in it
    (`refuses_thoughts`). Raises InvalidRequest for what this model cannot do.
    """
    _refuse_unsupported(chat)
    thoughts = Thoughts(upstream_model, memory, is_usable=sends_thoughts)
    return _Build(chat.body, traits, thoughts).finish(
        chat, upstream_model, _token_limit(chat, traits, max_output_tokens), user_id
    )


def _token_limit(chat: ChatRequest, traits: ModelTraits, limit: int | None) -> int:
    """The vendor wants a limit with every request, and none above the model's."""
    if limit is None:
        limit = chat.max_output_tokens or traits.default_max_tokens
    return limit if traits.max_output is None else min(limit, traits.max_output)


def _refuse_unsupported(chat: ChatRequest) -> None:
    body = chat.body
    if chat.n > 1:
        _refuse("n", "this model gives one choice for each request", "unsupported_value")
    if body.get("logprobs"):
        _refuse("logprobs", "this model gives no log probabilities", "unsupported_parameter")
    if "audio" in (body.get("modalities") or ()):
        _refuse("modalities", "this model answers in text only", "unsupported_value")
    if body.get("service_tier") not in (None, *_SERVICE_TIERS):
        _refuse("service_tier", "this model is served in its default tier only", "unsupported_value")


def _refuse(param: str, problem: str, reason: str) -> NoReturn:
    kind = "parameter" if reason == "unsupported_parameter" else "value"
    raise InvalidRequest(f"Unsupported {kind}: '{param}': {problem}.", param=param, reason=reason)


class _Build:
    """One request on its way to the vendor's shape."""

    __slots__ = ("_body", "_dropped", "_instruction", "_names", "_out", "_thoughts", "_traits", "json_tool")

    def __init__(self, body: Mapping[str, Any], traits: ModelTraits, thoughts: Thoughts) -> None:
        self._body = body
        self._traits = traits
        self._thoughts = thoughts
        self._names = ToolNames(traits.tool_name_regex)
        self._dropped: list[str] = []
        self._out: dict[str, Any] = {}
        self._instruction: str | None = None
        self.json_tool: str | None = None

    def finish(self, chat: ChatRequest, model: str, limit: int, user_id: str | None) -> UpstreamRequest:
        toolbox = read_tools(self._body, self._traits, self._names)
        self._dropped += toolbox.dropped
        self._read_format(toolbox)
        thinking = self._think(toolbox, limit)
        conversation = self._converse(thinking)
        streams = chat.stream or limit > LONGEST_WHOLE_ANSWER
        self._out.update(model=model, max_tokens=limit, messages=conversation.messages)
        if conversation.system:
            self._out["system"] = conversation.system
        if streams:
            self._out["stream"] = True
        self._put_tools(toolbox, conversation)
        self._put_sampling(thinking)
        self._put_rest(user_id)
        return UpstreamRequest(
            path=PATH,
            body=_write(self._out),
            dropped=tuple(self._dropped),
            stream_answer=streams and not chat.stream,
            tool_names=self._names.changed,
            json_tool=self.json_tool,
            json_text=self._instruction is not None,
            function_form=toolbox.function_form,
        )

    def _read_format(self, toolbox: Toolbox) -> None:
        """JSON by the vendor's own means, by a tool that takes it, or by asking for it."""
        wanted = self._body.get("response_format") or {"type": "text"}
        if wanted["type"] == "json_object":
            self._ask_for_json("json_object" if self._traits.json_object else "none", _JSON_ONLY)
        elif wanted["type"] == "json_schema":
            self._fulfil(wanted["json_schema"].get("schema") or {"type": "object"}, toolbox)

    def _fulfil(self, schema: dict[str, Any], toolbox: Toolbox) -> None:
        way, closed = self._traits.json_schema, answer_schema(schema)
        if way == "native" and not is_open(schema):
            self._output_config()["format"] = {"type": "json_schema", "schema": closed}
            return
        if schema.get("type", "object") != "object":
            _refuse("response_format", "the schema must be of the type 'object'", "unsupported_value")
        if way == "tool_trick" and toolbox.tools:
            _refuse("response_format", "this model takes no schema beside tools", "unsupported_value")
        if way == "tool_trick" and self._traits.forced_tool_choice:
            self.json_tool = JSON_TOOL
            self._out["tools"] = [
                {"name": JSON_TOOL, "description": "Takes the answer.", "input_schema": tool_schema(schema)}
            ]
        else:
            self._ask_for_json(way, _BY_SCHEMA + _write(schema).decode())

    def _ask_for_json(self, way: str, instruction: str) -> None:
        if way == "none":
            _refuse("response_format", "this model cannot be held to JSON", "unsupported_value")
        self._instruction = instruction

    def _think(self, toolbox: Toolbox, limit: int) -> Thinking:
        """No thinking beside a forced tool, nor in a turn whose beginning is lost."""
        is_forced = toolbox.is_forced or self.json_tool is not None
        is_known = self._thoughts.open_loop_is_known(self._body["messages"])
        thinking = plan_thinking(
            self._body, self._traits, max_tokens=limit, is_possible=is_known and not is_forced
        )
        self._dropped += thinking.dropped
        if thinking.field is not None:
            self._out["thinking"] = thinking.field
        if thinking.effort is not None:
            self._output_config()["effort"] = thinking.effort
        return thinking

    def _converse(self, thinking: Thinking) -> Conversation:
        thoughts = self._thoughts if thinking.is_on else None
        conversation = read_conversation(self._body["messages"], self._traits, self._names, thoughts=thoughts)
        if self._instruction is not None:
            conversation.system.append(text_block(self._instruction))
        return conversation

    def _put_tools(self, toolbox: Toolbox, conversation: Conversation) -> None:
        """The vendor wants tools wherever the conversation has calls, also when none may follow."""
        tools = [*toolbox.tools, *self._out.get("tools", ())]
        choice = toolbox.choice
        if self.json_tool is not None:
            choice = {"type": "tool", "name": JSON_TOOL, "disable_parallel_tool_use": True}
        if not tools and conversation.called:
            tools = [_former_tool(name) for name in conversation.called]
            choice = {"type": "none"}
        if tools:
            self._out["tools"] = tools
        if choice is not None:
            self._out["tool_choice"] = choice

    def _put_sampling(self, thinking: Thinking) -> None:
        wanted = {name: self._body.get(name) for name in ("temperature", "top_p", "top_k")}
        allowed = _allowed_sampling(wanted, self._traits, thinks=thinking.is_on)
        for name, value in wanted.items():
            if value is None or value == _NEUTRAL_SAMPLING[name]:
                continue
            if name in allowed:
                self._out[name] = min(value, 1) if name == "temperature" else value
            else:
                self._dropped.append(name)

    def _put_rest(self, user_id: str | None) -> None:
        body = self._body
        self._put_stops(body.get("stop") or [])
        keep_cache_control(self._out, body, "")
        if user_id is not None:
            self._out["metadata"] = {"user_id": user_id}
        elif body.get("user"):
            self._dropped.append("user")
        if body.get("service_tier") in _SERVICE_TIERS:
            self._out["service_tier"] = _SERVICE_TIERS[body["service_tier"]]
        if any(message.get("name") and message["role"] in _SPEAKERS for message in body["messages"]):
            self._dropped.append("messages[].name")
        if asks_for_detail(body["messages"]):
            self._dropped.append(IMAGE_DETAIL)
        self._dropped += [
            name
            for name, neutral in _BEST_EFFORT.items()
            if body.get(name) is not None and body[name] != neutral
        ]

    def _put_stops(self, stop: str | list[str]) -> None:
        """The vendor refuses sequences without a visible character."""
        stops = [stop] if isinstance(stop, str) else stop
        usable = [each for each in stops if each.strip()]
        if usable:
            self._out["stop_sequences"] = usable
        if len(usable) < len(stops):
            self._dropped.append("stop")

    def _output_config(self) -> dict[str, Any]:
        config: dict[str, Any] = self._out.setdefault("output_config", {})
        return config


_NEUTRAL_SAMPLING: Mapping[str, float] = {"temperature": 1, "top_p": 1, "top_k": -1}
_SAMPLING_FIELDS: Mapping[str, tuple[str, ...]] = {
    "full": ("temperature", "top_p", "top_k"),
    "temp_only": ("temperature",),
    "temp_xor_top_p": ("temperature", "top_p", "top_k"),
    "fixed_1": (),
    "none": (),
}


def _allowed_sampling(wanted: Mapping[str, Any], traits: ModelTraits, *, thinks: bool) -> tuple[str, ...]:
    allowed = _SAMPLING_FIELDS[traits.sampling]
    if thinks:
        top_p = wanted["top_p"]
        return ("top_p",) if "top_p" in allowed and top_p and top_p >= _LEAST_TOP_P_WITH_THINKING else ()
    if traits.sampling == "temp_xor_top_p" and wanted["temperature"] is not None:
        return tuple(name for name in allowed if name != "top_p")
    return allowed


def _former_tool(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "description": "Was there earlier in this conversation.",
        "input_schema": {"type": "object", "properties": {}},
    }


def _write(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:  # 254 levels can be written, 1,024 can be read
        raise InvalidRequest("The body of the request is nested too deeply.") from None
