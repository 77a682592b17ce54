"""A customer's chat request as a call of Gemini's `generateContent`.

What would change the answer's meaning and cannot be had is refused; what only asks nicely is left out and
named. Everything is written anew: the request the customer sent is never changed.
"""

from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import quote

import orjson

from relay.capabilities import ModelTraits
from relay.contracts import ChatRequest, UpstreamRequest
from relay.errors import InvalidRequest
from relay.vendors.gemini.contents import read_conversation
from relay.vendors.gemini.parts import text_part
from relay.vendors.gemini.schema import openapi_schema, standard_schema
from relay.vendors.gemini.signatures import Signatures
from relay.vendors.gemini.thinking import plan_thinking
from relay.vendors.gemini.tools import Toolbox, read_tools
from relay.vendors.shared.image_detail import IMAGE_DETAIL, asks_for_detail
from relay.vendors.shared.tool_names import ToolNames

_JSON_ONLY = "Answer with one JSON object and nothing else: no prose before or after it, no code fences."
_BY_SCHEMA = f"{_JSON_ONLY} It must be valid against this JSON Schema:\n"
_SCHEMA_PARAM = "response_format.json_schema.schema"
# Left out and named, unless the value is the one that changes nothing.
_BEST_EFFORT: Mapping[str, Any] = {
    "user": "",
    "safety_identifier": "",
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
_PENALTIES: Mapping[str, str] = {
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
_HIGHEST_PENALTY = 1.99  # two itself is out of the vendor's range
_SAMPLING: Mapping[str, str] = {"temperature": "temperature", "top_p": "topP", "top_k": "topK"}
_ALLOWED_SAMPLING: Mapping[str, tuple[str, ...]] = {
    "full": ("temperature", "top_p", "top_k"),
    "temp_only": ("temperature",),
    "temp_xor_top_p": ("temperature", "top_p", "top_k"),
    "fixed_1": (),
    "none": (),
}
_SEED_RANGE = range(-(2**31), 2**31)


def build_request(
    chat: ChatRequest,
    *,
    upstream_model: str,
    traits: ModelTraits,
    max_output_tokens: int | None,
    memory: Mapping[str, Any],
    user_id: str | None,  # noqa: ARG001 - every vendor is offered it; this one has no field for it
    sends_thoughts: bool = True,
) -> UpstreamRequest:
    """`memory` holds what earlier answers gave in `remember`.

    `sends_thoughts` False builds the request anew after the vendor refused the signatures in it
    (`refuses_thoughts`). Raises InvalidRequest for what this model cannot do.
    """
    _refuse_unsupported(chat, traits)
    limit = chat.max_output_tokens if max_output_tokens is None else max_output_tokens
    if limit is not None and traits.max_output is not None:
        limit = min(limit, traits.max_output)
    signatures = Signatures(upstream_model, memory, needed=traits.signed_tool_calls, is_usable=sends_thoughts)
    return _Build(chat, traits, limit).finish(upstream_model, signatures)


def _refuse_unsupported(chat: ChatRequest, traits: ModelTraits) -> None:
    body = chat.body
    if chat.n > traits.n_max:
        _refuse("n", f"this model gives at most {traits.n_max} for each request", "unsupported_value")
    if body.get("logprobs") and not traits.logprobs:
        _refuse("logprobs", "this model gives no log probabilities", "unsupported_parameter")
    if "audio" in (body.get("modalities") or ()):
        _refuse("modalities", "this model answers in text only", "unsupported_value")


def _refuse(param: str, problem: str, reason: str) -> NoReturn:
    kind = "parameter" if reason == "unsupported_parameter" else "value"
    raise InvalidRequest(f"Unsupported {kind}: '{param}': {problem}.", param=param, reason=reason)


def _path(model: str, *, stream: bool) -> str:
    name = quote(model, safe="/-._~@") if "/" in model else f"models/{quote(model)}"
    return f"/{name}:streamGenerateContent?alt=sse" if stream else f"/{name}:generateContent"


class _Build:
    """One request on its way to the vendor's shape."""

    __slots__ = ("_body", "_chat", "_config", "_dropped", "_instruction", "_limit", "_traits")

    def __init__(self, chat: ChatRequest, traits: ModelTraits, limit: int | None) -> None:
        self._chat = chat
        self._body: Mapping[str, Any] = chat.body
        self._traits = traits
        self._limit = limit
        self._dropped: list[str] = []
        self._config: dict[str, Any] = {}
        self._instruction: str | None = None

    def finish(self, model: str, signatures: Signatures) -> UpstreamRequest:
        names = ToolNames(self._traits.tool_name_regex)
        toolbox = read_tools(self._body, self._traits, names)
        self._dropped += toolbox.dropped
        self._read_format(toolbox)
        self._put_sampling()
        self._put_rest()
        conversation = read_conversation(self._body["messages"], self._traits, names, signatures)
        if self._instruction is not None:
            conversation.system.append(text_part(self._instruction))
        out: dict[str, Any] = {"contents": conversation.contents}
        if conversation.system:
            out["systemInstruction"] = {"parts": conversation.system}
        if toolbox.declarations:
            out["tools"] = [{"functionDeclarations": toolbox.declarations}]
        if toolbox.config is not None:
            out["toolConfig"] = toolbox.config
        if self._config:
            out["generationConfig"] = self._config
        if self._chat.service_tier:  # one without a price never comes here
            out["serviceTier"] = self._chat.service_tier
        return UpstreamRequest(
            path=_path(model, stream=self._chat.stream),
            body=_write(out),
            dropped=tuple(self._dropped),
            tool_names=names.changed,
            json_text=self._instruction is not None,
            function_form=toolbox.function_form,
        )

    def _read_format(self, toolbox: Toolbox) -> None:
        """JSON by the vendor's own means, or by asking for it where those cannot be had beside tools."""
        wanted = self._body.get("response_format") or {"type": "text"}
        is_combinable = self._traits.json_with_tools or not toolbox.declarations
        if wanted["type"] == "json_object":
            self._ask_for_object(native=is_combinable)
        elif wanted["type"] == "json_schema":
            self._ask_for_schema(
                wanted["json_schema"].get("schema") or {"type": "object"}, native=is_combinable
            )

    def _ask_for_object(self, *, native: bool) -> None:
        if not self._traits.json_object:
            _refuse("response_format", "this model cannot be held to JSON", "unsupported_value")
        if native:
            self._config["responseMimeType"] = "application/json"
        else:
            self._instruction = _JSON_ONLY

    def _ask_for_schema(self, schema: dict[str, Any], *, native: bool) -> None:
        if self._traits.json_schema == "none":
            _refuse("response_format", "this model cannot be held to a schema", "unsupported_value")
        if not native or self._traits.json_schema != "native":
            self._instruction = _BY_SCHEMA + _write(schema).decode()
            return
        self._config["responseMimeType"] = "application/json"
        if self._traits.schema_dialect == "json_schema":
            self._config["responseJsonSchema"] = standard_schema(schema, _SCHEMA_PARAM)
        else:
            self._config["responseSchema"] = openapi_schema(schema, _SCHEMA_PARAM)

    def _put_sampling(self) -> None:
        allowed = _ALLOWED_SAMPLING[self._traits.sampling]
        if self._traits.sampling == "temp_xor_top_p" and self._body.get("temperature") is not None:
            allowed = ("temperature", "top_k")
        for name, field in _SAMPLING.items():
            value = self._body.get(name)
            if value is None or (name == "top_k" and value <= 0):
                continue
            if name in allowed:
                self._config[field] = value
            elif value != 1:
                self._dropped.append(name)
        for name, field in _PENALTIES.items():
            if value := self._body.get(name):
                self._put_if(self._traits.penalties, name, {field: min(value, _HIGHEST_PENALTY)})

    def _put_rest(self) -> None:
        body = self._body
        if self._limit is not None:
            self._config["maxOutputTokens"] = self._limit
        if self._chat.n > 1:
            self._config["candidateCount"] = self._chat.n
        if body.get("seed") is not None:
            self._put_if(self._traits.seed, "seed", {"seed": _fold_seed(body["seed"])})
        if body.get("logprobs"):
            self._config["responseLogprobs"] = True
            if body.get("top_logprobs"):
                self._config["logprobs"] = body["top_logprobs"]
        self._put_stops(body.get("stop") or [])
        thinking = plan_thinking(body, self._traits, self._limit)
        if thinking.config is not None:
            self._config["thinkingConfig"] = thinking.config
        self._dropped += [*thinking.dropped, *_best_effort(body)]

    def _put_if(self, is_supported: bool, name: str, fields: Mapping[str, Any]) -> None:
        if is_supported:
            self._config.update(fields)
        else:
            self._dropped.append(name)

    def _put_stops(self, stop: str | list[str]) -> None:
        """The vendor refuses empty sequences, which would stop nothing."""
        stops = [stop] if isinstance(stop, str) else stop
        usable = [each for each in stops if each]
        most = self._traits.stop_max
        if most is not None and len(usable) > most:
            raise InvalidRequest(
                f"Invalid 'stop': this model takes at most {most} sequences.",
                param="stop",
                reason="array_above_max_length",
            )
        if usable:
            self._config["stopSequences"] = usable
        if len(usable) < len(stops):
            self._dropped.append("stop")


def _best_effort(body: Mapping[str, Any]) -> list[str]:
    dropped = [name for name, neutral in _BEST_EFFORT.items() if body.get(name) not in (None, neutral)]
    if any(message.get("name") and message["role"] in _SPEAKERS for message in body["messages"]):
        dropped.append("messages[].name")
    if asks_for_detail(body["messages"]):
        dropped.append(IMAGE_DETAIL)
    return dropped


def _fold_seed(seed: int) -> int:
    """The vendor's seeds have 32 bits; the same seed stays the same."""
    if seed in _SEED_RANGE:
        return seed
    return (seed ^ seed >> 31 ^ seed >> 62) & 0x7FFFFFFF


def _write(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:  # 254 levels can be written, 1,024 can be read
        raise InvalidRequest("The body of the request is nested too deeply.") from None
