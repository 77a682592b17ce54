"""Where one vendor is asked for one thing after another, plain and streamed, and every bill is compared."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.conformance.answers import Answer, Refused, need, read_plain, read_stream
from tests.conformance.catalogue import CLASSES, abilities_of, charge_of
from tests.conformance.vendors import Json, Vendor
from tests.doubles.process import VendorDouble, directive
from tests.installation import Customer, request_hex

SECONDS = 20.0
OUTPUT = ("output", "reasoning", "audio_output")
ENDINGS = {"stop": "complete", "tool_calls": "complete", "length": "length", "content_filter": "filtered"}


def billed(record: Json) -> tuple[int, int]:
    """Prompt and completion tokens of a usage record."""
    tokens = {name: record[f"{name}_tokens"] for name in CLASSES}
    written = sum(tokens[name] for name in OUTPUT)
    return sum(tokens.values()) - written, written


@dataclass
class Desk:
    """A customer before one vendor.

    `bills` are the usage records of what was asked here, by request; `earlier` requests count for nothing.
    `listed` is the customer's part of the usage export, once all has been asked.
    """

    vendor: Vendor
    double: VendorDouble
    customer: Customer
    client: httpx.Client
    bills: dict[str, Json] = field(default_factory=dict)
    earlier: frozenset[str] = frozenset()
    listed: list[Json] = field(default_factory=list)

    def begin(self) -> None:
        """Forget what others have asked for this customer."""
        found = self.customer.installation.query(
            "SELECT request_id FROM billing_usagerecord WHERE organization_id = %s",
            self.customer.organization,
        )
        self.bills, self.earlier = {}, frozenset(row["request_id"].hex for row in found)

    @property
    def base_url(self) -> str:
        return f"{self.customer.installation.url}/v1"

    @property
    def url(self) -> str:
        return f"{self.base_url}/chat/completions"

    def request(self, tell: Json, **fields: Any) -> Json:
        messages = directive(**tell) if tell else [{"role": "user", "content": "Hello!"}]
        return {"model": self.vendor.model, "messages": messages, **fields}

    def ask(self, tell: Json, **fields: Any) -> Answer:
        """A plain answer; the usage shown, billed and served must be one. Raises Refused, Wrong."""
        seen, request = len(self.double.records()), self.request(tell, **fields)
        return self._checked(read_plain(self.client.post(self.url, json=request)), request, seen)

    def stream(self, tell: Json, **fields: Any) -> Answer:
        """The same, streamed. Raises Refused, Wrong."""
        options = {"stream": True, "stream_options": {"include_usage": True}}
        seen, request = len(self.double.records()), self.request(tell, **fields, **options)
        with self.client.stream("POST", self.url, json=request) as response:
            answer = read_stream(response)
        return self._checked(answer, request, seen)

    def both(self, tell: Json, **fields: Any) -> list[Answer]:
        """Either way. A refusal must be the same both ways and reach no vendor; then it is raised."""
        seen = self.received()
        tried = [_attempt(ask, tell, fields) for ask in (self.ask, self.stream)]
        refusals = [one for one in tried if isinstance(one, Refused)]
        if refusals:
            said = [(one.status, one.error) for one in refusals]
            need(len(said) == 2 and said[0] == said[1], f"refused one way only, or otherwise: {said}")
            need(self.received() == seen, "what was refused reached the vendor")
            raise refusals[0]
        return [one for one in tried if isinstance(one, Answer)]

    def received(self) -> int:
        """How many requests the double has got, those it refused included."""
        counts = self.double.stats()
        return int(counts["requests"] + counts["refused"])

    def bill(
        self,
        request_id: str,
        *,
        tokens: tuple[int, int],
        ending: str,
        source: str = "reported",
        seconds: float = 5,
    ) -> Json:
        """The usage record. Raises Wrong where it has other tokens than these, or another price."""
        record = self.customer.wait_for_record(request_id, seconds)
        need(billed(record) == tokens, f"{billed(record)} tokens billed, not {tokens}")
        need((record["usage_source"], record["ending"]) == (source, ending), f"booked as {record}")
        charged = record["charge_nano"], record["uncollected_nano"]
        need(charged == (charge_of(record), 0), f"charged {charged}, the price is {charge_of(record)}")
        self.bills[request_hex(request_id)] = record
        return record

    def need_no_bill(self, refused: Refused) -> None:
        need(self.customer.record(refused.request_id) is None, "an error was charged")

    def _checked(self, answer: Answer, request: Json, seen: int) -> Answer:
        """What the customer saw is what was billed, and that is what the vendor served, once."""
        records = self.double.wait_for_records(seen + 1)
        need(len(records) == seen + 1, "the vendor was asked more than once")
        answer.received = records[-1]["request"]
        served = self.vendor.manner.served(records[-1])
        shown = answer.usage["prompt_tokens"], answer.usage["completion_tokens"]
        need(shown == served, f"{shown} tokens shown, {served} served")
        record = self.bill(answer.request_id, tokens=served, ending=ENDINGS[answer.finish_reason])
        details = answer.cached, answer.reasoned
        need(details == (record["cache_read_tokens"], record["reasoning_tokens"]), f"{details} of them shown")
        need(answer.dropped == _left_out(request), f"left out: {answer.dropped}")
        return answer


def _attempt(ask: Callable[..., Answer], tell: Json, fields: Json) -> Answer | Refused:
    try:
        return ask(tell, **fields)
    except Refused as refused:
        return refused


def _left_out(request: Json) -> str:
    """What may be: the wish for reasoning, by a model that the catalogue does not call a reasoning one."""
    lacks = "reasoning" not in abilities_of(request["model"]).words
    return "reasoning_effort" if lacks and "reasoning_effort" in request else ""
