"""The life of a request, on one screen:

authenticate → validate → route → hold → send → translate → meter → settle

Authentication has happened when a request comes here (`relay.api.base`); streams meter and settle in
`relay.stream`. Until the vendor's answer is there, every failure gives the whole hold back.
"""

import asyncio
import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from accounts.contracts import Principal
from billing.contracts import (
    BudgetExceeded,
    CreditRefused,
    Demand,
    Hold,
    MoneyUnavailable,
    Payer,
    PriceMissing,
    TierNotPriced,
    WalletFrozen,
)
from relay.adapters import ADAPTERS, Adapter, Asked, calls_answered, frame_of
from relay.contracts import (
    NO_ATTACHMENTS,
    AnswerFrame,
    ChatAnswer,
    ChatRequest,
    ReportedUsage,
    UpstreamRequest,
)
from relay.endings import UsageBounds, ending_of
from relay.errors import (
    InsufficientQuota,
    InvalidRequest,
    ServiceUnavailable,
    ThoughtsRefused,
    UpstreamFailed,
    UpstreamTimedOut,
)
from relay.exchange import Exchange, completion_name
from relay.offers import Offer, model_not_found
from relay.protocols.openai_chat.media import inline_media, remote_parts
from relay.protocols.openai_chat.request import parse_request, prompt_token_bound
from relay.protocols.openai_chat.response import add_usage, with_usage
from relay.routing import Target, choose_target
from relay.runtime import Relay
from relay.sse import SSEOverflow, SSESplitter
from relay.stream import ChatStream
from relay.upstream import UpstreamAnswer, send_upstream

WHOLE_ANSWER_S = 600.0


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer's body, or an opened stream, and what its headers tell beside."""

    content: bytes | ChatStream
    headers: Mapping[str, str]


async def complete_chat(relay: Relay, principal: Principal, request_id: UUID, body: bytes) -> Reply:
    """Raises RelayError; then nothing was charged."""
    chat = parse_request(body)
    offer = relay.offers.find(chat.model)
    target = choose_target(offer.targets, random.random())  # noqa: S311 - a share of traffic, no secret
    adapter = ADAPTERS[target.vendor]
    chat = await _with_media(relay, chat, target)
    memory = await _recall(relay, adapter, principal, chat)
    added = adapter.added_tokens + sum(len(str(thought)) for thought in memory.values())
    hold = await _hold(relay, _demand(principal, request_id, chat, offer, added_tokens=added))
    exchange = Exchange(relay.gate, request_id, chat, target, hold, _bounds(chat, offer))
    try:
        async with asyncio.timeout(target.timeout_first_token_s if chat.stream else WHOLE_ANSWER_S):
            content, request = await _send(relay, exchange, adapter, _asked(exchange, memory))
    except TimeoutError as error:
        exchange.give_up()
        raise UpstreamTimedOut("The model's vendor did not answer in time. Nothing was charged.") from error
    except BaseException:
        exchange.give_up()
        raise
    relay.note_model(target, exchange.upstream_model)
    return Reply(content, _headers(offer, request))


async def _send(
    relay: Relay, exchange: Exchange, adapter: Adapter, asked: Asked
) -> tuple[bytes | ChatStream, UpstreamRequest]:
    """Asked again only where the vendor has surely not begun: it refused the thinking that was sent back."""
    send = _stream if exchange.chat.stream else _answer
    request = adapter.build(asked)
    try:
        return await send(relay, exchange, adapter, request), request
    except ThoughtsRefused:
        request = adapter.build(replace(asked, sends_thoughts=False))
        return await send(relay, exchange, adapter, request), request


def _headers(offer: Offer, request: UpstreamRequest) -> dict[str, str]:
    headers = {}
    if request.dropped:
        headers["x-farebox-dropped-params"] = ", ".join(request.dropped)
    if offer.is_deprecated:
        until = f"shutdown={offer.shutdown_on.isoformat()}" if offer.shutdown_on else "deprecated"
        headers["x-farebox-deprecation"] = (
            f"{until}; successor={offer.successor}" if offer.successor else until
        )
    return headers


async def _with_media(relay: Relay, chat: ChatRequest, target: Target) -> ChatRequest:
    """What lies elsewhere and the vendor does not fetch is put in. Raises InvalidRequest where that fails."""
    if chat.attachments is NO_ATTACHMENTS or not (parts := remote_parts(chat, target.traits)):
        return chat
    fetched = await relay.media.fetch_media(parts)
    return inline_media(chat, {url: media.data_url for url, media in fetched.items()})


async def _recall(
    relay: Relay, adapter: Adapter, principal: Principal, chat: ChatRequest
) -> Mapping[str, Any]:
    """What the model thought beside the tool calls that this request answers."""
    if not adapter.remembers:
        return {}
    calls = calls_answered(chat.body["messages"])
    return await relay.memory.recall(principal.organization_id, calls) if calls else {}


def _asked(exchange: Exchange, memory: Mapping[str, Any]) -> Asked:
    return Asked(
        chat=exchange.chat,
        upstream_model=exchange.target.upstream_model,
        traits=exchange.target.traits,
        limit=exchange.hold.max_output_tokens,
        user_id=_user_id(exchange),
        memory=memory,
    )


