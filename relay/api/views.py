"""The customer's endpoints."""

from django.http import HttpResponse
from rest_framework.request import Request

from relay.api.answers import JSON, StreamedAnswer, json_response
from relay.api.base import RelayView
from relay.offers import Offer, model_not_found
from relay.pipeline import complete_chat


class ChatCompletionsView(RelayView):
    async def post(self, _request: Request) -> HttpResponse:
        reply = await complete_chat(
            self.relay, self.principal, self.relay_request.request_id, self.relay_request.body
        )
        if isinstance(reply.content, bytes):
            return HttpResponse(reply.content, content_type=JSON, headers=dict(reply.headers))
        return StreamedAnswer(reply.content, reply.headers)


class ModelsView(RelayView):
    async def get(self, _request: Request) -> HttpResponse:
        offers = self.relay.offered_to(self.principal)
        return json_response({"object": "list", "data": [_model(offer) for offer in offers]})


class ModelView(RelayView):
    async def get(self, _request: Request, model: str) -> HttpResponse:
        offer = self.relay.offers.find(model)
        if not self.relay.gate.has_price(self.principal.reseller_id, model):
            raise model_not_found(model)
        return json_response(_model(offer))


def _model(offer: Offer) -> dict[str, object]:
    return {
        "id": offer.model,
        "object": "model",
        "created": offer.created,
        "owned_by": offer.owned_by,
        "shutdown_date": offer.shutdown_on.isoformat() if offer.shutdown_on else None,
        "context_window": offer.context_window,
        "max_output_tokens": offer.max_output_tokens,
    }
