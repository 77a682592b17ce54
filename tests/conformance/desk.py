"""Where one vendor is asked for one thing after another, plain and streamed, and every bill is compared."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.conformance.vendors import Json, Vendor
from tests.doubles.process import VendorDouble, directive
from tests.installation import Customer

SECONDS = 20.0
RUNNING = "chat.completion.chunk"


class Wrong(Exception):
    """The answer is not what it must be; the message says in what."""


class Refused(Exception):
    """The customer got an error of the API: the status, and the error object."""

    def __init__(self, status: int, error: Json) -> None:
        super().__init__(f"{status} {error}")
        self.status = status
        self.error = error


def need(condition: object, problem: str) -> None:
    if not condition:
        raise Wrong(problem)


@dataclass
class Answer:
    """One choice, or the first of several, in the shape of a plain answer whichever way it came."""

    message: Json
    finish_reason: str | None
    usage: Json
    request_id: str
    dropped: str = ""
    choices: int = 1
    logprobs: list[Json] = field(default_factory=list)

    @property
    def content(self) -> str:
        return self.message.get("content") or ""


@dataclass
class Desk:
    """A customer before one vendor."""

    vendor: Vendor
    double: VendorDouble
    customer: Customer
    client: httpx.Client

    def ask(self, tell: Json, **fields: Any) -> Answer:
        """A plain answer; the usage shown, billed and served must be one. Raises Refused, Wrong."""
        seen = len(self.double.records())
        response = self.client.post(self.url, json=self.request(tell, **fields))
        raise_for(response)
        whole = response.json()
        need(whole["object"] == "chat.completion" and whole["id"].startswith("chatcmpl-"), "no completion")
        first = whole["choices"][0]
        answer = Answer(
            message=first["message"],
            finish_reason=first["finish_reason"],
            usage=whole["usage"],
            request_id=response.headers["x-request-id"],
            dropped=response.headers.get("x-farebox-dropped-params", ""),
            choices=len(whole["choices"]),
            logprobs=(first.get("logprobs") or {}).get("content") or [],
        )
        self._compare(answer, seen)
        return answer

    def stream(self, tell: Json, **fields: Any) -> Answer:
        """The same, streamed. Raises Refused, Wrong."""
        seen = len(self.double.records())
        options = {"stream": True, "stream_options": {"include_usage": True}}
        with self.client.stream("POST", self.url, json=self.request(tell, **fields, **options)) as response:
            if response.status_code != 200:
                response.read()
            raise_for(response)
            chunks = list(_events(response))
        answer = collect(chunks, response.headers["x-request-id"])
        answer.dropped = response.headers.get("x-farebox-dropped-params", "")
        self._compare(answer, seen)
        return answer

    def both(self, tell: Json, **fields: Any) -> list[Answer]:
        return [self.ask(tell, **fields), self.stream(tell, **fields)]

    @property
    def base_url(self) -> str:
        return f"{self.customer.installation.url}/v1"

    @property
    def url(self) -> str:
        return f"{self.base_url}/chat/completions"

    def request(self, tell: Json, **fields: Any) -> Json:
        messages = directive(**tell) if tell else [{"role": "user", "content": "Hello!"}]
        return {"model": self.vendor.model, "messages": messages, **fields}

    def _compare(self, answer: Answer, seen: int) -> None:
        """What the customer saw is what was billed, and that is what the vendor served."""
        shown = answer.usage["prompt_tokens"], answer.usage["completion_tokens"]
        record = self.customer.wait_for_record(answer.request_id)
        classes = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "audio_input", "image_input")
        billed = (
            sum(record[f"{name}_tokens"] for name in classes),
            record["output_tokens"] + record["reasoning_tokens"] + record["audio_output_tokens"],
        )
        need(shown == billed, f"{shown} tokens shown, {billed} billed")
        served = self.vendor.manner.served(self.double.wait_for_records(seen + 1)[-1])
        need(billed == served, f"{billed} tokens billed, {served} served")
        need(record["charge_nano"] > 0, "nothing was charged")


def raise_for(response: httpx.Response) -> None:
    """Raises Refused."""
    if response.status_code != 200:
        raise Refused(response.status_code, response.json()["error"])


def _events(response: httpx.Response) -> Iterator[Json]:
    """The chunks up to `[DONE]`; one that is an error raises Refused."""
    for line in response.iter_lines():
        if not line.startswith("data: "):
            continue
        if line == "data: [DONE]":
            return
        chunk = json.loads(line.removeprefix("data: "))
        if "error" in chunk:
            raise Refused(200, chunk["error"])
        yield chunk
    raise Wrong("the stream ended without [DONE]")


def collect(chunks: list[Json], request_id: str) -> Answer:
    """The chunks as one answer; raises Wrong where they break the protocol."""
    need(all(chunk["object"] == RUNNING for chunk in chunks), "something that is no chunk")
    need(len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1, "identity changed")
    *running, last = chunks
    need(last["choices"] == [] and last["usage"], "no usage at the end")
    need(all(chunk["usage"] is None for chunk in running), "usage before the end")
    choices = [choice for chunk in running for choice in chunk["choices"]]
    indices = {choice["index"] for choice in choices}
    for index in indices:
        _check_choice([choice for choice in choices if choice["index"] == index])
    first = [choice for choice in choices if choice["index"] == 0]
    return Answer(
        message=_message([choice["delta"] for choice in first]),
        finish_reason=first[-1]["finish_reason"],
        usage=last["usage"],
        request_id=request_id,
        choices=len(indices),
        logprobs=[one for choice in first for one in (choice.get("logprobs") or {}).get("content") or []],
    )


def _check_choice(choices: list[Json]) -> None:
    need(choices[0]["delta"].get("role") == "assistant", "the first delta has no role")
    need(sum("role" in choice["delta"] for choice in choices) == 1, "the role came twice")
    need([bool(choice["finish_reason"]) for choice in choices].index(True) == len(choices) - 1,
         "the finish reason is not last")  # fmt: skip


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
