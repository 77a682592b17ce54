"""The demo vendor's side of OpenAI's wire format: requests read, answers and errors rendered.

DemoVendorError is every refusal of this vendor; it knows its HTTP status and its envelope.
"""

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import orjson

from relay.demo_vendor_text import MODEL, Choice, compose_choice, count_prompt_tokens

MAX_CHOICES = 128
DONE = b"data: [DONE]\n\n"


class DemoVendorError(Exception):
    """A request the demo vendor does not answer. `status` is the HTTP status."""

    def __init__(
        self, message: str, *, status: int = 400, code: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.param = param

    def render(self) -> bytes:
        """OpenAI's error envelope; all four keys are always there."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return orjson.dumps({"error": error})


@dataclass(frozen=True)
class ChatRequest:
    """What of a chat request matters to the demo model. `texts` are all messages', for counting."""

    texts: tuple[str, ...]
    question: str
    stops: tuple[str, ...]
    limit: int | None
    choices: int
    stream: bool
    include_usage: bool


def read_chat_request(body: bytes) -> ChatRequest:
    """The request in `body`; raises DemoVendorError."""
    fields = _read_object(body)
    messages = _read_messages(fields)
    stream = _read_flag(fields, "stream")
    return ChatRequest(
        texts=tuple(_text_of(message) for message in messages),
        question=next((_text_of(m) for m in reversed(messages) if m.get("role") == "user"), ""),
        stops=_read_stops(fields),
        limit=_read_limit(fields),
        choices=_read_integer(fields, "n", most=MAX_CHOICES) or 1,
        stream=stream,
        include_usage=_read_include_usage(fields, stream=stream),
    )


def render_models(created: int) -> bytes:
    """The list with the one model there is; `created` is a Unix time in seconds."""
    return orjson.dumps({"object": "list", "data": [_model(created)]})


def render_model(created: int) -> bytes:
    """The one model there is."""
    return orjson.dumps(_model(created))


@dataclass(frozen=True)
class Answer:
    """One answer to one request; `id` and `created` stay the same through all of its chunks."""

    request: ChatRequest
    choices: tuple[Choice, ...]
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def usage(self) -> dict[str, int]:
        prompt = count_prompt_tokens(self.request.texts)
        completion = sum(len(choice.tokens) for choice in self.choices)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }

    def render(self) -> bytes:
        """The plain answer."""
        answer = self._shell("chat.completion")
        answer["choices"] = [_whole(index, choice) for index, choice in enumerate(self.choices)]
        return orjson.dumps({**answer, "usage": self.usage()})

    def render_steps(self) -> Iterator[bytes]:
        """The streamed answer, as the bytes that belong together in time; ends with `[DONE]`.

        The choices run side by side: a step holds the next token of each.
        """
        count = len(self.choices)
        opening = {"role": "assistant", "content": "", "refusal": None}
        yield b"".join(self._chunk(index, opening) for index in range(count))
        for step in zip_longest(*(choice.tokens for choice in self.choices)):
            yield b"".join(
                self._chunk(index, {"content": token})
                for index, token in enumerate(step)
                if token is not None
            )
        yield (
            b"".join(
                self._chunk(index, {}, choice.finish_reason) for index, choice in enumerate(self.choices)
            )
            + self._closing()
        )

    def _closing(self) -> bytes:
        if not self.request.include_usage:
            return DONE
        return _event({**self._chunk_shell(), "choices": [], "usage": self.usage()}) + DONE

    def _chunk(self, index: int, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {
            "index": index,
            "delta": delta,
            "logprobs": None,
            "finish_reason": finish_reason,
        }
        return _event({**self._chunk_shell(), "choices": [choice]})

    def _chunk_shell(self) -> dict[str, Any]:
        shell = self._shell("chat.completion.chunk")
        return {**shell, "usage": None} if self.request.include_usage else shell

    def _shell(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": MODEL,
            "system_fingerprint": None,
        }


def answer(request: ChatRequest) -> Answer:
    """The demo model's answer to `request`."""
    return Answer(
        request,
        tuple(
            compose_choice(request.question, index=index, stops=request.stops, limit=request.limit)
            for index in range(request.choices)
        ),
    )


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"


def _whole(index: int, choice: Choice) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": choice.text,
        "refusal": None,
        "annotations": [],
    }
    return {
        "index": index,
        "message": message,
        "logprobs": None,
        "finish_reason": choice.finish_reason,
    }


def _model(created: int) -> dict[str, Any]:
    return {"id": MODEL, "object": "model", "created": created, "owned_by": "Farebox"}


def _read_object(body: bytes) -> dict[str, Any]:
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise DemoVendorError("The body is not valid JSON.") from error
    if not isinstance(fields, dict):
        raise DemoVendorError("The body must be a JSON object.")
    model = _required(fields, "model")
    if model != MODEL:
        message = f"This vendor offers one model, {MODEL!r}."
        raise DemoVendorError(message, status=404, code="model_not_found", param="model")
    return fields


def _required(fields: dict[str, Any], name: str) -> Any:
    if fields.get(name) is None:
        message = f"The parameter '{name}' is required."
        raise DemoVendorError(message, code="missing_required_parameter", param=name)
    return fields[name]


def _read_messages(fields: dict[str, Any]) -> list[dict[str, Any]]:
    messages = _required(fields, "messages")
    if not isinstance(messages, list):
        raise _wrong_type("messages", "an array")
    if not messages:
        raise DemoVendorError("'messages' must not be empty.", code="empty_array", param="messages")
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise _wrong_type(f"messages[{index}]", "an object")
    return messages


def _text_of(message: dict[str, Any]) -> str:
    """The text of a message; its other parts are not read."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return " ".join(text for text in texts if isinstance(text, str))


def _read_stops(fields: dict[str, Any]) -> tuple[str, ...]:
    stops = fields.get("stop")
    stops = [stops] if isinstance(stops, str) else stops or []
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise _wrong_type("stop", "a string or an array of strings")
    return tuple(stops)


def _read_limit(fields: dict[str, Any]) -> int | None:
    """The most tokens a choice may have; the newer parameter wins."""
    newer = _read_integer(fields, "max_completion_tokens")
    older = _read_integer(fields, "max_tokens")
    return newer if newer is not None else older


def _read_integer(fields: dict[str, Any], name: str, *, most: int | None = None) -> int | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong_type(name, "an integer")
    if value < 1:
        message = f"'{name}' must be at least 1."
        raise DemoVendorError(message, code="integer_below_min_value", param=name)
    if most is not None and value > most:
        message = f"'{name}' must be at most {most}."
        raise DemoVendorError(message, code="integer_above_max_value", param=name)
    return value


def _read_flag(fields: dict[str, Any], name: str) -> bool:
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise _wrong_type(name, "a boolean")
    return bool(value)


def _read_include_usage(fields: dict[str, Any], *, stream: bool) -> bool:
    options = fields.get("stream_options")
    if options is None:
        return False
    if not isinstance(options, dict):
        raise _wrong_type("stream_options", "an object")
    if not stream:
        message = "'stream_options' is only allowed together with 'stream'."
        raise DemoVendorError(message, param="stream_options")
    return _read_flag(options, "include_usage")


def _wrong_type(param: str, expected: str) -> DemoVendorError:
    return DemoVendorError(f"'{param}' must be {expected}.", code="invalid_type", param=param)