def _user_id(exchange: Exchange) -> str:
    """Tells a vendor one end user from another, and nobody who they are."""
    organization_id = exchange.hold.payer.organization_id
    user = exchange.chat.body.get("user") or exchange.chat.body.get("safety_identifier") or ""
    return hashlib.sha256(f"{organization_id}:{user}".encode()).hexdigest()


def _demand(
    principal: Principal, request_id: UUID, chat: ChatRequest, offer: Offer, *, added_tokens: int
) -> Demand:
    """`added_tokens`: at most what we put into the prompt beside the customer's own bytes."""
    return Demand(
        request_id=request_id,
        payer=Payer(
            organization_id=principal.organization_id,
            reseller_id=principal.reseller_id,
            api_key_id=principal.api_key_id,
            member_id=principal.member_id,
        ),
        model=offer.model,
        prompt_tokens=min(prompt_token_bound(chat) + added_tokens, offer.context_window),
        max_output_tokens=chat.max_output_tokens,
        model_max_output_tokens=offer.max_output_tokens,
        choices=chat.n,
        service_tier=chat.service_tier,
    )


async def _hold(relay: Relay, demand: Demand) -> Hold:
    try:
        return await relay.gate.open_hold(demand)
    except PriceMissing as error:
        raise model_not_found(demand.model) from error
    except TierNotPriced as error:
        raise InvalidRequest(
            f"The model '{demand.model}' is not offered at this service tier.",
            param="service_tier",
            reason="unsupported_value",
        ) from error
    except BudgetExceeded as error:
        raise InsufficientQuota(_words_for(error)) from error
    except WalletFrozen as error:
        raise InsufficientQuota(
            "This account is on hold and cannot spend its credit now. Please contact support."
        ) from error
    except CreditRefused as error:
        raise InsufficientQuota(
            "Your balance does not cover this request. Top up, or lower max_tokens."
        ) from error
    except MoneyUnavailable as error:
        raise ServiceUnavailable(
            "The service is briefly unavailable. Nothing was charged.", headers={"retry-after": "2"}
        ) from error


def _bounds(chat: ChatRequest, offer: Offer) -> UsageBounds:
    """A limit above the model's own is the vendor's to refuse; what it reports then is believed."""
    output_tokens = max(offer.max_output_tokens, chat.max_output_tokens or 0)
    return UsageBounds(prompt_tokens=offer.context_window, output_tokens=output_tokens * chat.n)


def _words_for(refusal: BudgetExceeded) -> str:
    whose = {"api_key": "this API key", "member": "the member who made this API key"}
    ends = {"day": "at midnight UTC", "month": "on the first of the month, UTC"}
    reset = ends.get(refusal.period)
    return (
        f"The {refusal.period} budget of {whose.get(refusal.subject, 'your organization')} is used up. "
        + (f"It begins anew {reset}." if reset else "An owner of the organization can raise it.")
    )


def _frame(exchange: Exchange, request: UpstreamRequest) -> AnswerFrame:
    created = int(exchange.started_at.timestamp())
    name = completion_name(exchange.request_id)
    return frame_of(request, name, created, exchange.target.upstream_model)


async def _stream(relay: Relay, exchange: Exchange, adapter: Adapter, request: UpstreamRequest) -> ChatStream:
    translator = adapter.stream(_frame(exchange, request), include_usage=exchange.chat.include_usage)
    answer = await send_upstream(relay.upstream, exchange.target, adapter, request)
    stream = ChatStream(exchange, answer, translator, relay.remember)
    try:
        await stream.open()
    except BaseException:
        await answer.aclose()
        raise
    exchange.upstream_model = translator.upstream_model
    return stream


async def _answer(relay: Relay, exchange: Exchange, adapter: Adapter, request: UpstreamRequest) -> bytes:
    async with await send_upstream(relay.upstream, exchange.target, adapter, request) as answer:
        translated = await _read_answer(answer, adapter, request, _frame(exchange, request))
    exchange.note_output()
    exchange.upstream_model = translated.upstream_model
    charged = await exchange.settle(
        ending=ending_of(translated.finish_reasons),
        reported=ReportedUsage(translated.usage, translated.usage_clamped) if translated.usage else None,
        output_bytes=translated.output_bytes,
        upstream_model=translated.upstream_model,
        service_tier=translated.service_tier,
    )
    await relay.remember(exchange.hold.payer.organization_id, translated.remember)
    if translated.usage is None:
        return add_usage(translated.body, charged)
    return translated.body if charged == translated.usage else with_usage(translated.body, charged)


async def _read_answer(
    answer: UpstreamAnswer, adapter: Adapter, request: UpstreamRequest, frame: AnswerFrame
) -> ChatAnswer:
    """A long answer is streamed by the vendor also where the customer wants it whole."""
    if not request.stream_answer:
        return adapter.translate(await answer.read_all(), frame)
    collector, splitter = adapter.collector(frame), SSESplitter()
    try:
        while not collector.done:
            piece = await answer.next_piece()
            for payload in splitter.feed(piece) if piece else splitter.flush():
                collector.feed(payload)
            if not piece:
                break
    except SSEOverflow as error:
        raise UpstreamFailed("The model's vendor sent an event that is too large.") from error
    return collector.answer()
