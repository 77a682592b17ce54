"""Whatever payers, banks, operators and Stripe do with paid money, whenever we hear of it: the books balance.

After each step they are proved; once everything is heard, our account at Stripe is what Stripe says it holds.
`REFUNDS_MACHINE_EXAMPLES` and `REFUNDS_WALKS` set how many walks.
"""

import os
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction
from django.test import override_settings
from django.utils import timezone
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from billing.card_refunds import request_card_refund
from billing.debts import collect_debts
from billing.ledger import Account
from billing.models import StripeEvent, TopUp
from billing.refunds import RefundRefused, RefundTooLarge
from billing.stripe.disputes import hold_disputed_credit
from billing.stripe.inbox import HANDLERS, process_event, store_event
from billing.stripe.refunds import send_refunds
from billing.unlocking import UnlockRefused, unlock_top_up
from tests.doubles.stripe.double import ControlRefused, StripeDouble
from tests.factories.at_stripe import charged, clearing_differs
from tests.factories.credit import assert_money_adds_up, balance, spend
from tests.factories.money import Payer, end_lease, lease, make_payer
from tests.factories.payments import CENT

EXAMPLES = int(os.environ.get("REFUNDS_MACHINE_EXAMPLES", "2"))
STEPS = 30
CENTS = st.integers(1, 120_00)
PICK = st.integers(0, 10**6)


