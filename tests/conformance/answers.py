"""Answers as clients read them, plain or streamed, and what is wrong with them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx

from tests.conformance.vendors import Json

RUNNING = "chat.completion.chunk"


class Wrong(Exception):
    """The answer is not what it must be; the message says in what."""


class Refused(Exception):
    """The customer got an error of the API. `sent` is the size of the request in bytes."""

    def __init__(self, response: httpx.Response, error: Json) -> None:
        super().__init__(f"{response.status_code} {error}")
        self.status = response.status_code
        self.error = error
        self.request_id = response.headers["x-request-id"]
        self.sent = len(response.request.content)


def need(condition: object, problem: str) -> None:
    if not condition:
        raise Wrong(problem)


@dataclass
class Answer:
    """Its choices are in the shape of a plain answer's, whichever way it came.

    `received` is what the vendor's double wrote down of the request.
    """

    choices: list[Json]
    usage: Json
    request_id: str
    dropped: str
    received: Json = field(default_factory=dict)

    @property
    def message(self) -> Json:
        message: Json = self.choices[0]["message"]
        return message

    @property
    def content(self) -> str:
        return self.message.get("content") or ""

    @property
    def finish_reason(self) -> str:
        return str(self.choices[0]["finish_reason"])

    @property
    def cached(self) -> int:
        return int(self.usage["prompt_tokens_details"]["cached_tokens"])

    @property
    def reasoned(self) -> int:
        return int(self.usage["completion_tokens_details"]["reasoning_tokens"])


def read_plain(response: httpx.Response) -> Answer:
    """Raises Refused, Wrong."""
    raise_for(response)
    whole = response.json()
    need(whole["object"] == "chat.completion" and whole["id"].startswith("chatcmpl-"), "no completion")
    return _answer(response, whole["choices"], whole["usage"])


def read_stream(response: httpx.Response) -> Answer:
    """Raises Refused, Wrong."""
    if response.status_code != 200:
        response.read()
    raise_for(response)
    chunks = list(_events(response))
    need(all(chunk["object"] == RUNNING for chunk in chunks), "something that is no chunk")
    need(len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1, "identity changed")
    *running, last = chunks
    need(last["choices"] == [] and last["usage"], "no usage at the end")
    need(all(chunk["usage"] is None for chunk in running), "usage before the end")
    spoken = [choice for chunk in running for choice in chunk["choices"]]
    indices = sorted({choice["index"] for choice in spoken})
    choices = [_collect([each for each in spoken if each["index"] == index]) for index in indices]
    return _answer(response, choices, last["usage"])


def _answer(response: httpx.Response, choices: list[Json], usage: Json) -> Answer:
    need([choice["index"] for choice in choices] == list(range(len(choices))), "choices are not numbered")
    headers = response.headers
    return Answer(choices, usage, headers["x-request-id"], headers.get("x-farebox-dropped-params", ""))


def raise_for(response: httpx.Response) -> None:
    """Raises Refused."""
    if response.status_code != 200:
        raise Refused(response, response.json()["error"])


def _events(response: httpx.Response) -> Iterator[Json]:
    """The chunks up to `[DONE]`; one that is an error raises Refused."""
    for line in response.iter_lines():
        if not line.startswith("data: "):
            continue
        if line == "data: [DONE]":
            return
        chunk = json.loads(line.removeprefix("data: "))
        if "error" in chunk:
            raise Refused(response, chunk["error"])
        yield chunk
    raise Wrong("the stream ended without [DONE]")


def _collect(chunks: list[Json]) -> Json:
    """One choice of a stream; raises Wrong where it breaks the protocol."""
    deltas = [chunk["delta"] for chunk in chunks]
    need(deltas[0].get("role") == "assistant", "the first delta has no role")
    need(sum("role" in delta for delta in deltas) == 1, "the role came twice")
    ends = [bool(chunk["finish_reason"]) for chunk in chunks]
    need(sum(ends) == 1 and ends[-1], "the finish reason is not last")
    told = [one for chunk in chunks for one in (chunk["logprobs"] or {}).get("content") or []]
    return {
        "index": chunks[0]["index"],
        "message": _message(deltas),
        "finish_reason": chunks[-1]["finish_reason"],
        "logprobs": {"content": told} if told else None,
    }


def _message(deltas: list[Json]) -> Json:
    message: Json = {"role": "assistant"}
    for name in ("content", "reasoning_content", "refusal"):
        said = "".join(delta.get(name) or "" for delta in deltas)
        message[name] = said or None
    fragments = [one for delta in deltas for one in delta.get("tool_calls") or []]
    if fragments:
        message["tool_calls"] = _calls(fragments)
    return message


def _calls(fragments: list[Json]) -> list[Json]:
    calls: list[Json] = []
    for fragment in fragments:
        if fragment["index"] == len(calls):
            need(fragment.get("id") and fragment["function"].get("name"), "a call begins without its name")
            calls.append({"id": fragment["id"], "type": "function",
                          "function": {"name": fragment["function"]["name"], "arguments": ""}})  # fmt: skip
        else:
            need("id" not in fragment and fragment["index"] == len(calls) - 1, "a call is named twice")
        calls[-1]["function"]["arguments"] += fragment["function"].get("arguments") or ""
    return calls
