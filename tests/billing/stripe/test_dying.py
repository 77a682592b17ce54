"""Killed between Stripe's answer and our commit, wherever that can be: it goes on, and nobody pays twice."""

import signal
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone
from django.utils.translation import override

from billing.ledger import Account
from billing.models import BillingDetails, PaymentTerms, StripeCustomer, StripeEvent, TaxMode, TaxRate, TopUp
from billing.stripe.catch_up import reconcile_top_ups_under_way
from billing.stripe.client import StripeUnknown
from billing.stripe.inbox import sweep_inbox
from billing.top_ups import payment_page, reconcile_top_up, start_top_up
from tests.doubles.stripe.double import StripeDouble
from tests.factories.credit import assert_money_adds_up, balance
from tests.factories.money import Payer
from tests.factories.processes import start_python
from tests.factories.stripe import Post, fresh, open_page, session_of

pytestmark = pytest.mark.django_db(transaction=True)

CENT = 10**7

DIE = """
import os, signal
from importlib import import_module
from uuid import UUID
settings.STRIPE_API_KEY, settings.STRIPE_API_BASE = {key!r}, {base!r}

def die(*_args, **_kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

setattr(import_module({module!r}), {name!r}, die)
from billing.models import StripeEvent, TopUp
from billing.stripe.inbox import process_event
from billing.top_ups import close_payment_page, payment_page, reconcile_top_up

def top_up():
    return TopUp.across_all_organizations.get(pk=UUID({top_up!r}))

{work}
print("survived")
"""

TOGETHER = """
from uuid import UUID
settings.STRIPE_API_KEY, settings.STRIPE_API_BASE = {key!r}, {base!r}
from billing.top_ups import reconcile_top_up
print("ready", flush=True)
input()
for _ in range(5):
    reconcile_top_up(UUID({top_up!r}))
print("done")
"""


@pytest.fixture(autouse=True)
def money_adds_up(stripe: StripeDouble) -> Iterator[None]:
    yield
    assert_money_adds_up()
    assert balance(Account.STRIPE_CLEARING) == stripe.state()["balance"] * CENT


def die_at(stripe: StripeDouble, point: str, top_up: TopUp, work: str) -> None:
    """Do `work` in a process that kills itself where it comes to `point`."""
    module, name = point.rsplit(".", 1)
    code = DIE.format(
        key=stripe.api_key, base=stripe.url, module=module, name=name, top_up=str(top_up.pk), work=work
    )
    with start_python(code) as process:
        out, _err = process.communicate(timeout=60)
    assert (process.returncode, out) == (-signal.SIGKILL, "")


@pytest.fixture
def started(stripe: StripeDouble, payer: Payer) -> TopUp:
    return start_top_up(organization=payer.organization, amount_minor=20_00, attempt_key="x")


def pay_and_book(stripe: StripeDouble, payer: Payer, top_up: TopUp) -> None:
    """What the customer does next; there is one page, and one payment on it."""
    assert payment_page(fresh(top_up))
    [session] = stripe.state()["checkout.session"]
    assert session["id"] == fresh(top_up).session_id
    stripe.pay(session["id"])
    reconcile_top_up(top_up.pk)
    assert_paid_once(stripe, payer, top_up)


def assert_paid_once(stripe: StripeDouble, payer: Payer, top_up: TopUp) -> None:
    assert (fresh(top_up).state, payer.wallet.posted) == ("paid", 2000 * CENT)
    assert [one["amount"] for one in stripe.state()["charge"]] == [2000]


def test_before_the_customer_is_kept(stripe: StripeDouble, payer: Payer, started: TopUp) -> None:
    die_at(stripe, "billing.stripe.customers._keep", started, "payment_page(top_up())")
    assert not StripeCustomer.objects.exists()
    pay_and_book(stripe, payer, started)
    [customer] = stripe.state()["customer"]
    assert StripeCustomer.objects.get().customer_id == customer["id"]


def test_before_the_page_is_kept(stripe: StripeDouble, payer: Payer, started: TopUp) -> None:
    die_at(stripe, "billing.top_ups._note_session", started, "payment_page(top_up())")
    assert (fresh(started).session_id, len(stripe.state()["checkout.session"])) == (None, 1)
    pay_and_book(stripe, payer, started)


def test_before_the_page_is_kept_and_nobody_comes_back(
    stripe: StripeDouble, payer: Payer, started: TopUp
) -> None:
    """Somebody has the address all the same, and pays."""
    die_at(stripe, "billing.top_ups._note_session", started, "payment_page(top_up())")
    [session] = stripe.state()["checkout.session"]
    stripe.pay(session["id"])
    with time_machine.travel(timezone.now() + timedelta(seconds=30)):
        assert reconcile_top_ups_under_way() == 1
    assert_paid_once(stripe, payer, started)


