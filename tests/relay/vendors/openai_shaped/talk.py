"""One exchange with the double as the relay has it: built, sent, split and translated, without the money."""

from dataclasses import dataclass, field
from typing import Any

import orjson

from relay.adapters import ADAPTERS, Asked, frame_of
from relay.capabilities import ModelTraits, read_traits
from relay.contracts import ChatAnswer, ReportedUsage, UpstreamRequest
from relay.protocols.openai_chat.request import parse_request
from relay.routing import Target
from relay.sse import SSESplitter
from relay.transport import UpstreamClient
from relay.upstream import send_upstream
from tests.doubles.process import VendorDouble

KEY = "sk-double-77se"
HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Hello"}]
USER = "a" * 64


@dataclass
class Heard:
    """What the customer gets of a stream, and what it was charged by."""

    chunks: list[dict[str, Any]]
    reported: ReportedUsage | None
    finish_reasons: tuple[str, ...]
    is_whole: bool
    output_bytes: int
    raw: bytes = field(repr=False)

    def said(self, name: str = "content") -> str:
        deltas = [choice["delta"] for chunk in self.chunks for choice in chunk["choices"]]
        return "".join(delta.get(name) or "" for delta in deltas)

    def calls(self) -> dict[int, tuple[str, str, str]]:
        """Id, name and arguments by index, put together as clients do it."""
        calls: dict[int, tuple[str, str, str]] = {}
        for chunk in self.chunks:
            for choice in chunk["choices"]:
                for call in choice["delta"].get("tool_calls", ()):
                    function = call["function"]
                    call_id, name, arguments = calls.get(call["index"], ("", "", ""))
                    calls[call["index"]] = (
                        call_id + call.get("id", ""),
                        name + function.get("name", ""),
                        arguments + function["arguments"],
                    )
        return calls


def build(vendor: str, traits: dict[str, Any] | None = None, **fields: Any) -> UpstreamRequest:
    """The request of a customer as the vendor gets it."""
    body = orjson.dumps({"model": "m", "messages": HELLO, **fields})
    adapter = ADAPTERS[vendor]
    return adapter.build(
        Asked(
            chat=parse_request(body),
            upstream_model="m",
            traits=read_traits(traits or {}, adapter.traits),
            limit=256,
            user_id=USER,
            memory={},
        )
    )


def body_of(vendor: str, traits: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(build(vendor, traits, **fields).body)
    return body


async def ask(
    double: VendorDouble, vendor: str, request: UpstreamRequest, *, key: str = KEY, base_url: str = ""
) -> bytes:
    """The vendor's own answer to it. Raises RelayError."""
    target = Target(
        channel="c",
        vendor=vendor,
        base_url=base_url or double.base_url_of(vendor),
        api_keys=(key,),
        upstream_model="m",
        traits=ModelTraits(),
        priority=1,
        weight=1,
        timeout_first_token_s=10,
    )
    client = UpstreamClient()
    try:
        async with await send_upstream(client, target, ADAPTERS[vendor], request) as answer:
            return await answer.read_all()
    finally:
        await client.aclose()


async def plain(double: VendorDouble, vendor: str, **fields: Any) -> tuple[ChatAnswer, dict[str, Any]]:
    """The translated answer, and its body."""
    request = build(vendor, **fields)
    payload = await ask(double, vendor, request)
    answer = ADAPTERS[vendor].translate(payload, frame_of(request, "chatcmpl-1", 7, "m"))
    return answer, orjson.loads(answer.body)


async def stream(double: VendorDouble, vendor: str, **fields: Any) -> Heard:
    """The whole stream, translated payload by payload. Raises RelayError for one that breaks off."""
    request = build(vendor, stream=True, **fields)
    translator = ADAPTERS[vendor].stream(frame_of(request, "chatcmpl-1", 7, "m"), include_usage=True)
    splitter = SSESplitter()
    raw = await ask(double, vendor, request)
    sent = [translator.feed(payload) or b"" for payload in [*splitter.feed(raw), *splitter.flush()]]
    reported = translator.reported_usage
    if reported is not None:
        sent.append(translator.closing(reported.usage))
    events = b"".join(sent).split(b"\n\n")
    payloads = [event.removeprefix(b"data: ") for event in events if event]
    return Heard(
        chunks=[orjson.loads(payload) for payload in payloads if payload != b"[DONE]"],
        reported=reported,
        finish_reasons=translator.finish_reasons,
        is_whole=translator.complete,
        output_bytes=translator.output_bytes,
        raw=raw,
    )
