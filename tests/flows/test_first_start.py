"""What the very first start shows, tried out as a newcomer would."""

import re

import httpx

from tests.flows.asking import fields
from tests.flows.wire import Wire
from tests.installation import Customer, Installation


async def test_the_printed_key_streams_the_built_in_model(installation: Installation) -> None:
    demo = Customer(installation, 1, "demo@farebox.localhost", installation.demo_key, 5 * 10**9)
    async with Wire(demo, fields(model="farebox-demo", stream=True)) as answer:
        assert "".join([text async for text in answer.texts()])
    assert answer.is_done
    record = demo.record(answer.request_id)
    assert record is not None
    assert record["charge_nano"] > 0


def test_the_printed_line_to_try_names_the_address_and_the_key(installation: Installation) -> None:
    [line] = [line for line in installation.log_text().splitlines() if line.startswith("  curl -N ")]
    assert f"{installation.url}/v1/chat/completions" in line
    assert f"Authorization: Bearer {installation.demo_key}" in line


def test_the_printed_operator_can_sign_in_to_the_admin_site(installation: Installation) -> None:
    address, password = installation.operator
    with httpx.Client(base_url=installation.url, follow_redirects=True, timeout=20) as session:
        page = session.get("/admin/").text
        [token] = set(re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page))
        form = {"login": address, "password": password, "csrfmiddlewaretoken": token}
        session.post("/accounts/login/?next=/admin/", data=form)
        answer = session.get("/admin/")
    assert answer.status_code == 200
    assert answer.url.path == "/admin/"
