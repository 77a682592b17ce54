"""What the vendor double is told to do: the directive in a request, made into a script to play.

The content of the last user message may be a JSON object of the fields of Directive. A JSON object
with none of them, or any other content, asks for the default: 8 chunks, no delay, usage computed from
the request. A misspelt field beside a known one is refused, so that a test cannot pass by accident.

Tests may import `read_script` to learn what usage the double is going to report.
"""

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from tests.doubles.examples import example, example_in_words, pieces_of, stop_at

DEFAULT_CHUNKS = 8
DEFAULT_PROMPT_TOKENS = 10
CHARACTERS_PER_TOKEN = 4


class DirectiveInvalidError(ValueError):
    """The directive cannot be followed; the message names what is wrong."""


class Point(NamedTuple):
    """Where an answer stops. `chunks` counts content chunks, for the place `after_chunks`."""

    place: str
    chunks: int = 0


@dataclass(frozen=True, slots=True)
class Directive:
    """The fields a test may set; see `tests/doubles/vendor.py` for the whole list in words."""

    chunks: int | None = None
    delay_ms: float = 0
    first_delay_ms: float = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    usage: dict[str, Any] | None = None
    finish_reason: str | None = None
    status: int = 200
    error: dict[str, Any] | None = None
    retry_after: float | None = None
    die: str | None = None
    hang: bool | str = False
    error_in_stream_after: int | None = None
    no_usage: bool = False
    no_done: bool = False
    usage_each_chunk: bool = False
    crlf: bool = False
    split: str = "events"
    tool_calls: tuple[dict[str, Any], ...] = ()
    empty_first_choices: bool = False
    html_error: bool = False
    model: str | None = None
    unicode: bool = False
    reasoning: int = 0
    refusal: str | None = None
    text: str | None = None
    refuses: bool = False

    @property
    def stops_at(self) -> Point | None:
        """The point where the answer breaks off, whether by dying or by hanging."""
        if self.hang is True:
            return Point("before_headers")
        place = self.die or self.hang
        return _read_point(place) if place else None

    @property
    def fails(self) -> bool:
        """Whether the answer is an HTTP error (or a page of HTML) instead of a completion."""
        return self.status != 200 or self.html_error or self.refusal is not None


DEFAULT = Directive()
_FIELDS = frozenset(field.name for field in fields(Directive))
_PLACES = ("before_headers", "after_headers", "after_chunks", "in_usage")
_SPLITS = ("events", "whole", "bytes")


