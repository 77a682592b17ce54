"""Answers of the customer API as Django responses."""

from collections.abc import Mapping
from typing import Any

import orjson
from django.http import HttpResponse

from relay.errors import RelayError, envelope
from relay.stream import ChatStream

JSON = "application/json"
EVENTS = "text/event-stream; charset=utf-8"


class StreamedAnswer(HttpResponse):
    """Headers of a stream; its bytes are in `chunks`, which the server iterates once, to the end."""

    def __init__(self, chunks: ChatStream, headers: Mapping[str, str]) -> None:
        super().__init__(
            content_type=EVENTS,
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no", **headers},
        )
        self.chunks = chunks


def json_response(content: Any, status: int = 200) -> HttpResponse:
    return HttpResponse(orjson.dumps(content), content_type=JSON, status=status)


def error_response(error: RelayError) -> HttpResponse:
    response = json_response(envelope(error), error.http_status)
    for name, value in error.headers.items():
        response[name] = value
    return response
