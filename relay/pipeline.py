"""The life of a request, on one screen:

authenticate → validate → route → hold → send → translate → meter → settle

Authentication has happened when a request comes here (`relay.api.base`); streams meter and settle in
`relay.stream`. Until the vendor's answer is there, every failure gives the whole hold back.
"""

import asyncio
import random
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
)
from relay.contracts import ChatRequest, ReportedUsage
from relay.endings import UsageBounds, ending_of
from relay.errors import InsufficientQuota, InvalidRequest, ServiceUnavailable, UpstreamTimedOut
from relay.exchange import Exchange, completion_name
from relay.offers import Offer, model_not_found
from relay.protocols.openai_chat.request import parse_request, prompt_token_bound, upstream_body
from relay.protocols.openai_chat.response import add_usage, translate_response, with_usage
from relay.routing import choose_target
from relay.runtime import Relay
from relay.stream import ChatStream
from relay.upstream import send_upstream

WHOLE_ANSWER_S = 600.0


async def complete_chat(
    relay: Relay, principal: Principal, request_id: UUID, body: bytes
) -> bytes | ChatStream:
    """The answer's body, or the opened stream. Raises RelayError; then nothing was charged."""
    chat = parse_request(body)
    offer = relay.offers.find(chat.model)
    target = choose_target(offer.targets, random.random())  # noqa: S311 - a share of traffic, no secret
    hold = await _hold(relay, _demand(principal, request_id, chat, offer))
    exchange = Exchange(relay.gate, request_id, chat, target, hold, _bounds(chat, offer))
    send = _stream if chat.stream else _answer
    try:
        async with asyncio.timeout(target.timeout_first_token_s if chat.stream else WHOLE_ANSWER_S):
            return await send(relay, exchange, _upstream_body(exchange, offer))
    except TimeoutError as error:
        exchange.give_up()
        raise UpstreamTimedOut("The model's vendor did not answer in time. Nothing was charged.") from error
    except BaseException:
        exchange.give_up()
        raise


def _demand(principal: Principal, request_id: UUID, chat: ChatRequest, offer: Offer) -> Demand:
    return Demand(
        request_id=request_id,
        payer=Payer(
            organization_id=principal.organization_id,
            reseller_id=principal.reseller_id,
            api_key_id=principal.api_key_id,
            member_id=principal.member_id,
        ),
        model=offer.model,
        prompt_tokens=min(prompt_token_bound(chat), offer.context_window),
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


def _upstream_body(exchange: Exchange, offer: Offer) -> bytes:
    return upstream_body(
        exchange.chat,
        upstream_model=exchange.target.upstream_model,
        limit_field=offer.max_tokens_field,
        limit=exchange.hold.max_output_tokens,
    )


async def _stream(relay: Relay, exchange: Exchange, body: bytes) -> ChatStream:
    answer = await send_upstream(relay.upstream, exchange.target, body)
    stream = ChatStream(exchange, answer)
    try:
        await stream.open()
    except BaseException:
        await answer.aclose()
        raise
    return stream


async def _answer(relay: Relay, exchange: Exchange, body: bytes) -> bytes:
    async with await send_upstream(relay.upstream, exchange.target, body) as answer:
        payload = await answer.read_all()
    translated = translate_response(
        payload,
        completion_id=completion_name(exchange.request_id),
        created=int(exchange.started_at.timestamp()),
        model_fallback=exchange.target.upstream_model,
    )
    exchange.note_output()
    charged = await exchange.settle(
        ending=ending_of(translated.finish_reasons),
        reported=ReportedUsage(translated.usage, translated.usage_clamped) if translated.usage else None,
        output_bytes=translated.output_bytes,
        upstream_model=translated.upstream_model,
        service_tier=translated.service_tier,
    )
    if translated.usage is None:
        return add_usage(translated.body, charged)
    return translated.body if charged == translated.usage else with_usage(translated.body, charged)
