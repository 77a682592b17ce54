"""How the relay speaks to each kind of vendor. Pure: requests and answers as bytes; no network, no clock.

A vendor that speaks OpenAI's chat protocol needs no code of its own, only a name here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from billing.contracts import TokenUsage
from relay.capabilities import ModelTraits
from relay.contracts import AnswerFrame, ChatAnswer, ChatRequest, ReportedUsage, UpstreamRequest
from relay.errors import RelayError, ThoughtsRefused
from relay.protocols.openai_chat.collect import ChunkCollector
from relay.protocols.openai_chat.response import translate_response
from relay.protocols.openai_chat.stream import ChatStreamTranslator
from relay.vendors import anthropic, gemini, openai_shaped

GEMINI_API = "/v1beta"  # a channel's base URL is the bare host
HeaderPairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request to a vendor is made of. `limit` bounds its output tokens, `user_id` is no name.

    `sends_thoughts` False: the vendor has refused earlier thinking that was sent back to it.
    """

    chat: ChatRequest
    upstream_model: str
    traits: ModelTraits
    limit: int
    user_id: str
    memory: Mapping[str, Any]
    sends_thoughts: bool = True


class StreamTranslator(Protocol):
    """A vendor's stream made into ours; feed it every payload, then send `closing` or an error event."""

    done: bool

    @property
    def complete(self) -> bool: ...
    @property
    def finished(self) -> bool: ...
    @property
    def finish_reasons(self) -> tuple[str, ...]: ...
    @property
    def output_bytes(self) -> int: ...
    @property
    def reported_usage(self) -> ReportedUsage | None: ...
    @property
    def upstream_model(self) -> str: ...
    @property
    def service_tier(self) -> str: ...
    @property
    def remember(self) -> Mapping[str, Any]: ...
    def feed(self, payload: bytes) -> bytes | None: ...
    def closing(self, usage_for_client: TokenUsage) -> bytes: ...


class Collector(Protocol):
    """Makes a whole answer of a stream, for customers who asked for one."""

    @property
    def done(self) -> bool: ...
    def feed(self, payload: bytes) -> None: ...
    def answer(self) -> ChatAnswer: ...


class Adapter(Protocol):
    """`remembers`: earlier answers' thoughts must be recalled for requests that go on from tool calls.

    `added_tokens`: what instructions and tools that the adapter adds come to at most.
    """

    traits: ModelTraits
    remembers: bool
    added_tokens: int

    def build(self, asked: Asked) -> UpstreamRequest: ...
    def headers(self, api_key: str) -> HeaderPairs: ...
    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> RelayError: ...
    def translate(self, payload: bytes, frame: AnswerFrame) -> ChatAnswer: ...
    def stream(self, frame: AnswerFrame, *, include_usage: bool) -> StreamTranslator: ...
    def collector(self, frame: AnswerFrame) -> Collector: ...


class OpenAIShaped:
    """OpenAI itself and everybody with the same endpoint; how they differ is data."""

    added_tokens = 128

    def __init__(self, vendor: str) -> None:
        self._vendor = vendor
        self._dialect = openai_shaped.DIALECTS[vendor]
        self.traits = self._dialect.traits
        self.remembers = self._dialect.returns_reasoning
        self._translator = (
            openai_shaped.ThoughtfulStreamTranslator if self.remembers else ChatStreamTranslator
        )

    def build(self, asked: Asked) -> UpstreamRequest:
        return openai_shaped.build_request(
            asked.chat,
            upstream_model=asked.upstream_model,
            traits=asked.traits,
            max_output_tokens=asked.limit,
            user_id=asked.user_id,
            dialect=self._dialect,
            memory=asked.memory,
        )

    def headers(self, api_key: str) -> HeaderPairs:
        return openai_shaped.request_headers(api_key, self._vendor)

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> RelayError:
        return openai_shaped.vendor_refusal(status, headers, body)

    def translate(self, payload: bytes, frame: AnswerFrame) -> ChatAnswer:
        answer = translate_response(
            payload,
            completion_id=frame.completion_id,
            created=frame.created,
            model_fallback=frame.model_fallback,
        )
        return replace(answer, remember=openai_shaped.thoughts_of(answer)) if self.remembers else answer

    def stream(self, frame: AnswerFrame, *, include_usage: bool) -> StreamTranslator:
        return self._translator(
            completion_id=frame.completion_id,
            created=frame.created,
            include_usage=include_usage,
            model_fallback=frame.model_fallback,
        )

    def collector(self, frame: AnswerFrame) -> Collector:
        return ChunkCollector(self.stream(frame, include_usage=False))


