"""DRF's APIView, awaited: the same steps in the same order, without its sync assumptions."""

from collections.abc import Awaitable, Callable
from io import BytesIO
from typing import Any, ClassVar
from uuid import UUID

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.authentication import KeyRefused, KeysUnavailable
from accounts.contracts import Principal
from relay.api.answers import error_response
from relay.errors import AuthenticationFailed, MethodNotAllowed, RelayError, ServiceUnavailable
from relay.exchange import request_name
from relay.runtime import Relay
from relay.stream import unexpected

BEARER = "bearer "
METHODS = frozenset({"get", "post"})
# Turning a header into META costs a microsecond, and official SDKs send a dozen that nothing here reads.
HEADERS_READ = frozenset({b"authorization", b"host", b"content-type", b"content-length"})


class RelayRequest(ASGIRequest):
    """A request whose body has been read already."""

    _nothing: ClassVar = BytesIO()

    def __init__(self, scope: dict[str, Any], body: bytes, request_id: UUID) -> None:
        needed = [pair for pair in scope["headers"] if pair[0] in HEADERS_READ]
        super().__init__({**scope, "headers": needed}, self._nothing)
        self._body = body
        self.request_id = request_id


class RelayView(APIView):
    """A customer endpoint. Handlers are coroutines and find the caller in `self.principal`."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    parser_classes = ()
    renderer_classes = ()
    schema = None
    relay: Relay
    relay_request: RelayRequest
    principal: Principal

    async def dispatch(  # type: ignore[override]  # DRF's is not a coroutine
        self, request: RelayRequest, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        self.args, self.kwargs = args, kwargs
        self.relay_request = request
        self.request = wrapped = self.initialize_request(request, *args, **kwargs)
        try:
            self.principal = await self.authenticate(wrapped)
            response: HttpResponse = await self.handler_of(request)(wrapped, *args, **kwargs)
        except RelayError as error:
            response = error_response(error)
        except Exception as error:  # noqa: BLE001 - the last net: whatever it is, the customer gets an id
            response = error_response(unexpected(error, request_name(request.request_id)))
        return response

    def handler_of(self, request: RelayRequest) -> Callable[..., Awaitable[HttpResponse]]:
        """Only what an endpoint defines: APIView has an `options` of its own, which is no coroutine."""
        name = (request.method or "").lower()
        handler: Callable[..., Awaitable[HttpResponse]] = (
            getattr(self, name, self.refuse_method) if name in METHODS else self.refuse_method
        )
        return handler

    async def authenticate(self, request: Request) -> Principal:
        """Raises AuthenticationFailed, or ServiceUnavailable when keys cannot be checked."""
        header = request.META.get("HTTP_AUTHORIZATION", "")
        if header[: len(BEARER)].lower() != BEARER:
            raise AuthenticationFailed(
                "No API key was given. Send it in the header 'Authorization: Bearer sk-…'."
            )
        try:
            return await self.relay.keys.principal(header[len(BEARER) :].strip())
        except KeyRefused as error:
            raise AuthenticationFailed("The API key is not valid, or it was revoked.") from error
        except KeysUnavailable as error:
            raise ServiceUnavailable(
                "The service is briefly unavailable. Nothing was charged.",
                headers={"retry-after": "2"},
            ) from error

    async def refuse_method(self, request: Request, **_kwargs: Any) -> HttpResponse:
        raise MethodNotAllowed(f"{request.method} is not possible here.")
