"""The price list in a real browser: hours, tiers and prices to come are said, and fit every width."""

from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from tests.installation import Installation

PASSWORD = "correct horse battery staple"
# Far enough away to leave every other test its prices.
CODE = """
from datetime import datetime, UTC
from allauth.account.models import EmailAddress
from accounts.models import User
from accounts.services import create_organization
from billing.price_shapes import Price
from billing.publishing import publish_price
user = User.objects.create_user("{address}", "{password}")
EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=True)
create_organization(owner=user, name="Readers")
rates = {{"input": 10**9, "output": 2 * 10**9}}
band = {{"over_prompt_tokens": 200000, "rates": {{"input": 3 * 10**9, "output": 4 * 10**9}}}}
workdays = ["mon", "tue", "wed", "thu", "fri"]
nights = {{"days": workdays, "from_minute": 1320, "to_minute": 360, "rates": rates}}
weekend = {{"days": ["sat", "sun"], "from_minute": 0, "to_minute": 1440, "rates": rates, "bands": [band]}}
flex = {{"tier": "flex", "rates": rates, "bands": [band]}}
price = Price(rates, bands=[band], windows=[nights, weekend], tiers=[flex])
publish_price(model="tiny", kind="retail", price=price, effective_from=datetime(2090, 12, 1, tzinfo=UTC))
"""


@pytest.fixture
def reader(page: Page, live_url: str, installation: Installation) -> Page:
    address = f"reader-{uuid4().hex[:8]}@example.com"
    installation.output_of("shell", "--verbosity", "0", "-c", CODE.format(address=address, password=PASSWORD))
    page.goto(live_url)
    page.get_by_label("Email").fill(address)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.locator("main button[class*=primary]").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    return page


def test_what_a_model_costs_otherwise_stands_below_it_and_fits(reader: Page, live_url: str) -> None:
    reader.goto(f"{live_url}/models/")
    lines = [text.replace("\N{EN DASH}", "-") for text in reader.locator(".variation th").all_inner_texts()]
    assert [line for line in lines if "2090" not in line] == []
    assert ["Mon-Fri 22:00-06:00 (next day)" in line for line in lines].count(True) == 1
    assert ["Service tier “flex”" in line for line in lines].count(True) == 1
    for theme in ("light", "dark"):
        reader.emulate_media(color_scheme=theme)
        for width in (390, 820, 1440):
            reader.set_viewport_size({"width": width, "height": 900})
            assert reader.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_a_search_takes_the_lines_of_a_model_along(reader: Page, live_url: str) -> None:
    reader.goto(f"{live_url}/models/")
    reader.get_by_label("Find a model").fill("gpt-4o")
    expect(reader.locator(".variation").first).to_be_hidden()
    reader.get_by_label("Find a model").fill("tiny")
    expect(reader.locator(".variation").first).to_be_visible()