@dataclass(slots=True)
class Script:
    """One answer, decided: everything that depends on the request and not on the clock."""

    directive: Directive
    model: str
    stream: bool
    include_usage: bool
    choices: int
    chunks: int
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    vendor: str = ""  # OpenAI, or a name in vendor_profiles
    texts: tuple[str, ...] | None = None  # the pieces, where they are not the numbered words
    logprobs: int | None = None  # alternatives for each piece; None: not asked for

    @property
    def answers_as(self) -> str:
        return self.directive.model or self.model

    def usage(self) -> dict[str, Any]:
        """The usage object of the answer, as OpenAI writes it."""
        return {**self.counts(), **(self.directive.usage or {})}

    def counts(self) -> dict[str, Any]:
        """The usage that follows from the request, before the directive's own is put over it."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": self.reasoning_tokens,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }


def read_script(request: dict[str, Any], vendor: str = "") -> Script:
    """The script for a chat request; raises DirectiveInvalidError.

    `max_completion_tokens`, or else `max_tokens`, lowers completion tokens and chunks like a real
    vendor's limit: for each choice, with the finish reason `length`.
    """
    messages = request.get("messages") or []
    directive = read_directive(_last_user_text(messages))
    choices = request.get("n") or 1
    chunks = DEFAULT_CHUNKS if directive.chunks is None else directive.chunks
    texts = None if directive.tool_calls else _texts(directive, request, chunks)
    chunks = chunks if texts is None else len(texts)
    completion = directive.completion_tokens
    completion = chunks * choices if completion is None else completion
    finish = directive.finish_reason or ("tool_calls" if directive.tool_calls else "stop")
    limit = request.get("max_completion_tokens") or request.get("max_tokens")
    if limit is not None and limit * choices < completion:
        completion, chunks, finish = limit * choices, min(chunks, limit), "length"
        texts = texts[:chunks] if texts is not None else None
    prompt = directive.prompt_tokens
    options = request.get("stream_options") or {}
    stream = bool(request.get("stream"))
    return Script(
        directive=directive,
        model=str(request.get("model")),
        stream=stream,
        include_usage=stream and bool(options.get("include_usage")),
        choices=choices,
        chunks=chunks,
        finish_reason=finish,
        prompt_tokens=_count_prompt_tokens(messages) if prompt is None else prompt,
        completion_tokens=completion,
        cached_tokens=directive.cached_tokens,
        reasoning_tokens=min(directive.reasoning_tokens, completion),
        vendor=vendor,
        texts=texts,
        logprobs=request.get("top_logprobs", 0) if request.get("logprobs") else None,
    )


def _texts(directive: Directive, request: dict[str, Any], chunks: int) -> tuple[str, ...] | None:
    wanted = request.get("response_format") or {"type": "text"}
    stops = request.get("stop") or ()
    stops = [stops] if isinstance(stops, str) else stops
    if directive.text is not None:
        pieces = pieces_of(directive.text)
    elif wanted["type"] != "text" and directive.chunks is None:
        pieces = pieces_of(orjson.dumps(_as_wanted(wanted, request["messages"])).decode())
    elif stops:
        pieces = words(chunks, unicode=directive.unicode)
    else:
        return None
    return tuple(stop_at(pieces, stops)[0])


def _as_wanted(wanted: dict[str, Any], messages: list[dict[str, Any]]) -> Any:
    """By the schema of the format, or the one that an instruction states."""
    if "json_schema" in wanted:
        return example(wanted["json_schema"].get("schema") or {"type": "object"})
    told = "\n".join(text_of(message) for message in messages if message["role"] == "system")
    return example_in_words(told) or {"answer": "w0"}


def words(chunks: int, *, unicode: bool) -> list[str]:
    """One word a chunk, each telling its number, so that a lost or doubled one shows."""
    return [f"词{number}🚃é " if unicode else f"w{number} " for number in range(chunks)]


@lru_cache(maxsize=512)
def read_directive(text: str) -> Directive:
    """The directive in a message's text, DEFAULT where there is none; raises DirectiveInvalidError."""
    if not text.startswith("{"):
        return DEFAULT
    try:
        given = orjson.loads(text)
    except orjson.JSONDecodeError:
        return DEFAULT
    if not isinstance(given, dict) or not _FIELDS & given.keys():
        return DEFAULT
    if strange := given.keys() - _FIELDS:
        raise DirectiveInvalidError(f"unknown fields in the directive: {sorted(strange)}")
    directive = Directive(**{**given, "tool_calls": tuple(given.get("tool_calls", ()))})
    _check_directive(directive)
    return directive


def _check_directive(directive: Directive) -> None:
    _ = directive.stops_at  # raises when the place is misspelt
    if directive.die and directive.hang:
        raise DirectiveInvalidError("an answer cannot both die and hang")
    if directive.split not in _SPLITS:
        read_seed(directive.split)


def read_seed(split: str) -> int:
    """The seed in `random:SEED`; raises DirectiveInvalidError."""
    kind, _, seed = split.partition(":")
    if kind != "random" or not seed.isdigit():
        raise DirectiveInvalidError(f"split must be one of {_SPLITS} or random:SEED, not {split!r}")
    return int(seed)


def _read_point(text: str | bool) -> Point:
    place, _, chunks = str(text).partition(":")
    if place not in _PLACES or (place == "after_chunks") != chunks.isdigit():
        raise DirectiveInvalidError(f"no such place in an answer: {text!r}")
    return Point(place, int(chunks or 0))


def _last_user_text(messages: list[dict[str, Any]]) -> str:
    """Of the last message only: once tools have answered, the default answer ends the loop."""
    last: dict[str, Any] = next(
        (one for one in reversed(messages) if one.get("role") not in ("system", "developer")), {}
    )
    return text_of(last) if last.get("role") == "user" else ""


def text_of(message: dict[str, Any]) -> str:
    """The text of a message, its text parts joined."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or ())


def _count_prompt_tokens(messages: list[dict[str, Any]]) -> int:
    characters = 0
    for message in messages:
        characters += len(text_of(message))
    return DEFAULT_PROMPT_TOKENS + characters // CHARACTERS_PER_TOKEN
