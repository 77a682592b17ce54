"""Pages of a member over HTTP: calls show within ten seconds, and receipts say what the wallet lost."""

import re
import time
from collections.abc import Iterator

import httpx
import pytest
from openai import OpenAI

from tests.config.processes import wait_for
from tests.flows.asking import ask, stream
from tests.installation import Customer, request_hex

CALLS = 7
FRESH_SECONDS = 10.0
PASSWORD = "a password for this test only"
SET_PASSWORD = (
    "from accounts.models import User\n"
    "person = User.objects.get(email={email!r})\n"
    "person.set_password({password!r})\n"
    "person.save()\n"
)


@pytest.fixture(scope="module")
def pages(customer: Customer) -> Iterator[httpx.Client]:
    """A browser's session of the customer's owner, without the browser."""
    customer.installation.output_of(
        "shell", "-c", SET_PASSWORD.format(email=customer.email, password=PASSWORD)
    )
    with httpx.Client(base_url=customer.installation.url, follow_redirects=True, timeout=20) as session:
        page = session.get("/accounts/login/").text
        [token] = set(re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page))
        form = {"login": customer.email, "password": PASSWORD, "csrfmiddlewaretoken": token}
        assert session.post("/accounts/login/", data=form).url.path == "/"
        yield session


def test_calls_show_on_the_overview_within_ten_seconds(
    pages: httpx.Client, client: OpenAI, customer: Customer
) -> None:
    assert "1 request" not in pages.get("/").text
    for number in range(CALLS):
        ask(client, tell={"prompt_tokens": 100 + number})
    called = time.monotonic()
    wait_for(lambda: re.search(rf"\b{CALLS} requests\b", pages.get("/").text), FRESH_SECONDS)
    assert time.monotonic() - called < FRESH_SECONDS
    [rollup] = customer.installation.query(
        "SELECT sum(requests) AS requests, sum(charge_nano) AS charged FROM billing_usagerollup"
        " WHERE organization_id = %s",
        customer.organization,
    )
    assert int(rollup["requests"]) == CALLS
    assert int(rollup["charged"]) == customer.credit_nano - customer.balance().posted


def test_a_call_is_in_the_usage_list_at_once(pages: httpx.Client, client: OpenAI) -> None:
    answer = ask(client)
    assert f"req_{request_hex(answer.id)}" in pages.get("/usage/").text


def test_receipt_and_wallet_agree_to_the_nano_dollar(
    pages: httpx.Client, client: OpenAI, customer: Customer
) -> None:
    before = customer.balance().posted
    tell = {"prompt_tokens": 4, "cached_tokens": 3, "completion_tokens": 1}
    chunks = stream(client, model="tiny", tell=tell)
    lost = before - customer.balance().posted
    receipt = pages.get(f"/usage/req_{request_hex(chunks[0].id)}/").text
    found = re.search(r"data-charge[^>]*>\s*\$([\d.]+)", receipt)
    assert found
    assert found[1] == "0.0000003"  # four times 37.5 nano-dollars and once 150
    assert lost == 300


def test_the_balance_shown_is_the_wallet(pages: httpx.Client, customer: Customer) -> None:
    posted = f"{customer.balance().posted / 10**9:.9f}".rstrip("0")
    assert f"${posted}" in pages.get("/").text


def test_a_visitor_is_sent_to_sign_in(customer: Customer) -> None:
    answer = httpx.get(f"{customer.installation.url}/")
    assert answer.status_code == 302
    assert answer.headers["location"].startswith("/accounts/login/")
