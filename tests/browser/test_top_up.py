"""Topping up in a real browser: choose, pay at the stand-in for Stripe, see the credit. No money moves."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_first_fare import sign_up
from tests.config.processes import wait_for
from tests.doubles.stripe.double import control
from tests.installation import Installation

SOON = 15_000  # milliseconds


@pytest.fixture(scope="module")
def shop() -> Iterator[Installation]:
    """An installation whose payments go to the stand-in."""
    with Installation("--stripe-double") as running:
        yield running


@pytest.fixture
def stripe_url(shop: Installation) -> str:
    return f"http://127.0.0.1:{(shop.home / 'run' / 'stripe_double_port').read_text()}"


@pytest.fixture(scope="module")
def cookies() -> list[Any]:
    """Of the one who signed up first; the others are the same person."""
    return []


@pytest.fixture
def member(page: Page, shop: Installation, cookies: list[Any]) -> Page:
    if not cookies:
        sign_up(page, shop.url, shop.mail_dir)
        cookies += page.context.cookies()
    page.context.add_cookies(cookies)
    page.goto(shop.url)
    return page


def paid(shop: Installation, dollars: int) -> int:
    """How many top-ups of so many dollars are paid."""
    statement = "SELECT count(*) AS n FROM billing_topup WHERE state = 'paid' AND amount_minor = %s"
    return int(shop.query(statement, dollars * 100)[0]["n"])


def choose(page: Page, amount: str = "20") -> None:
    """Up to the payment page."""
    page.get_by_role("link", name="Credit", exact=True).click()
    page.get_by_role("link", name="Top up").click()
    page.get_by_label("Another amount").fill(amount)
    page.get_by_role("button", name="Go to payment").click()
    expect(page.get_by_text("TEST MODE")).to_be_visible()


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def assert_books_balance(shop: Installation) -> None:
    assert shop.run("verify_books").returncode == 0


def test_twenty_dollars_become_credit(member: Page, shop: Installation) -> None:
    choose(member)
    press(member, "Pay with a good card")
    expect(member.get_by_role("heading", name="$20.00 added")).to_be_visible(timeout=SOON)
    member.get_by_role("link", name="To the overview").click()
    expect(member.locator("#overview")).to_contain_text("$20.00")
    expect(member.get_by_text("Test mode")).to_be_visible()
    assert_books_balance(shop)


def test_without_webhooks_it_only_takes_longer(member: Page, shop: Installation, stripe_url: str) -> None:
    """Nobody comes back to the page that asks: the sweeper finds the payment by itself."""
    control(stripe_url, "webhooks", lost=True)
    try:
        choose(member, "23")
        control(stripe_url, "pay", session=member.url.rsplit("/", 1)[1])
        wait_for(lambda: paid(shop, 23) == 1, 60)
    finally:
        control(stripe_url, "webhooks", lost=False)


def test_a_declined_card_can_be_followed_by_a_good_one(member: Page) -> None:
    choose(member)
    press(member, "Pay with a card that is declined")
    expect(member.get_by_role("alert")).to_contain_text("declined")
    press(member, "Pay with a good card")
    expect(member.get_by_role("heading", name="$20.00 added")).to_be_visible(timeout=SOON)


@pytest.mark.parametrize("confirms", [True, False])
def test_a_bank_that_asks(member: Page, confirms: bool) -> None:
    choose(member)
    press(member, "Pay with a card that asks for 3-D Secure")
    press(member, "Confirm" if confirms else "Refuse")
    if confirms:
        expect(member.get_by_role("heading", name="$20.00 added")).to_be_visible(timeout=SOON)
    else:
        expect(member.get_by_role("alert")).to_contain_text("declined")


def test_who_comes_back_without_paying_can_go_on(member: Page) -> None:
    choose(member)
    member.get_by_role("link", name="Go back without paying").click()
    expect(member.get_by_role("heading", name="$20.00, not paid yet")).to_be_visible()
    press(member, "Go on to payment")
    press(member, "Pay with a good card")
    expect(member.get_by_role("heading", name="$20.00 added")).to_be_visible(timeout=SOON)


def test_two_tabs_pay_once(member: Page, shop: Installation) -> None:
    """The back button brings the same form, which leads to the same payment."""
    choose(member, "21")
    payment = member.url
    press(member, "Pay with a good card")
    expect(member.get_by_role("heading", name="$21.00 added")).to_be_visible(timeout=SOON)
    member.goto(payment)
    expect(member.get_by_text("paid already")).to_be_visible()
    assert paid(shop, 21) == 1
    assert_books_balance(shop)


def test_a_payment_page_that_ended(member: Page, shop: Installation, stripe_url: str) -> None:
    choose(member)
    session = member.url.rsplit("/", 1)[1]
    control(stripe_url, "expire", session=session)
    member.reload()
    member.get_by_role("link", name="Go back").click()
    expect(member.get_by_role("heading", name="This payment has expired")).to_be_visible(timeout=SOON)
    member.get_by_role("link", name="Start a new one").click()
    expect(member.get_by_role("heading", name="Top up")).to_be_visible()
