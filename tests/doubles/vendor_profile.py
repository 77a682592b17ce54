"""How a vendor that speaks OpenAI's protocol with an accent differs from OpenAI: a form to fill in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.doubles.vendor_http import Head
from tests.doubles.vendor_rules import Mistake, Rule

Json = dict[str, Any]
Answer = tuple[int, Json | str]  # a status, and an error's body
WRONG_KEY = "wrong"  # a credential with this in it opens nothing


def same(value: Json) -> Json:
    return value


def openai_mistake(mistake: Mistake) -> Answer:
    return 400, envelope(mistake.message, "invalid_request_error", mistake.code, mistake.param)


def envelope(message: str, kind: str | None, code: Any, param: str | None = None) -> Json:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


@dataclass(frozen=True, slots=True)
class Profile:
    """`chunk`, `message` and `usage` turn OpenAI's shapes into the vendor's.

    `chunk` takes a chunk with one choice or none. `reasoning_delta` is the delta for a piece of thought.
    `comments` stand before events. `refusals` are canned errors by what they are about.
    """

    name: str
    base_path: str
    wrong_key: Answer
    chunk: Callable[[Json], Json] = same
    message: Callable[[Json, str], Json] = lambda message, _thought: message
    usage: Callable[[Json], Json] = same
    whole: Callable[[Json], Json] = same
    reasoning_delta: Callable[[str], Json] | None = None
    tool_fragment: Callable[[Json], Json] = same
    whole_tool_calls: bool = False  # a call comes in one piece
    finish_reasons: Mapping[str, str] = field(default_factory=dict)
    first_chunk: Json | None = None
    last_chunk: Json | None = None  # behind the finish reason, before the usage
    usage_in_last_chunk: bool = False  # with the finish reason, asked for or not
    usage_choices: tuple[Json, ...] = ()
    comment: bytes = b""
    leading: bytes = b""  # before a plain answer's JSON
    key_header: str = "authorization"
    path_rule: Callable[[str, str, Json], Answer | None] = lambda _path, _query, _fields: None
    rules: tuple[Rule, ...] = ()
    mistake: Callable[[Mistake], Answer] = openai_mistake
    error: Callable[[int, str], Json] = lambda _status, message: envelope(message, "server_error", None)
    stream_error: Callable[[Json, str], Json] = lambda _chunk, message: envelope(
        message, "server_error", None
    )
    refusals: Mapping[str, Answer] = field(default_factory=dict)

    def refuse(self, head: Head, fields: Json) -> Answer | None:
        """What the vendor answers to this request instead of playing it; None where it takes it."""
        key = head.headers.get(self.key_header, "")
        if not key or WRONG_KEY in key:
            return self.wrong_key
        elsewhere = self.path_rule(head.path, head.query, fields)
        if elsewhere is not None:
            return elsewhere
        found = (rule(fields) for rule in self.rules)
        mistake = next((each for each in found if each is not None), None)
        return None if mistake is None else self.mistake(mistake)


def without(source: Json, *names: str) -> Json:
    return {name: value for name, value in source.items() if name not in names}


def map_choices(chunk: Json, change: Callable[[Json], Json]) -> Json:
    return {**chunk, "choices": [change(choice) for choice in chunk["choices"]]}


def unreadable_or(status: int, answer: Callable[[Mistake], Answer]) -> Callable[[Mistake], Answer]:
    def mistake_answer(mistake: Mistake) -> Answer:
        if mistake.is_unreadable:
            return status, f"Failed to deserialize the JSON body into the target type: {mistake.message}"
        return answer(mistake)

    return mistake_answer


def with_reasoning_content(message: Json, thought: str) -> Json:
    message = without(message, "refusal", "annotations")
    return {**message, "reasoning_content": thought} if thought else message
