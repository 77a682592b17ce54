"""What the Anthropic double is told to do, and the message it therefore writes.

The last text of the last user message may be a JSON object with fields of Directive; then it is a directive.
A JSON object with none of them, or any other text, asks for the default: eight words. A misspelt field beside
a known one is refused, so that a test cannot pass by accident.
"""

from dataclasses import dataclass, fields
from typing import Any

import orjson

from tests.doubles.anthropic_rules import sign, thinks
from tests.doubles.examples import example, example_in_words, pieces_of, stop_at
from tests.doubles.vendor_script import words

DEFAULT_CHUNKS = 8
DEFAULT_INPUT_TOKENS = 10
CHARACTERS_PER_TOKEN = 4
TOKENS_OF_THOUGHT = 20
THOUGHT = "The customer wants something. "


class DirectiveInvalidError(ValueError):
    """The directive cannot be followed; the message names what is wrong."""


@dataclass(frozen=True, slots=True)
class Directive:
    """`chunks` words, or `text` as it is, in so many pieces; then `tools` ({"name", "input", "id"?}).

    `usage` and `delta_usage` go over the counts of the first and of the last report. `error` are fields of
    an error with `status`, or inside the stream after `error_in_stream_after` pieces.
    """

    chunks: int | None = None
    text: str | None = None
    unicode: bool = False
    tools: tuple[dict[str, Any], ...] = ()
    thinking: bool | None = None
    redacted: bool = False
    citations: tuple[dict[str, Any], ...] = ()
    stop_reason: str | None = None
    stop_details: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None
    delta_usage: dict[str, Any] | None = None
    model: str | None = None
    delay_ms: float = 0
    first_delay_ms: float = 0
    status: int = 200
    error: dict[str, Any] | None = None
    retry_after: float | None = None
    html_error: bool = False
    error_in_stream_after: int | None = None
    die: str | None = None  # before_headers | after_headers | after_chunks:N | in_usage
    hang: bool = False
    no_stop: bool = False  # the stream ends without message_stop
    pings: bool = True
    crlf: bool = False
    split: str = "events"  # events | whole | bytes | random:SEED
    input_at_start: bool = False  # tools' input comes whole with their block, as some hosts write it


_FIELDS = frozenset(field.name for field in fields(Directive))


def read_directive(body: dict[str, Any]) -> Directive:
    """Raises DirectiveInvalidError."""
    text = _last_user_text(body["messages"])
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


def _last_user_text(messages: list[dict[str, Any]]) -> str:
    """Of the last message only: once tools have answered, the default answer ends the loop."""
    content = messages[-1]["content"]
    if messages[-1]["role"] != "user":
        return ""
    if isinstance(content, str):
        return content
    texts = [block["text"] for block in content if block["type"] == "text"]
    return str(texts[-1]) if texts else ""


@dataclass(slots=True)
class Script:
    """One answer, decided: its blocks with the pieces they are streamed in, why it ends, what it used."""

    directive: Directive
    model: str
    stream: bool
    blocks: list[tuple[dict[str, Any], list[str]]]
    stop_reason: str
    stop_sequence: str | None
    usage: dict[str, Any]
    output_tokens: int
    thinking_tokens: int

    @property
    def answers_as(self) -> str:
        return self.directive.model or self.model

    @property
    def final_usage(self) -> dict[str, Any]:
        """What the last report of a stream says; the first one's counts of input stay true."""
        thought = {"output_tokens_details": {"thinking_tokens": self.thinking_tokens}}
        return {
            "output_tokens": self.output_tokens,
            **(thought if self.thinking_tokens else {}),
            **(self.directive.delta_usage or {}),
        }


def read_script(body: dict[str, Any]) -> Script:
    """Raises DirectiveInvalidError."""
    directive = read_directive(body)
    tools = directive.tools or _forced_tools(body)
    thoughts = thinks(body) if directive.thinking is None else directive.thinking
    blocks = _thinking_blocks(directive, str(body["model"])) if thoughts else []
    pieces = _pieces(directive, body, calls=bool(tools))
    pieces, stop = stop_at(pieces, body.get("stop_sequences", ()))
    thinking_tokens = TOKENS_OF_THOUGHT if thoughts else 0
    output = len(pieces) + 5 * len(tools) + thinking_tokens
    reason = "tool_use" if tools else "end_turn" if stop is None else "stop_sequence"
    if output > body["max_tokens"]:
        pieces, tools, output, reason = pieces[: body["max_tokens"]], (), body["max_tokens"], "max_tokens"
    if pieces:
        blocks.append(({"type": "text", "text": "".join(pieces)}, pieces))
    blocks += [_tool_block(number, tool) for number, tool in enumerate(tools)]
    return Script(
        directive=directive,
        model=str(body["model"]),
        stream=bool(body.get("stream")),
        blocks=blocks,
        stop_reason=directive.stop_reason or reason,
        stop_sequence=stop,
        usage=_first_usage(body, directive),
        output_tokens=output,
        thinking_tokens=min(thinking_tokens, output),
    )


def _pieces(directive: Directive, body: dict[str, Any], *, calls: bool) -> list[str]:
    text = directive.text
    wanted = body.get("output_config", {}).get("format")
    if text is None and wanted is not None and not calls:
        text = orjson.dumps(example(wanted["schema"])).decode()
    if text is None and directive.chunks is None and not calls:
        text = _json_in_words(body.get("system"))
    if text is not None:
        return pieces_of(text)
    default = 0 if calls else DEFAULT_CHUNKS
    return words(default if directive.chunks is None else directive.chunks, unicode=directive.unicode)


def _json_in_words(system: str | list[dict[str, Any]] | None) -> str | None:
    """JSON between code fences, which is how a model writes it that is told not to use them."""
    blocks = system if isinstance(system, list) else [{"text": system or ""}]
    given = example_in_words("\n".join(block["text"] for block in blocks))
    return None if given is None else f"```json\n{orjson.dumps(given).decode()}\n```"


def _thinking_blocks(directive: Directive, model: str) -> list[tuple[dict[str, Any], list[str]]]:
    pieces = [THOUGHT[:10], THOUGHT[10:]]
    blocks = [({"type": "thinking", "thinking": THOUGHT, "signature": sign(model, THOUGHT)}, pieces)]
    if directive.redacted:
        blocks.append(({"type": "redacted_thinking", "data": "RG91YmxlZA=="}, []))
    return blocks


def _forced_tools(body: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """A model that must call a tool calls one, with arguments that fit."""
    choice = body.get("tool_choice") or {}
    if choice.get("type") not in ("any", "tool"):
        return ()
    name = choice.get("name", body["tools"][0]["name"])
    tool = next(each for each in body["tools"] if each["name"] == name)
    return ({"name": name, "input": example(tool["input_schema"])},)


def _tool_block(number: int, tool: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    given = tool.get("input", {})
    block = {
        "type": "tool_use",
        "id": tool.get("id", f"toolu_double{number}"),
        "name": tool["name"],
        "input": given,
    }
    written = orjson.dumps(given).decode() if given else ""
    return block, [written[at : at + 7] for at in range(0, len(written), 7)]


def _first_usage(body: dict[str, Any], directive: Directive) -> dict[str, Any]:
    characters = len(orjson.dumps([body.get("system"), body["messages"]]))
    return {
        "input_tokens": DEFAULT_INPUT_TOKENS + characters // CHARACTERS_PER_TOKEN,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 1,
        "service_tier": "standard",
        **(directive.usage or {}),
    }
