"""A referral link in a real browser: copied by one customer, followed by another."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.test_first_fare import PASSWORD, sign_up
from tests.installation import Installation

CAMPAIGN = """
from tests.factories.campaigns import make_campaign
from billing.models import Campaign, CampaignKind
if not Campaign.objects.filter(kind="referral").exists():
    make_campaign(CampaignKind.REFERRAL, referrer_nano=2 * 10**9, least_top_up_minor=20_00, credit_days=90)
"""


@pytest.fixture(autouse=True)
def campaign(installation: Installation) -> None:
    installation.output_of("shell", "--verbosity", "0", "-c", CAMPAIGN)


def test_who_follows_the_link_is_listed_without_a_name(page: Page, live_url: str, mail_dir: Path) -> None:
    sign_up(page, live_url, mail_dir)
    page.get_by_role("link", name="Refer", exact=True).click()
    expect(page.get_by_text("Nobody yet")).to_be_visible()
    page.get_by_role("button", name="Copy").click()
    expect(page.locator("[data-copy].copied")).to_have_count(1)
    follow(page, page.locator("#referral-link").inner_text())
    page.reload()
    expect(page.get_by_text("Waiting for the first top-up")).to_have_count(1)
    expect(page.locator("main")).not_to_contain_text("somebody-else")
    for width in (390, 820, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        overflow = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert overflow <= 0


def follow(page: Page, link: str) -> None:
    """In a browser of somebody else's, who looks around before signing up."""
    browser = page.context.browser
    assert isinstance(browser, Browser)
    other = browser.new_context(locale="en-US").new_page()
    other.goto(link)
    other.get_by_role("link", name="Sign in").click()
    other.get_by_role("link", name="Create an account").click()
    other.get_by_label("Email").fill("somebody-else@example.com")
    other.get_by_label("Password", exact=True).fill(PASSWORD)
    other.get_by_role("button", name="Create account").click()
    expect(other.get_by_role("heading").first).to_be_visible()
    other.wait_for_url("**/confirm-email/**")
    other.context.close()
