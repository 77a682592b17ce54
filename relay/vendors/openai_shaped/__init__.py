"""Vendors that have OpenAI's chat endpoint. Everything here is pure: bytes in, bytes out."""

from relay.vendors.openai_shaped.dialects import DIALECTS, Dialect, Headers
from relay.vendors.openai_shaped.errors import retry_class, vendor_refusal
from relay.vendors.openai_shaped.request import PATH, build_request
from relay.vendors.openai_shaped.thoughts import ThoughtfulStreamTranslator, thoughts_of

__all__ = [
    "DIALECTS",
    "PATH",
    "Dialect",
    "ThoughtfulStreamTranslator",
    "build_request",
    "request_headers",
    "retry_class",
    "thoughts_of",
    "vendor_refusal",
]


def request_headers(api_key: str, vendor: str = "openai") -> Headers:
    dialect = DIALECTS[vendor]
    return (
        (dialect.key_header, dialect.key_prefix + api_key),
        ("Content-Type", "application/json"),
        ("Accept-Encoding", "identity"),
        ("User-Agent", "farebox"),
        *dialect.headers,
    )
