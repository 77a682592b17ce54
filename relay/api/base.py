"""DRF's APIView, awaited: the same steps in the same order, without its sync assumptions."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.authentication import KeyRefused, KeysUnavailable
from accounts.contracts import Principal
from relay.api.answers import error_response
from relay.errors import (
    AuthenticationFailed,
    MethodNotAllowed,
    RelayError,
    ServiceUnavailable,
)
from relay.exchange import request_name
from relay.runtime import Relay
from relay.stream import unexpected

BEARER = "Bearer "
HOW = "Send it as 'Authorization: Bearer sk-…'."


class RelayView(APIView):
    """A customer endpoint. Handlers are coroutines and find the caller in `request.auth`."""

    relay: Relay
    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    parser_classes = ()
    renderer_classes = ()
    schema = None

    async def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:  # type: ignore[override]
        self.relay = kwargs.pop("relay")
        self.args, self.kwargs = args, kwargs
        self.request = wrapped = self.initialize_request(request, *args, **kwargs)
        try:
            wrapped.auth = await self.authenticate(wrapped)
            handler = getattr(self, (request.method or "").lower(), self.http_method_not_allowed)
            response: HttpResponse = await handler(wrapped, *args, **kwargs)
        except RelayError as error:
            response = error_response(error)
        except Exception as error:  # noqa: BLE001 - the last net: whatever it is, the customer gets an id
            response = error_response(unexpected(error, request_name(request.request_id)))  # type: ignore[attr-defined]
        return response

    async def authenticate(self, request: Request) -> Principal:
        """Raises AuthenticationFailed, or ServiceUnavailable when keys cannot be checked."""
        header = request.META.get("HTTP_AUTHORIZATION", "")
        if not header[: len(BEARER)].lower() == BEARER.lower():
            raise AuthenticationFailed(f"No API key was given. {HOW}")
        try:
            return await self.relay.keys.principal(header[len(BEARER) :].strip())
        except KeyRefused as error:
            raise AuthenticationFailed("The API key is not valid, or it was revoked.") from error
        except KeysUnavailable as error:
            raise ServiceUnavailable(
                "The service is briefly unavailable. Nothing was charged.",
                headers={"retry-after": "2"},
            ) from error

    async def http_method_not_allowed(self, request: Request, *_args: Any, **_kwargs: Any) -> HttpResponse:  # type: ignore[override]
        raise MethodNotAllowed(f"{request.method} is not possible here.")
