"""What the Gemini double is told to do, and the answer it therefore gives.

The last text of the last content may be a JSON object with fields of Directive; then it is a directive. A
JSON object with none of them, or any other text, asks for the default: eight words. A misspelt field beside
a known one is refused, so that a test cannot pass by accident.
"""

from dataclasses import dataclass, field, fields
from typing import Any

import orjson

from tests.doubles.examples import example, pieces_of, stop_at
from tests.doubles.gemini_rules import family_of, sign, thinks
from tests.doubles.vendor_script import words

DEFAULT_CHUNKS = 8
DEFAULT_PROMPT_TOKENS = 10
CHARACTERS_PER_TOKEN = 4
TOKENS_OF_THOUGHT = 20
THOUGHT = "The customer wants something. "


class DirectiveInvalidError(ValueError):
    """The directive cannot be followed; the message names what is wrong."""


@dataclass(frozen=True, slots=True)
class Directive:
    """`chunks` words, or `text` as it is, in so many pieces; then `tools` ({"name", "args", "id"?}).

    `usage` goes over the counts of the last report; a count that is null is left out. `error` are fields of
    an error with `status`, or inside the stream after `error_in_stream_after` pieces.
    """

    chunks: int | None = None
    text: str | None = None
    unicode: bool = False
    tools: tuple[dict[str, Any], ...] = ()
    together: bool = True  # all calls in one event of a stream, or each in its own
    thinking: bool | None = None
    finish_reason: str | None = None
    finish_apart: bool = True  # the reason comes in an event of its own, with empty text
    finish_message: str | None = None
    block_reason: str | None = None
    empty: bool = False  # no candidates, and no word about why
    citations: tuple[dict[str, Any], ...] = ()
    usage: dict[str, Any] | None = None
    model: str | None = None
    delay_ms: float = 0
    first_delay_ms: float = 0
    status: int = 200
    error: dict[str, Any] | None = None
    retry_delay: str | None = None  # "37s"
    html_error: bool = False
    error_in_stream_after: int | None = None
    die: str | None = None  # before_headers | after_headers | after_chunks:N | in_usage
    hang: bool = False
    no_finish: bool = False  # the stream ends without a reason
    crlf: bool = True
    split: str = "events"  # events | whole | bytes | random:SEED


_FIELDS = frozenset(field.name for field in fields(Directive))


def read_directive(body: dict[str, Any]) -> Directive:
    """Raises DirectiveInvalidError."""
    text = _last_text(body["contents"][-1])
    try:
        given = orjson.loads(text) if text.startswith("{") else None
    except orjson.JSONDecodeError:
        given = None
    if not isinstance(given, dict) or not _FIELDS & given.keys():
        return Directive()
    if strange := given.keys() - _FIELDS:
        raise DirectiveInvalidError(f"unknown fields in the directive: {sorted(strange)}")
    lists = {name: tuple(given.get(name) or ()) for name in ("tools", "citations")}
    return Directive(**{**given, **lists})


def _last_text(content: dict[str, Any]) -> str:
    """Of the last content only: once functions have answered, the default answer ends the loop."""
    texts = [part["text"] for part in content["parts"] if "text" in part]
    return str(texts[-1]) if texts and content.get("role") != "model" else ""


@dataclass(slots=True)
class Script:
    """One answer, decided. `pieces` are of the text, `calls` the parts of calls."""

    directive: Directive
    model: str
    stream: bool
    candidates: int
    thoughts: list[str]  # shown ones
    pieces: list[str]
    calls: list[dict[str, Any]]
    finish_reason: str
    usage: dict[str, Any]
    logprobs: int | None  # alternatives for each token; None: not asked for
    blocked: dict[str, Any] = field(default_factory=dict)

    @property
    def answers_as(self) -> str:
        return self.directive.model or self.model


def read_script(model: str, body: dict[str, Any], *, stream: bool) -> Script:
    """Raises DirectiveInvalidError."""
    directive = read_directive(body)
    config = body.get("generationConfig", {})
    thought = thinks(model, body) if directive.thinking is None else directive.thinking
    shown = thought and config.get("thinkingConfig", {}).get("includeThoughts")
    calls = _calls(model, directive.tools or _forced_calls(body))
    pieces, _ = stop_at(_pieces(directive, config, calls=bool(calls)), config.get("stopSequences", ()))
    reason, limit = "STOP", config.get("maxOutputTokens", 1 << 20)
    thoughts = TOKENS_OF_THOUGHT if thought else 0
    if thoughts + len(pieces) + 5 * len(calls) > limit:
        thoughts = min(thoughts, limit)
        pieces, calls, reason = pieces[: limit - thoughts], [], "MAX_TOKENS"
    return Script(
        directive=directive,
        model=model,
        stream=stream,
        candidates=config.get("candidateCount", 1),
        thoughts=[THOUGHT[:10], THOUGHT[10:]] if shown else [],
        pieces=pieces,
        calls=calls,
        finish_reason=directive.finish_reason or reason,
        usage=_usage(body, directive, len(pieces) + 5 * len(calls), thoughts),
        logprobs=config.get("logprobs", 0) if config.get("responseLogprobs") else None,
    )


def _pieces(directive: Directive, config: dict[str, Any], *, calls: bool) -> list[str]:
    text = directive.text
    if text is None and config.get("responseMimeType") == "application/json" and not calls:
        schema = config.get("responseSchema") or config.get("responseJsonSchema") or {"type": "object"}
        text = orjson.dumps(example(schema)).decode()
    if text is not None:
        return pieces_of(text)
    default = 0 if calls else DEFAULT_CHUNKS
    return words(default if directive.chunks is None else directive.chunks, unicode=directive.unicode)


def _calls(model: str, tools: tuple[dict[str, Any], ...]) -> list[dict[str, Any]]:
    """The first of several calls is signed, where the model signs."""
    family = family_of(model)
    parts = []
    for number, tool in enumerate(tools):
        call = {"name": tool["name"], "args": tool.get("args", {})}
        if family is not None and family.call_ids:
            call["id"] = tool.get("id", f"double{number}")
        part: dict[str, Any] = {"functionCall": call}
        if number == 0 and family is not None and family.signed:
            part["thoughtSignature"] = sign(model, call["name"], call["args"])
        parts.append(part)
    return parts


def _forced_calls(body: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """A model that must call a function calls one, with arguments that fit."""
    config = body.get("toolConfig", {}).get("functionCallingConfig", {})
    if config.get("mode") != "ANY":
        return ()
    declared = body["tools"][0]["functionDeclarations"]
    name = config.get("allowedFunctionNames", [declared[0]["name"]])[0]
    wanted = next(each for each in declared if each["name"] == name)
    schema = wanted.get("parameters") or wanted.get("parametersJsonSchema") or {"type": "object"}
    return ({"name": name, "args": example(schema)},)


def _usage(body: dict[str, Any], directive: Directive, candidates: int, thoughts: int) -> dict[str, Any]:
    characters = len(orjson.dumps([body.get("systemInstruction"), body["contents"]]))
    prompt = DEFAULT_PROMPT_TOKENS + characters // CHARACTERS_PER_TOKEN
    candidates *= body.get("generationConfig", {}).get("candidateCount", 1)
    usage = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": candidates or None,
        "totalTokenCount": prompt + candidates + thoughts,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}],
        "thoughtsTokenCount": thoughts or None,
        **(directive.usage or {}),
    }
    return {name: value for name, value in usage.items() if value is not None}
