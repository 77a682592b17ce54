"""What is refused before any vendor hears of it: the SDK's exception says why, and nothing is charged."""

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from openai import DefaultHttpxClient, OpenAI

from accounts.keys import generate_key
from tests.flows.asking import HELLO, ask, fields, post, sdk, stream
from tests.installation import Customer, Installation


@pytest.fixture(autouse=True)
def nothing_is_charged(customer: Customer) -> Iterator[None]:
    """Holds for every test here: no refusal may cost anything, or reach the vendor."""
    vendor = customer.installation.vendor
    posted, served = customer.balance().posted, vendor.stats()["requests"]
    yield
    assert customer.balance().posted == posted
    assert vendor.stats()["requests"] == served


@pytest.fixture(scope="module")
def poor(installation: Installation) -> Customer:
    return installation.create_customer("0")


class TestKeys:
    @pytest.mark.parametrize("wrong", ["sk-mistyped", generate_key()], ids=["mistyped", "unknown"])
    def test_a_wrong_key_is_an_authentication_error(self, customer: Customer, wrong: str) -> None:
        with sdk(customer, api_key=wrong) as client, pytest.raises(openai.AuthenticationError) as caught:
            ask(client)
        assert caught.value.code == "invalid_api_key"
        assert wrong not in caught.value.response.text

    @pytest.mark.parametrize(
        "authorization", [None, b"", b"Bearer", b"Basic c2s6", b"sk-alone", b"Bearer \xff"]
    )
    def test_no_key_is_an_authentication_error(self, customer: Customer, authorization: bytes | None) -> None:
        headers = {} if authorization is None else {b"authorization": authorization}
        answer = httpx.get(f"{customer.installation.url}/v1/models", headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_api_key"

    def test_a_revoked_key_is_an_authentication_error(self, customer: Customer) -> None:
        other = customer.installation.create_customer("1.00")
        customer.installation.command("revoke_key", other.api_key)
        with sdk(other) as client, pytest.raises(openai.AuthenticationError) as caught:
            ask(client)
        assert caught.value.code == "invalid_api_key"


class TestModels:
    @pytest.mark.parametrize("model", ["gpt-9", "unpriced", "GPT-4O", "gpt-4o-2024-08-06"])
    def test_an_unknown_model_is_not_found(self, client: OpenAI, model: str) -> None:
        with pytest.raises(openai.NotFoundError) as caught:
            ask(client, model=model)
        assert caught.value.code == "model_not_found"
        assert caught.value.param == "model"
        assert model in caught.value.message

    def test_a_retired_model_names_its_successor(self, client: OpenAI) -> None:
        with pytest.raises(
            openai.NotFoundError, match="'gpt-4-32k' has been retired; use 'gpt-4o'"
        ) as caught:
            stream(client, model="gpt-4-32k")
        assert caught.value.code == "model_not_found"


class TestEmptyWallet:
    @pytest.mark.parametrize("streamed", [False, True])
    def test_it_is_a_rate_limit_error_that_the_sdk_does_not_retry(
        self, poor: Customer, streamed: bool
    ) -> None:
        sent: list[str] = []
        counting = DefaultHttpxClient(event_hooks={"request": [lambda request: sent.append(request.method)]})
        with (
            sdk(poor, http_client=counting, max_retries=2) as client,
            pytest.raises(openai.RateLimitError) as caught,
        ):
            (stream if streamed else ask)(client)
        assert caught.value.code == "insufficient_quota"
        assert caught.value.type == "insufficient_quota"
        assert sent == ["POST"]

    def test_the_models_can_still_be_listed(self, poor: Customer) -> None:
        with sdk(poor) as client:
            assert client.models.list().data

    def test_a_limit_the_wallet_cannot_pay_is_refused_and_a_smaller_one_is_not(
        self, installation: Installation
    ) -> None:
        modest = installation.create_customer("0.01")
        with sdk(modest) as client, pytest.raises(openai.RateLimitError) as caught:
            ask(client, max_tokens=16_000)
        assert caught.value.code == "insufficient_quota"
        assert modest.wallet()["available_nano"] == 10_000_000


class TestBodies:
    @pytest.mark.parametrize(
        ("wrong", "param", "code"),
        [
            ({"temperature": 3}, "temperature", "decimal_above_max_value"),
            ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "array_above_max_length"),
            ({"n": 0}, "n", "integer_below_min_value"),
            ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role", "invalid_value"),
            ({"messages": []}, "messages", "empty_array"),
            ({"messages": "hello"}, "messages", "invalid_type"),
            ({"stream_options": {"include_usage": True}}, "stream_options", None),
            ({"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
        ],
    )
    def test_a_wrong_field_is_named(
        self, client: OpenAI, wrong: dict[str, Any], param: str, code: str | None
    ) -> None:
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(**{**fields(), **wrong})
        assert caught.value.param == param
        assert caught.value.type == "invalid_request_error"
        if code is not None:
            assert caught.value.code == code

    @pytest.mark.parametrize("missing", ["messages", "model"])
    def test_a_missing_field_is_named(self, customer: Customer, missing: str) -> None:
        body = {name: value for name, value in fields().items() if name != missing}
        answer = post(customer, httpx.Request("POST", "http://x", json=body).read())
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == missing
        assert answer.json()["error"]["code"] == "missing_required_parameter"

    @pytest.mark.parametrize(
        "content",
        [b"", b"{", b"[]", b'"hello"', b"null", b"\xff\xfe", b'{"model": "gpt-4o", "messages": ['],
        ids=["empty", "brace", "array", "string", "null", "no utf-8", "cut"],
    )
    def test_what_is_no_json_object_is_refused_in_the_envelope(
        self, customer: Customer, content: bytes
    ) -> None:
        answer = post(customer, content)
        assert answer.status_code == 400
        assert_is_envelope(answer)

    def test_a_body_over_twenty_megabytes_is_refused_in_the_envelope(self, customer: Customer) -> None:
        answer = post(customer, b" " * (20 * 1024 * 1024 + 1))
        assert answer.status_code == 413
        assert_is_envelope(answer)
        assert answer.json()["error"]["code"] == "request_too_large"

    def test_a_body_that_hides_its_size_is_refused_too(self, customer: Customer) -> None:
        answer = httpx.post(
            f"{customer.installation.url}/v1/chat/completions",
            content=(b" " * 1024 * 1024 for _ in range(21)),
            headers={"authorization": f"Bearer {customer.api_key}"},
            timeout=30,
        )
        assert answer.status_code == 413
        assert_is_envelope(answer)


class TestPaths:
    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/v1/unknown", 404),
            ("POST", "/v1/embeddings", 404),
            ("GET", "/v1/", 404),
            ("GET", "/v1/models/", 404),
            ("GET", "/v1/chat/completions", 405),
            ("DELETE", "/v1/chat/completions", 405),
            ("POST", "/v1/models", 405),
            ("OPTIONS", "/v1/models", 405),
            ("PUT", "/v1/models/gpt-4o", 405),
        ],
    )
    def test_what_is_not_there_is_said_in_the_envelope(
        self, customer: Customer, method: str, path: str, status: int
    ) -> None:
        headers = {"authorization": f"Bearer {customer.api_key}"}
        answer = httpx.request(method, customer.installation.url + path, headers=headers)
        assert answer.status_code == status
        assert_is_envelope(answer)

    @pytest.mark.parametrize("path", ["/v1/chat", "/v1//chat/completions", "/v1/chat/completions/"])
    def test_near_misses_are_never_pages(self, customer: Customer, path: str) -> None:
        headers = {"authorization": f"Bearer {customer.api_key}"}
        answer = httpx.post(customer.installation.url + path, headers=headers, json=fields(messages=HELLO))
        assert answer.status_code == 404
        assert_is_envelope(answer)


def assert_is_envelope(answer: httpx.Response) -> None:
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"].startswith("req_")
    assert set(answer.json()) == {"error"}
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