class Anthropic:
    traits = anthropic.DEFAULT_TRAITS
    remembers = True
    added_tokens = 256

    def build(self, asked: Asked) -> UpstreamRequest:
        return anthropic.build_request(
            asked.chat,
            upstream_model=asked.upstream_model,
            traits=asked.traits,
            max_output_tokens=asked.limit,
            memory=asked.memory,
            user_id=asked.user_id,
            sends_thoughts=asked.sends_thoughts,
        )

    def headers(self, api_key: str) -> HeaderPairs:
        return anthropic.headers(api_key)

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> RelayError:
        error = anthropic.refusal(status, headers, body)
        return ThoughtsRefused(error.message) if anthropic.refuses_thoughts(status, body) else error

    def translate(self, payload: bytes, frame: AnswerFrame) -> ChatAnswer:
        return anthropic.translate_answer(payload, frame)

    def stream(self, frame: AnswerFrame, *, include_usage: bool) -> StreamTranslator:
        return anthropic.AnthropicStreamTranslator(frame, include_usage=include_usage)

    def collector(self, frame: AnswerFrame) -> Collector:
        return anthropic.AnswerCollector(frame)


class Gemini:
    traits = gemini.DEFAULT_TRAITS
    remembers = True
    added_tokens = 256

    def build(self, asked: Asked) -> UpstreamRequest:
        request = gemini.build_request(
            asked.chat,
            upstream_model=asked.upstream_model,
            traits=asked.traits,
            max_output_tokens=asked.limit,
            memory=asked.memory,
            user_id=asked.user_id,
            sends_thoughts=asked.sends_thoughts,
        )
        return replace(request, path=GEMINI_API + request.path)

    def headers(self, api_key: str) -> HeaderPairs:
        return gemini.headers(api_key)

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> RelayError:
        error = gemini.refusal(status, headers, body)
        return ThoughtsRefused(error.message) if gemini.refuses_thoughts(status, body) else error

    def translate(self, payload: bytes, frame: AnswerFrame) -> ChatAnswer:
        return gemini.translate_answer(payload, frame)

    def stream(self, frame: AnswerFrame, *, include_usage: bool) -> StreamTranslator:
        return gemini.GeminiStreamTranslator(frame, include_usage=include_usage)

    def collector(self, frame: AnswerFrame) -> Collector:
        raise NotImplementedError("a whole answer is asked for as one")


ADAPTERS: Mapping[str, Adapter] = {
    **{vendor: OpenAIShaped(vendor) for vendor in openai_shaped.DIALECTS},
    "anthropic": Anthropic(),
    "gemini": Gemini(),
}


def is_served(vendor: str) -> bool:
    """Whether the relay can speak to this vendor."""
    return vendor in ADAPTERS


def frame_of(request: UpstreamRequest, completion_id: str, created: int, asked_model: str) -> AnswerFrame:
    """What the answer to `request` is translated with."""
    return AnswerFrame(
        completion_id=completion_id,
        created=created,
        model_fallback=asked_model,
        tool_names=request.tool_names,
        json_tool=request.json_tool,
        json_text=request.json_text,
        function_form=request.function_form,
    )


def calls_answered(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """The tool calls that a prompt goes on from, by id."""
    return [message["tool_call_id"] for message in messages if message["role"] == "tool"]
