"""When the vendor fails: the SDK raises what fits, only what came out is charged, no secret leaks."""

import asyncio
import time
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionChunk

from tests.config.processes import wait_for
from tests.flows.asking import ask, fields, stream
from tests.flows.wire import Wire
from tests.installation import VENDOR_KEY, Customer, price_of

ACCOUNT = {"message": f"Key {VENDOR_KEY} of org-double, project proj_7h2k, is out of credit"}
# What the vendor does, what the SDK makes of our answer, our status, our code.
FAILURES: dict[str, tuple[dict[str, Any], type[openai.APIStatusError], int, str]] = {
    "limited": ({"status": 429, "retry_after": 7}, openai.RateLimitError, 429, "upstream_rate_limited"),
    "out of credit": (
        {"status": 429, "error": {**ACCOUNT, "code": "insufficient_quota"}},
        openai.InternalServerError,
        503,
        "upstream_unavailable",
    ),
    "key refused": (
        {"status": 401, "error": ACCOUNT},
        openai.InternalServerError,
        503,
        "upstream_unavailable",
    ),
    "forbidden": ({"status": 403, "error": ACCOUNT}, openai.InternalServerError, 503, "upstream_unavailable"),
    "model gone": (
        {"status": 404, "error": ACCOUNT},
        openai.InternalServerError,
        503,
        "upstream_unavailable",
    ),
    "broken": ({"status": 500, "error": ACCOUNT}, openai.InternalServerError, 502, "upstream_error"),
    "overloaded": (
        {"status": 503, "retry_after": 3},
        openai.InternalServerError,
        503,
        "upstream_unavailable",
    ),
    "a page": ({"status": 502, "html_error": True}, openai.InternalServerError, 502, "upstream_error"),
    "hangs up at once": ({"die": "before_headers"}, openai.InternalServerError, 502, "upstream_error"),
    "hangs up before a word": ({"die": "after_headers"}, openai.InternalServerError, 502, "upstream_error"),
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
class TestBeforeAnyOutput:
    def test_the_failure_is_told_and_costs_nothing(
        self, client: OpenAI, customer: Customer, failure: str, streamed: bool
    ) -> None:
        tell, exception, status, code = FAILURES[failure]
        posted = customer.balance().posted
        with pytest.raises(exception) as caught:
            (stream if streamed else ask)(client, tell=tell)
        assert (caught.value.status_code, caught.value.code) == (status, code)
        assert customer.record(caught.value.response.headers["x-request-id"]) is None
        assert customer.balance().posted == posted
        tells_nothing_of_the_vendor(customer, caught.value.response)


class TestAdvice:
    @pytest.mark.parametrize(("status", "seconds"), [(429, "7"), (503, "3")])
    def test_the_vendors_retry_after_is_handed_on(self, client: OpenAI, status: int, seconds: str) -> None:
        with pytest.raises(openai.APIStatusError) as caught:
            ask(client, tell={"status": status, "retry_after": int(seconds)})
        assert caught.value.response.headers["retry-after"] == seconds

    def test_the_sdk_asks_again_where_that_can_help(self, client: OpenAI, customer: Customer) -> None:
        vendor = customer.installation.vendor
        before = vendor.stats()["requests"]
        with pytest.raises(openai.InternalServerError):
            ask(client.with_options(max_retries=1), tell={"status": 500})
        assert vendor.stats()["requests"] == before + 2

    def test_one_question_is_one_try_at_the_vendor(self, client: OpenAI, customer: Customer) -> None:
        """Who tries again is the client: tries of both would multiply."""
        vendor = customer.installation.vendor
        before = vendor.stats()["requests"]
        with pytest.raises(openai.InternalServerError):
            ask(client, tell={"status": 500})
        assert vendor.stats()["requests"] == before + 1

    def test_the_bodys_length_and_coding_are_our_own(self, client: OpenAI) -> None:
        raw = client.chat.completions.with_raw_response.create(**fields(tell={"chunks": 3}))
        assert int(raw.headers["content-length"]) == len(raw.content)
        assert "content-encoding" not in raw.headers

    def test_what_the_vendor_finds_wrong_with_a_request_is_told(self, client: OpenAI) -> None:
        error = {"message": "Image is too small.", "param": "messages[0]", "code": "invalid_image"}
        with pytest.raises(openai.BadRequestError, match=r"Image is too small\.") as caught:
            ask(client, tell={"status": 400, "error": error})
        assert (caught.value.param, caught.value.code) == ("messages[0]", "invalid_image")

    def test_but_nothing_about_our_account_there(self, client: OpenAI, customer: Customer) -> None:
        with pytest.raises(openai.BadRequestError) as caught:
            ask(client, tell={"status": 400, "error": ACCOUNT})
        tells_nothing_of_the_vendor(customer, caught.value.response)

    @pytest.mark.parametrize("code", ["Arrearage", "invalid_api_key"])
    def test_a_vendor_that_says_400_about_our_account_is_unavailable(
        self, client: OpenAI, customer: Customer, code: str
    ) -> None:
        with pytest.raises(openai.InternalServerError) as caught:
            ask(client, tell={"status": 400, "error": {**ACCOUNT, "code": code}})
        assert caught.value.code == "upstream_unavailable"
        tells_nothing_of_the_vendor(customer, caught.value.response)

    def test_a_vendor_that_cannot_be_reached_is_unavailable(self, client: OpenAI) -> None:
        with pytest.raises(openai.InternalServerError) as caught:
            ask(client, model="gone")
        assert (caught.value.status_code, caught.value.code) == (503, "upstream_unavailable")

    @pytest.mark.parametrize("place", ["before_headers", "after_headers"])
    def test_a_vendor_that_says_nothing_is_given_up_at_the_channels_deadline(
        self, client: OpenAI, customer: Customer, place: str
    ) -> None:
        began = time.monotonic()
        with pytest.raises(openai.InternalServerError) as caught:
            stream(client, model="hasty", tell={"hang": place})
        assert 0.9 < time.monotonic() - began < 3
        assert (caught.value.status_code, caught.value.code) == (504, "upstream_timeout")
        assert customer.record(caught.value.response.headers["x-request-id"]) is None


ENDS_EARLY: dict[str, dict[str, Any]] = {
    "an error event": {"chunks": 9, "error_in_stream_after": 4},
    "the connection is cut": {"chunks": 9, "die": "after_chunks:4"},
}


@pytest.mark.parametrize("tell", ENDS_EARLY.values(), ids=ENDS_EARLY)
class TestInTheMiddleOfAStream:
    def test_what_came_out_arrives_and_the_sdk_raises(self, client: OpenAI, tell: dict[str, Any]) -> None:
        seen: list[ChatCompletionChunk] = []
        with (
            pytest.raises(openai.APIError) as caught,
            client.chat.completions.create(**fields(tell=tell), stream=True) as chunks,
        ):
            seen.extend(chunk for chunk in chunks if chunk.choices[0].delta.content)
        assert len(seen) == 4
        assert caught.value.code == "upstream_error"

    async def test_what_came_out_is_charged_by_estimate(
        self, customer: Customer, tell: dict[str, Any]
    ) -> None:
        async with Wire(customer, fields(tell=tell, stream=True)) as answer:
            text = "".join([text async for text in answer.texts()])
        record = customer.record(answer.request_id)
        assert record is not None
        assert (record["usage_source"], record["ending"]) == ("estimated", "vendor_error")
        assert record["output_tokens"] == -(-len(text.encode()) // 4)
        assert record["charge_nano"] == price_of_record(record)

    async def test_nothing_looks_like_an_end(self, customer: Customer, tell: dict[str, Any]) -> None:
        async with Wire(customer, fields(tell=tell, stream=True)) as answer:
            *chunks, last = [event async for event in answer.events()]
        assert all(chunk["choices"][0]["finish_reason"] is None for chunk in chunks)
        assert set(last) == {"error"}
        assert not answer.is_done
        assert "double" not in repr(last)


class TestReports:
    def test_an_answer_without_usage_is_charged_by_estimate(self, client: OpenAI, customer: Customer) -> None:
        chunks = stream(client, tell={"no_usage": True}, stream_options={"include_usage": True})
        record = customer.record(chunks[0].id)
        assert record is not None
        assert (record["usage_source"], record["ending"]) == ("estimated", "complete")
        usage = chunks[-1].usage
        assert usage is not None
        assert (usage.prompt_tokens, usage.completion_tokens) == (
            record["input_tokens"],
            record["output_tokens"],
        )

    async def test_usage_that_died_with_the_connection_is_estimated(self, customer: Customer) -> None:
        async with Wire(customer, fields(tell={"chunks": 6, "die": "in_usage"}, stream=True)) as answer:
            events = [event async for event in answer.events()]
        record = customer.record(answer.request_id)
        assert record is not None
        assert record["usage_source"] == "estimated"
        assert "error" in events[-1]

    def test_a_stream_without_an_end_mark_is_whole_if_all_choices_finished(self, client: OpenAI) -> None:
        chunks = stream(client, tell={"no_done": True}, stream_options={"include_usage": True})
        assert chunks[-1].usage is not None


class TestCustomersWhoLeave:
    async def test_the_rest_is_read_and_the_reported_usage_charged(self, customer: Customer) -> None:
        tell = {"chunks": 25, "delay_ms": 20, "prompt_tokens": 501}
        async with Wire(customer, fields(tell=tell, stream=True)) as answer:
            texts = answer.texts()
            for _ in range(3):
                await anext(texts)
        record = customer.wait_for_record(answer.request_id)
        assert record["usage_source"] == "reported"
        assert (record["input_tokens"], record["output_tokens"]) == (501, 25)
        served = served_for_prompt(customer, 501)
        assert served["served"]
        assert record["charge_nano"] == price_of(served)

    @pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
    async def test_an_answer_nobody_waited_for_is_charged(self, customer: Customer, streamed: bool) -> None:
        number = 503 + streamed
        tell = {"chunks": 5, "first_delay_ms": 300, "prompt_tokens": number}
        request = Wire(customer, fields(tell=tell, stream=streamed))
        await request.send()
        await asyncio.sleep(0.1)
        request.close()
        wait_for(lambda: charges_for_prompt(customer, number))
        assert charges_for_prompt(customer, number) == [price_of(served_for_prompt(customer, number))]


class TestSilence:
    async def test_the_vendors_own_name_for_an_answer_stays_here(self, customer: Customer) -> None:
        tell = {"prompt_tokens": 509}
        async with Wire(customer, fields(tell=tell, stream=True)) as answer:
            _ = [event async for event in answer.events()]
        theirs = served_for_prompt(customer, 509)["id"]
        assert theirs not in answer.received.decode()
        assert theirs not in repr(answer.headers)

    def test_the_log_holds_no_credential(self, customer: Customer) -> None:
        log = customer.installation.log_text()
        assert VENDOR_KEY not in log
        assert customer.api_key not in log


def served_for_prompt(customer: Customer, prompt_tokens: int) -> dict[str, Any]:
    """What the double wrote down about the one request with so many prompt tokens."""
    records = customer.installation.vendor.records()
    [served] = [record for record in records if record["prompt_tokens"] == prompt_tokens]
    return served


def charges_for_prompt(customer: Customer, prompt_tokens: int) -> list[int]:
    rows = customer.installation.query(
        "SELECT charge_nano FROM billing_usagerecord WHERE organization_id = %s AND input_tokens = %s",
        customer.organization,
        prompt_tokens,
    )
    return [row["charge_nano"] for row in rows]


def price_of_record(record: dict[str, Any]) -> int:
    return price_of(
        {
            "model": record["model"],
            "prompt_tokens": record["input_tokens"],
            "cached_tokens": 0,
            "completion_tokens": record["output_tokens"],
        }
    )


def tells_nothing_of_the_vendor(customer: Customer, answer: Any) -> None:
    """Neither in its headers nor in its body: no credential, no id, no word about its account."""
    said = f"{answer.headers!r} {answer.text}".lower()
    ids = [one["id"] for one in customer.installation.vendor.records()]
    for secret in (VENDOR_KEY, VENDOR_KEY[-4:], "double", "proj_7h2k", *ids):
        assert secret.lower() not in said
