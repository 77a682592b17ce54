"""Many at once, with an unreliable Stripe between them: credited exactly once each.

`PAYMENT_CHAOS_TOP_UPS` sets how many; `make chaos` pays a thousand.
"""

import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from billing.ledger import Account
from billing.models import (
    OrganizationTerms,
    PaymentTerms,
    StripeCustomer,
    StripeEvent,
    TopUp,
    UnmatchedPayment,
)
from billing.stripe.catch_up import LONG_OVERLAP, catch_up
from billing.stripe.client import StripeUnknown
from billing.stripe.disputes import hold_disputed_credit
from billing.stripe.inbox import process_event
from billing.stripe.mirror import reconcile_with_stripe
from billing.top_ups import payment_page, reconcile_top_up, start_top_up
from common.locking import RowsBusy
from tests.doubles.stripe.double import StripeDouble
from tests.factories.credit import assert_money_adds_up, balance
from tests.factories.money import Payer, make_payer
from tests.factories.stripe import fresh, session_of

pytestmark = pytest.mark.django_db(transaction=True)

CENT = 10**7
TOP_UPS = int(os.environ.get("PAYMENT_CHAOS_TOP_UPS", "30"))
PART = 5_00
FATES = ("pay", "pay", "decline", "leave", "later", "part_back", "all_back", "won", "lost")
AWAY = (StripeUnknown, RowsBusy)


def hang_up(work: Callable[..., Any]) -> Callable[..., Any]:
    """Each thread has a connection of its own."""

    def run(*args: Any) -> Any:
        try:
            return work(*args)
        finally:
            connection.close()

    return run


def at_once(work: Callable[..., Any], times: int) -> list[Any]:
    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(hang_up(lambda _number: work()), range(times)))


def test_a_form_that_is_sent_many_times_at_once_is_one_payment(stripe: StripeDouble, payer: Payer) -> None:
    key = uuid4().hex

    def click() -> str:
        top_up = start_top_up(organization=payer.organization, amount_minor=20_00, attempt_key=key)
        return payment_page(top_up)

    assert len(set(at_once(click, 6))) == 1
    assert TopUp.across_all_organizations.count() == 1
    assert [len(stripe.state()[kind]) for kind in ("customer", "checkout.session")] == [1, 1]
    assert StripeCustomer.objects.count() == 1


def test_many_who_learn_of_a_payment_at_once_book_it_once(stripe: StripeDouble, payer: Payer) -> None:
    top_up = start_top_up(organization=payer.organization, amount_minor=20_00, attempt_key="x")
    payment_page(top_up)
    stripe.pay(session_of(fresh(top_up)))
    states = at_once(lambda: reconcile_top_up(top_up.pk).state, 8)
    assert set(states) == {"paid"}
    assert payer.wallet.posted == 2000 * CENT
    assert balance(Account.STRIPE_CLEARING) == stripe.state()["balance"] * CENT
    assert_money_adds_up()


@contextmanager
def a_worker() -> Iterator[None]:
    """Looks at events as they come, as the worker and its sweeps do."""
    stop = Event()

    def work() -> None:
        while not stop.is_set():
            for pk in StripeEvent.objects.filter(state="waiting").values_list("pk", flat=True):
                process_event(pk)
            stop.wait(0.05)

    threads = [Thread(target=hang_up(work)) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [1])
def test_unruly_webhooks_and_lost_answers_lose_nothing(
    stripe: StripeDouble, live_server: Any, seed: int
) -> None:
    dice = random.Random(seed)
    payers = [make_payer() for _ in range(3)]
    PaymentTerms.objects.create(reseller=payers[0].organization.reseller, most_attempts_per_hour=1000)
    for payer in payers:
        OrganizationTerms.across_all_organizations.create(organization=payer.organization, is_trusted=True)
    stripe.webhooks(
        endpoints=[[f"{live_server.url}/stripe/webhook", stripe.secret]],
        dropped=0.2,
        duplicated=0.3,
        reordered=0.5,
        before_answer=0.2,
    )
    stripe.trouble(error_after=0.05, cut_after=0.05, cut_before=0.05)
    plans = [(dice.choice(payers), dice.choice(FATES)) for _ in range(TOP_UPS)]
    with a_worker(), ThreadPoolExecutor(4) as pool:
        top_ups = list(pool.map(hang_up(lambda plan: top_up_by_plan(stripe, *plan)), plans))
    stripe.trouble(error_after=0.0, cut_after=0.0, cut_before=0.0)
    stripe.wait_for_webhooks(3)
    stripe.webhooks(endpoints=[])
    settle_everything(top_ups)
    assert_all_right(stripe, payers)


def top_up_by_plan(stripe: StripeDouble, payer: Payer, how: str) -> TopUp:
    top_up = start_top_up(organization=payer.organization, amount_minor=20_00, attempt_key=uuid4().hex)
    for _try in range(20):
        try:
            payment_page(top_up)
        except AWAY:
            continue
        break
    session = session_of(fresh(top_up))
    if how == "later":
        stripe.control("pay_delayed", session=session)
        stripe.control("settle_delayed", session=session, ok=True)
    elif how != "leave" and stripe.pay(session, "chargeDeclined" if how == "decline" else "visa"):
        go_on(stripe, session, how)
    return top_up


def go_on(stripe: StripeDouble, session: str, how: str) -> None:
    """What people do at Stripe with money that is paid."""
    if how in ("part_back", "all_back"):
        stripe.control("refund", session=session, **({"amount": PART} if how == "part_back" else {}))
    elif how in ("won", "lost"):
        dispute = stripe.control("dispute", session=session, reason="product_not_received")
        stripe.control("close_dispute", dispute=dispute["id"], won=how == "won")


def settle_everything(top_ups: list[TopUp]) -> None:
    catch_up(overlap=LONG_OVERLAP)
    waiting = StripeEvent.objects.filter(state="waiting")
    for _round in range(50):  # a delivery may still be on its way
        if not waiting.exists():
            break
        for pk in StripeEvent.objects.filter(state="waiting").values_list("pk", flat=True):
            process_event(pk)
    for top_up in top_ups:
        reconcile_top_up(top_up.pk)
    hold_disputed_credit()


def assert_all_right(stripe: StripeDouble, payers: list[Payer]) -> None:
    agreed = reconcile_with_stripe()
    assert agreed is not None
    assert agreed.agrees, agreed
    state = stripe.state()
    gone = sum(refund["amount"] for refund in state.get("refund", []))
    gone += sum(one["amount"] for one in state.get("dispute", []) if one["status"] == "lost")
    paid = [one for one in stripe.state()["checkout.session"] if one["payment_status"] == "paid"]
    assert paid
    assert {one["metadata"]["topup_id"] for one in paid} == {
        str(pk) for pk in TopUp.across_all_organizations.filter(state="paid").values_list("pk", flat=True)
    }
    assert sum(payer.wallet.posted for payer in payers) == (len(paid) * 20_00 - gone) * CENT
    assert not UnmatchedPayment.objects.exists()
    assert not StripeEvent.objects.filter(state__in=["waiting", "refused"]).exists()
    assert balance(Account.STRIPE_CLEARING) == stripe.state()["balance"] * CENT
    assert_money_adds_up()
    print(
        f"\n{TOP_UPS} top-ups begun, {len(paid)} paid and credited once each; {gone / 100:,.2f} went back;"
        f" 1010 and Stripe's balance {state['balance'] / 100:,.2f}; suspense empty; the books balance"
    )
