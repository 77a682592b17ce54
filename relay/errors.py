"""The errors of the customer API, and the one place that puts them on the wire.

RelayError
  AuthenticationFailed      401   no key, or a key we do not know
  InvalidRequest            400   the body is wrong; `code` says how, `param` says where
    ThoughtsRefused              earlier thinking is not known again; seen only when a second try fails too
  RequestTooLarge           413
  ModelNotFound             404   unknown, not offered, retired
  NotFound                  404   no such path
  MethodNotAllowed          405
  InsufficientQuota         429   the wallet cannot carry the request; retrying does not help
  UpstreamLimited           429   every channel of the model is at its limit
  UpstreamFailed            502   the vendor answered with an error or nonsense
  UpstreamUnavailable       503   no usable channel, or a problem between us and the vendor
  UpstreamTimedOut          504
  ServiceUnavailable        503   our own engines are away; nothing was charged
  InternalError             500   our bug

Except where a class says otherwise, nothing was charged. Messages never carry a vendor's own text about
accounts, keys or projects.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from common.errors import AppError


class RelayError(AppError):
    """Base of everything `/v1` answers with. `error_type` is the envelope's `type`."""

    error_type: ClassVar[str] = "server_error"
    code: ClassVar[str] = "internal_error"
    http_status: ClassVar[int] = 500

    @property
    def wire_code(self) -> str | None:
        """The envelope's `code`; None where OpenAI's own answer has null."""
        return self.code


class InvalidRequest(RelayError):
    """The request is malformed. `reason` is the stable code (`invalid_type`, `array_above_max_length`, …)."""

    error_type = "invalid_request_error"
    code = "invalid_request"
    http_status = 400

    def __init__(self, message: str, *, param: str | None = None, reason: str | None = None) -> None:
        super().__init__(message, param=param)
        self.reason = reason

    @property
    def wire_code(self) -> str | None:
        return self.reason


class ThoughtsRefused(InvalidRequest):
    """The vendor does not know thoughts again that it was sent. Asking once more without them helps."""


class AuthenticationFailed(RelayError):
    error_type = "invalid_request_error"
    code = "invalid_api_key"
    http_status = 401


class RequestTooLarge(RelayError):
    error_type = "invalid_request_error"
    code = "request_too_large"
    http_status = 413


class ModelNotFound(RelayError):
    error_type = "invalid_request_error"
    code = "model_not_found"
    http_status = 404

    def __init__(self, message: str) -> None:
        super().__init__(message, param="model")


class NotFound(RelayError):
    error_type = "invalid_request_error"
    code = "not_found"
    http_status = 404


class MethodNotAllowed(RelayError):
    error_type = "invalid_request_error"
    code = "method_not_allowed"
    http_status = 405


class InsufficientQuota(RelayError):
    """The wallet cannot carry the request. `x-should-retry: false` keeps the official SDKs from retrying."""

    error_type = "insufficient_quota"
    code = "insufficient_quota"
    http_status = 429

    def __init__(self, message: str) -> None:
        super().__init__(message, headers={"x-should-retry": "false"})


class UpstreamLimited(RelayError):
    code = "upstream_rate_limited"
    http_status = 429


class UpstreamFailed(RelayError):
    code = "upstream_error"
    http_status = 502


class UpstreamUnavailable(RelayError):
    code = "upstream_unavailable"
    http_status = 503


class UpstreamTimedOut(RelayError):
    code = "upstream_timeout"
    http_status = 504


class ServiceUnavailable(RelayError):
    code = "service_unavailable"
    http_status = 503


class InternalError(RelayError):
    """Our bug. The message holds a request id and nothing else."""


def envelope(error: RelayError) -> Mapping[str, Any]:
    """OpenAI's error object; all four keys are always there."""
    return {
        "error": {
            "message": error.message,
            "type": error.error_type,
            "param": error.param,
            "code": error.wire_code,
        }
    }
