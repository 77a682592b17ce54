"""What a vendor's refusal means for the customer."""

from collections.abc import Iterator, Mapping

import orjson
import pytest

from relay.contracts import RetryClass
from relay.errors import (
    InvalidRequest,
    RelayError,
    UpstreamFailed,
    UpstreamLimited,
    UpstreamTimedOut,
    UpstreamUnavailable,
)
from relay.vendors.openai_shaped import retry_class, vendor_refusal
from tests.doubles.process import VendorDouble, directive
from tests.doubles.vendor_profiles import PROFILES
from tests.relay.vendors.openai_shaped.talk import ask, build


def refusal(status: int, error: object = None, **headers: str) -> RelayError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return vendor_refusal(status, named, orjson.dumps({"error": error}))


@pytest.mark.parametrize("status", [401, 402, 403, 404, 503, 529])
def test_our_trouble_with_a_vendor_is_not_the_customers(status: int) -> None:
    error = refusal(status, {"message": "Incorrect API key provided: sk-proj-abcdefghijkl"})
    assert isinstance(error, UpstreamUnavailable)
    assert "sk-" not in error.message


def test_an_invalid_request_comes_back_with_its_reason() -> None:
    error = refusal(
        400, {"message": "Too long", "param": "messages", "code": "context_length_exceeded", "type": "x"}
    )
    assert isinstance(error, InvalidRequest)
    assert (error.message, error.param, error.wire_code) == (
        "Too long",
        "messages",
        "context_length_exceeded",
    )


def test_credentials_in_a_vendors_message_are_hidden() -> None:
    error = refusal(400, {"message": "bad header 'Authorization: Bearer sk-live1234567890'"})
    assert "sk-live" not in error.message


@pytest.mark.parametrize("name", ["org-h7Jd92mXq", "proj_a81Bc", "req_0123abcd", "xai-ab***************9z"])
def test_ids_of_our_account_in_a_vendors_message_are_hidden(name: str) -> None:
    error = refusal(400, {"message": f"Invalid value in '{name}', see messages[0]"})
    assert name not in error.message
    assert error.message.endswith("see messages[0]")


@pytest.mark.parametrize(
    "said",
    [
        {"code": "Arrearage", "message": "Access denied, your account is overdue"},
        {"message": "Incorrect API key provided: xa***. Obtain one from https://console.x.ai."},
        {"message": "Your credit balance is too low"},
    ],
)
def test_a_400_about_our_account_is_not_the_customers_mistake(said: dict[str, str]) -> None:
    assert isinstance(refusal(400, said), UpstreamUnavailable)


@pytest.mark.parametrize("seconds", ["7", ""])
def test_a_limit_says_when_to_come_back(seconds: str) -> None:
    error = refusal(429, {"code": "rate_limit_exceeded"}, retry_after=seconds)
    assert isinstance(error, UpstreamLimited)
    assert error.headers["retry-after"] == (seconds or "1")


def test_our_own_quota_at_the_vendor_is_not_a_limit_of_the_customer() -> None:
    assert isinstance(refusal(429, {"code": "insufficient_quota"}), UpstreamUnavailable)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(408, UpstreamTimedOut), (504, UpstreamTimedOut), (500, UpstreamFailed), (302, UpstreamFailed)],
)
def test_other_statuses(status: int, kind: type[RelayError]) -> None:
    assert isinstance(refusal(status), kind)


@pytest.mark.parametrize(
    "body", [b"<html>Bad gateway</html>", b"", b"[]", b'"text"', b'{"error":"text"}', b"\xff"]
)
def test_bodies_that_are_no_error_object(body: bytes) -> None:
    assert isinstance(vendor_refusal(400, {}, body), InvalidRequest)
    assert isinstance(vendor_refusal(502, {}, body), UpstreamFailed)


# The canned errors of the doubles, each as its vendor writes it.


@pytest.fixture(scope="module")
def double() -> Iterator[VendorDouble]:
    with VendorDouble() as double:
        yield double


MEANINGS: Mapping[str, tuple[type[RelayError], str | None, RetryClass]] = {
    "balance": (UpstreamUnavailable, "upstream_unavailable", RetryClass.KEY_BAD),
    "quota": (UpstreamUnavailable, "upstream_unavailable", RetryClass.KEY_BAD),
    "limit": (UpstreamLimited, "upstream_rate_limited", RetryClass.RATE),
    "overloaded": (UpstreamUnavailable, "upstream_unavailable", RetryClass.TRANSIENT),
    "context": (InvalidRequest, "context_length_exceeded", RetryClass.CLIENT),
    "context_forbidden": (InvalidRequest, "context_length_exceeded", RetryClass.CLIENT),
    "filter": (InvalidRequest, "content_filter", RetryClass.CONTENT),
    "gone": (UpstreamUnavailable, "upstream_unavailable", RetryClass.MODEL_GONE),
    "timeout": (UpstreamTimedOut, "upstream_timeout", RetryClass.TRANSIENT),
}
CANNED = [(each, about) for each in PROFILES for about in PROFILES[each].refusals if about in MEANINGS]


@pytest.mark.parametrize(("vendor", "about"), CANNED)
async def test_what_a_vendor_says_in_its_own_way_means_one_thing(
    double: VendorDouble, vendor: str, about: str
) -> None:
    kind, code, _ = MEANINGS[about]
    with pytest.raises(kind) as caught:
        await ask(double, vendor, build(vendor, messages=directive(refusal=about, retry_after=7)))
    assert caught.value.wire_code == code
    if about == "limit":
        assert caught.value.headers["retry-after"] == "7"


@pytest.mark.parametrize(("vendor", "about"), CANNED)
def test_whether_to_try_again_is_told(vendor: str, about: str) -> None:
    status, body = PROFILES[vendor].refusals[about]
    assert retry_class(status, orjson.dumps(body)) is MEANINGS[about][2]


def test_every_canned_error_has_a_meaning() -> None:
    known = {about for each in PROFILES.values() for about in each.refusals}
    assert known - {"inside_200"} == MEANINGS.keys()


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (422, b"Failed to deserialize the JSON body: messages[0]: missing field", "missing field"),
        (422, b'{"detail":[{"loc":["body"],"msg":"Input should be a string"}]}', "Input should be a string"),
        (400, b'{"detail":"n must be 1"}', "n must be 1"),
        (400, b'{"object":"error","message":"bad stop","code":400}', "bad stop"),
        (400, b'{"code":"Client specified an invalid argument","error":"bad tool"}', "bad tool"),
        (400, b'{"error":{"message":"bad thing","code":"invalid_request_error"}}', "bad thing"),
    ],
)
def test_sentences_are_found_wherever_they_stand(status: int, body: bytes, words: str) -> None:
    error = vendor_refusal(status, {}, body)
    assert isinstance(error, InvalidRequest)
    assert words in error.message
    assert error.reason is None


@pytest.mark.parametrize("name", ["team 0b1c77-ab2", "9c8f7d2e-0000-9d0a-8f67-4c1d2e3f4a5b", "user_2abcdef"])
def test_teams_and_request_ids_are_hidden(name: str) -> None:
    assert name.removeprefix("team ") not in refusal(400, {"message": f"Bad request of {name}: no"}).message


@pytest.mark.parametrize(("seconds", "expected"), [("1.2", "2"), ("nan", "1"), ("-3", "1"), ("inf", "1")])
def test_waiting_is_told_in_whole_seconds(seconds: str, expected: str) -> None:
    assert refusal(429, {}, retry_after=seconds).headers["retry-after"] == expected
