"""The first fare in a real browser: sign up, get a key, call, and read on a page what it cost and why."""

import email
import re
import time
from email import policy
from pathlib import Path
from uuid import uuid4

import pytest
from openai import OpenAI
from playwright.sync_api import Page, expect

from common.money import format_nano
from tests.installation import Installation

PASSWORD = "correct horse battery staple"


def link_in_mail(mail_dir: Path, address: str) -> str:
    """The first link of the newest mail to `address`."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        mails = sorted(mail_dir.glob(f"*{address}*.eml"))
        if mails:
            message = email.message_from_bytes(mails[-1].read_bytes(), policy=policy.default)
            body = message.get_body(("plain",))
            assert body is not None
            return str(re.findall(r"http://\S+", body.get_content())[0])
        time.sleep(0.1)
    raise AssertionError(f"no mail to {address}")


def sign_up(page: Page, live_url: str, mail_dir: Path) -> str:
    address = f"ada-{uuid4().hex[:8]}@example.com"
    page.goto(live_url)
    page.get_by_role("link", name="Create an account").click()
    page.get_by_label("Email").fill(address)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Organization").fill("Analytical Engines")
    page.get_by_role("button", name="Create account").click()
    page.goto(link_in_mail(mail_dir, address))
    page.get_by_role("button", name="Yes, verify it").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    return address


def create_key(page: Page, live_url: str) -> str:
    page.goto(f"{live_url}/keys/")
    page.locator("[data-dialog=new-key]").first.click()
    page.locator("#new-key").get_by_label("Name").fill("laptop")
    page.locator("#new-key").get_by_role("button", name="Create key").click()
    secret = page.locator("#new-secret").inner_text()
    expect(page.locator("body")).to_contain_text("curl")
    return secret


def grant(installation: Installation, address: str) -> int:
    """An operator gives the new customer a dollar; returns the organization's id."""
    code = (
        "from accounts.models import Organization; from billing.services import grant_credit; "
        f"organization = Organization.objects.get(members__email='{address}'); "
        "grant_credit(organization=organization, amount_nano=10**9, reason='test', "
        f"fact_key='{address}'); print(organization.pk)"
    )
    return int(installation.output_of("shell", "--verbosity", "0", "-c", code).split()[-1])


def test_from_sign_up_to_receipt(
    page: Page, live_url: str, mail_dir: Path, installation: Installation
) -> None:
    address = sign_up(page, live_url, mail_dir)
    secret = create_key(page, live_url)
    organization = grant(installation, address)
    client = OpenAI(base_url=f"{live_url}/v1", api_key=secret)
    stream = client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "hello"}], stream=True
    )
    request_id = "req_" + next(chunk.id for chunk in stream).removeprefix("chatcmpl-")
    client.close()

    page.goto(f"{live_url}/usage/")
    page.get_by_role("link", name=re.compile("gpt-4o")).first.click()
    expect(page.locator("body")).to_contain_text(request_id)
    [record] = installation.usage_export("--organization", str(organization))
    expect(page.locator("body")).to_contain_text(f"${format_nano(record['charge_nano'])}")
    wallet = installation.command("wallet", str(organization))
    assert wallet["posted_nano"] == 10**9 - record["charge_nano"]


def test_the_key_is_shown_once_and_can_be_revoked(page: Page, live_url: str, mail_dir: Path) -> None:
    sign_up(page, live_url, mail_dir)
    secret = create_key(page, live_url)
    page.goto(f"{live_url}/keys/")
    expect(page.locator("body")).not_to_contain_text(secret)
    expect(page.locator("body")).to_contain_text(secret[-4:])
    page.get_by_role("button", name="Revoke laptop").click()
    page.get_by_role("button", name="Revoke the key").click()
    expect(page.get_by_role("button", name="Revoke laptop")).to_have_count(0)


@pytest.mark.parametrize("width", [390, 820, 1440])
def test_pages_fit_their_screen_in_both_languages(page: Page, live_url: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{live_url}/accounts/login/")
    for name, heading in (("中文", "登录"), ("English", "Sign in")):
        page.get_by_role("button", name=name).click()
        expect(page.get_by_role("heading").first).to_contain_text(heading)
        overflow = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert overflow <= 0