def test_before_the_page_is_kept_and_the_reader_changed_the_language(
    stripe: StripeDouble, payer: Payer, started: TopUp
) -> None:
    die_at(stripe, "billing.top_ups._note_session", started, "payment_page(top_up())")
    with override("zh-hans"):
        pay_and_book(stripe, payer, started)


def test_before_the_tax_rate_is_kept(stripe: StripeDouble, payer: Payer) -> None:
    reseller = payer.organization.reseller
    PaymentTerms.objects.create(reseller=reseller, tax_mode=TaxMode.OWN)
    TaxRate.objects.create(reseller=reseller, country="DE", name="VAT", parts_per_million=190_000)
    BillingDetails.across_all_organizations.create(organization=payer.organization, country="DE")
    top_up = start_top_up(organization=payer.organization, amount_minor=20_00, attempt_key="x")
    die_at(stripe, "billing.top_ups.open_session", top_up, "payment_page(top_up())")
    TaxRate.objects.update(stripe_id="")
    assert payment_page(fresh(top_up))
    assert len(stripe.state()["tax_rate"]) == 1


def test_in_the_midst_of_booking(stripe: StripeDouble, payer: Payer) -> None:
    top_up = open_page(payer)
    stripe.pay(session_of(top_up))
    die_at(stripe, "billing.booking._complete", top_up, "reconcile_top_up(top_up().pk)")
    assert (fresh(top_up).state, payer.wallet.posted) == ("open", 0)
    reconcile_top_up(top_up.pk)
    assert_paid_once(stripe, payer, top_up)


def test_after_booking_and_before_the_event_is_done(stripe: StripeDouble, payer: Payer, post: Post) -> None:
    top_up = open_page(payer)
    stripe.pay(session_of(top_up))
    for event in post.waiting():
        post.send(event)
    row = StripeEvent.objects.get(type="payment_intent.succeeded")
    die_at(stripe, "billing.stripe.inbox._write_down", top_up, f"process_event({row.pk})")
    row.refresh_from_db()
    assert (row.state, row.tries, fresh(top_up).state) == ("waiting", 1, "paid")
    with time_machine.travel(timezone.now() + timedelta(minutes=1)):
        sweep_inbox()
    row.refresh_from_db()
    assert row.state == "done"
    assert_paid_once(stripe, payer, top_up)


def test_after_an_event_is_stored_and_before_anybody_looks(
    stripe: StripeDouble, payer: Payer, post: Post
) -> None:
    top_up = open_page(payer)
    stripe.pay(session_of(top_up))
    for event in post.waiting():
        post.send(event)
    with time_machine.travel(timezone.now() + timedelta(minutes=1)):
        assert sweep_inbox() > 0
    assert_paid_once(stripe, payer, top_up)


def test_after_a_page_was_closed_at_stripe(stripe: StripeDouble, payer: Payer) -> None:
    top_up = open_page(payer)
    die_at(stripe, "billing.top_ups.reconcile_top_up", top_up, "close_payment_page(top_up())")
    assert fresh(top_up).state == "open"
    with time_machine.travel(timezone.now() + timedelta(seconds=30)):
        reconcile_top_ups_under_way()
    assert fresh(top_up).state == "expired"


def test_two_processes_that_book_at_once_credit_once(stripe: StripeDouble, payer: Payer) -> None:
    top_up = open_page(payer)
    stripe.pay(session_of(top_up))
    code = TOGETHER.format(key=stripe.api_key, base=stripe.url, top_up=str(top_up.pk))
    processes = [start_python(code) for _ in range(2)]
    try:
        for process in processes:
            assert lines(process).readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in processes:
            assert process.communicate(timeout=60)[0] == "done\n"
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert_paid_once(stripe, payer, top_up)


def lines(process: "subprocess.Popen[str]") -> Any:
    assert process.stdout is not None
    return process.stdout


@pytest.mark.parametrize("trouble", ["cut_after", "error_after", "cut_before"])
def test_when_stripe_does_its_work_and_does_not_say_so(
    stripe: StripeDouble, payer: Payer, started: TopUp, trouble: str
) -> None:
    """However the answers are lost, there is one page in the end."""
    stripe.trouble(**{trouble: 0.4})
    for _ in range(12):
        try:
            payment_page(fresh(started))
        except StripeUnknown:
            continue
        break
    stripe.trouble(**{trouble: 0.0})
    pay_and_book(stripe, payer, started)