class RefundsMachine(RuleBasedStateMachine):
    """Each walk in a transaction of its own, taken back at its end, with a Stripe of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.transaction = transaction.atomic()
        self.transaction.__enter__()
        self.stripe = StripeDouble()
        self.stripe.start()
        self.settings = override_settings(STRIPE_API_KEY=self.stripe.api_key, STRIPE_API_BASE=self.stripe.url)
        self.settings.enable()
        self.payer: Payer = make_payer()
        self.payments: list[str] = []
        self.heard = 0
        self.leases: list[Any] = []

    def teardown(self) -> None:
        try:
            self.hear_everything()
        finally:
            self.settings.disable()
            self.stripe.stop()
            transaction.set_rollback(True)
            self.transaction.__exit__(None, None, None)

    @initialize(large=st.booleans())
    def begin(self, large: bool) -> None:
        """Something is there to be refunded and disputed; a large first one is held."""
        for cents in (300_00 if large else 100_00, 33_33):
            self.pay(cents, 19_00)
        self.hear_everything()

    @rule(cents=st.sampled_from([5_00, 33_33, 100_00, 300_00]), tax=st.sampled_from([0, 7, 19_00]))
    def pay(self, cents: int, tax: int) -> None:
        self.payments.append(charged(self.stripe, self.payer, cents, tax=tax).payment_intent_id or "")

    @rule(nano=st.integers(1, 60_00 * CENT), aggregated=st.booleans())
    def use(self, nano: int, aggregated: bool) -> None:
        spend(self.payer, nano, aggregated=aggregated)

    @rule(nano=st.integers(1, 50_00 * CENT))
    def hold_for_requests(self, nano: int) -> None:
        holder = uuid4()
        granted, _free = lease(self.payer, holder, nano)
        if granted:
            self.leases.append(holder)

    @precondition(lambda self: self.leases)
    @rule()
    def give_leases_back(self) -> None:
        while self.leases:
            end_lease(self.payer, self.leases.pop())

    @precondition(lambda self: self.payments)
    @rule(pick=PICK, cents=CENTS)
    def ask(self, pick: int, cents: int) -> None:
        top_up = self._top_up(pick)
        with suppress(RefundRefused, RefundTooLarge):
            for key in (uuid4().hex,) * 2:  # the form is sent twice
                request_card_refund(top_up=top_up, amount_nano=cents * CENT, reason="r", fact_key=key)

    @rule(trouble=st.sampled_from([0.0, 0.0, 0.5]), waits=st.booleans())
    def send(self, trouble: float, waits: bool) -> None:
        self.stripe.trouble(error_after=trouble)
        self.stripe.control("settings", refunds_wait=waits)
        send_refunds()
        self.stripe.trouble(error_after=0.0)

    @precondition(lambda self: self.payments)
    @rule(pick=PICK, cents=CENTS)
    def refund_in_dashboard(self, pick: int, cents: int) -> None:
        with suppress(ControlRefused):
            self.stripe.control("refund", payment_intent=self._payment(pick), amount=cents)

    @rule(pick=PICK, succeeds=st.booleans())
    def end_a_refund(self, pick: int, succeeds: bool) -> None:
        alive = [one for one in self._at_stripe("refund") if one["status"] != "failed"]
        if alive:
            self.stripe.control("end_refund", refund=alive[pick % len(alive)]["id"], ok=succeeds)

    @precondition(lambda self: self.payments)
    @rule(pick=PICK, inquiry=st.booleans(), reason=st.sampled_from(["fraudulent", "general"]))
    def dispute(self, pick: int, inquiry: bool, reason: str) -> None:
        payment = self._payment(pick)
        [charge] = [one for one in self._at_stripe("charge") if one["payment_intent"] == payment]
        if not charge["disputed"] and charge["amount"] > charge["amount_refunded"]:
            self.stripe.control("dispute", payment_intent=payment, inquiry=inquiry, reason=reason)

    @rule(pick=PICK, how=st.sampled_from(["withdraw", "win", "lose"]))
    def decide(self, pick: int, how: str) -> None:
        closed = ("won", "lost", "warning_closed")
        open_ones = [one for one in self._at_stripe("dispute") if one["status"] not in closed]
        if not open_ones:
            return
        dispute = open_ones[pick % len(open_ones)]["id"]
        if how == "withdraw":
            self.stripe.control("withdraw", dispute=dispute)
        else:
            self.stripe.control("close_dispute", dispute=dispute, won=how == "win")

    @precondition(lambda self: self.payments)
    @rule(pick=PICK)
    def unlock(self, pick: int) -> None:
        with suppress(UnlockRefused):
            unlock_top_up(self._top_up(pick))

    @rule(cents=CENTS)
    def pay_out(self, cents: int) -> None:
        self.stripe.control("pay_out", amount=cents)

    @rule()
    def sweep(self) -> None:
        hold_disputed_credit()
        collect_debts()

    @rule(seed=PICK)
    def hear_some(self, seed: int) -> None:
        dice = random.Random(seed)
        events = self._events()[self.heard :]
        self.heard += len(events)
        told = [event for event in events if dice.random() < 0.7] * 2
        dice.shuffle(told)
        self._tell(told)

    @rule()
    def hear_everything(self) -> None:
        """What was lost comes by the list of events, from the newest back; what waited is tried again."""
        self.heard = len(self._events())
        self._tell(self._events()[::-1])
        waiting = StripeEvent.objects.exclude(state__in=["done", "ignored"])
        again = set(waiting.values_list("event_id", flat=True))
        self._tell([event for event in self._events() if event["id"] in again])
        assert not StripeEvent.objects.exclude(state__in=["done", "ignored"]).exists()
        assert clearing_differs(self.stripe) == 0
        assert balance(Account.SUSPENSE) == 0

    @invariant()
    def the_books_balance(self) -> None:
        assert_money_adds_up()

    def _tell(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            store_event(event, came_by="test")
            row = StripeEvent.objects.get(event_id=event["id"])
            again = StripeEvent.objects.filter(pk=row.pk)
            again.update(state="waiting", next_try_at=timezone.now(), ended_at=None)
            process_event(row.pk)

    def _at_stripe(self, kind: str) -> list[dict[str, Any]]:
        return list(self.stripe.state().get(kind, []))

    def _events(self) -> list[dict[str, Any]]:
        return [event for event in self._at_stripe("event") if event["type"] in HANDLERS]

    def _payment(self, pick: int) -> str:
        return self.payments[pick % len(self.payments)]

    def _top_up(self, pick: int) -> TopUp:
        found: TopUp = TopUp.across_all_organizations.get(payment_intent_id=self._payment(pick))
        return found


@pytest.mark.django_db
@pytest.mark.timeout(900)
def test_whatever_happens_to_paid_money_the_books_balance() -> None:
    walks = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    run_state_machine_as_test(RefundsMachine, settings=walks)
    assert not TopUp.across_all_organizations.exists()


@pytest.mark.django_db
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(int(os.environ.get("REFUNDS_WALKS", "1"))))
def test_everything_mixed_evenly_balances_too(seed: int) -> None:
    """The machine above leaves kinds of steps out of each walk; here all of them meet."""
    dice, machine = random.Random(seed), RefundsMachine()
    try:
        machine.begin(large=seed % 2 == 0)
        for _ in range(STEPS * 2):
            one_step(machine, dice)
            machine.the_books_balance()
    finally:
        machine.teardown()


def one_step(machine: RefundsMachine, dice: random.Random) -> None:
    pick, cents = dice.randrange(10**6), dice.randint(1, 60_00)
    steps: list[Callable[[], object]] = [
        lambda: machine.pay(dice.choice([5_00, 33_33, 100_00]), dice.choice([0, 7, 19_00])),
        lambda: machine.use(dice.randint(1, 40_00 * CENT), aggregated=dice.random() < 0.5),
        lambda: machine.hold_for_requests(dice.randint(1, 20_00 * CENT)),
        machine.give_leases_back,
        lambda: machine.ask(pick, cents),
        lambda: machine.send(dice.choice([0.0, 0.0, 0.5]), waits=dice.random() < 0.5),
        lambda: machine.refund_in_dashboard(pick, cents),
        lambda: machine.end_a_refund(pick, succeeds=dice.random() < 0.5),
        lambda: machine.dispute(pick, dice.random() < 0.3, dice.choice(["fraudulent", "general"])),
        lambda: machine.decide(pick, dice.choice(["withdraw", "win", "lose"])),
        lambda: machine.unlock(pick),
        lambda: machine.pay_out(cents),
        machine.sweep,
        lambda: machine.hear_some(pick),
        machine.hear_everything,
    ]
    dice.choice(steps)()
