"""A state machine over all that moves money: after every step the books balance, nothing is paid twice."""

from uuid import UUID, uuid4

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from billing import aggregation, services
from billing.books import verify_books
from billing.models import UsageRecord, Wallet
from common.ids import uuid7
from tests.factories.money import end_lease, lease, make_payer, make_record, settle

AMOUNTS = st.integers(0, 2_000)
WALLETS = st.integers(0, 1)
HOLDERS = st.integers(0, 2)


class MoneyMachine(RuleBasedStateMachine):
    """Two wallets, three relay processes. `charged` is what the model says the wallets have paid."""

    def __init__(self) -> None:
        super().__init__()
        self.payers = [make_payer(1_000), make_payer(5)]
        self.holders = [uuid4(), uuid4(), uuid4()]
        self.granted = [1_000, 5]
        self.batches: list[tuple[UUID, UUID, list[dict[str, object]]]] = []
        self.prices: dict[UUID, int] = {}

    @rule(wallet=WALLETS, amount=st.integers(1, 3_000))
    def grant(self, wallet: int, amount: int) -> None:
        organization = self.payers[wallet].organization
        services.grant_credit(organization=organization, amount_nano=amount, reason="r", fact_key=uuid4().hex)
        self.granted[wallet] += amount

    @rule(wallet=WALLETS, holder=HOLDERS, need=AMOUNTS, want=AMOUNTS, alive=st.booleans())
    def lease_credit(self, *, wallet: int, holder: int, need: int, want: int, alive: bool) -> None:
        free = self.wallet(wallet).available
        granted, left = lease(
            self.payers[wallet], self.holders[holder], need, want=want, seconds=60 if alive else -60
        )
        assert granted == 0 or need <= granted <= free
        assert left == free - granted

    @rule(wallets=st.lists(st.tuples(WALLETS, AMOUNTS), min_size=1, max_size=4), holder=HOLDERS)
    def settle_batch(self, wallets: list[tuple[int, int]], holder: int) -> None:
        records = [make_record(self.payers[wallet], price) for wallet, price in wallets]
        batch = (uuid7(), self.holders[holder], records)
        settle(batch[1], *records, batch=batch[0])
        self.batches.append(batch)
        self.prices |= {record["request_id"]: record["price_nano"] for record in records}

    @rule(data=st.data(), anew=st.booleans())
    def resend(self, data: st.DataObject, anew: bool) -> None:
        """The answer to a commit was lost: the same batch again, or its records under a new id."""
        if self.batches:
            batch, holder, records = data.draw(st.sampled_from(self.batches))
            settle(holder, *records, batch=uuid7() if anew else batch)

    @rule(wallet=WALLETS, holder=HOLDERS)
    def return_lease(self, wallet: int, holder: int) -> None:
        before = self.wallet(wallet)
        returned = end_lease(self.payers[wallet], self.holders[holder])
        assert self.wallet(wallet).pending == before.pending - returned

    @rule()
    def reap(self) -> None:
        services.reap_expired_leases()

    @rule()
    def aggregate(self) -> None:
        aggregation.aggregate_batches(at_once=2)

    def wallet(self, number: int) -> Wallet:
        return self.payers[number].wallet

    @invariant()
    def books_balance(self) -> None:
        report = verify_books()
        assert report["ok"], report

    @invariant()
    def every_request_is_accounted_for_once(self) -> None:
        rows = UsageRecord.across_all_organizations.values_list(
            "request_id", "charge_nano", "uncollected_nano"
        )
        assert {request: charge + rest for request, charge, rest in rows} == self.prices

    @invariant()
    def nobody_paid_more_than_was_granted(self) -> None:
        for number, granted in enumerate(self.granted):
            wallet = self.wallet(number)
            assert 0 <= wallet.pending <= wallet.posted <= granted


class Isolated(MoneyMachine):
    """Each example in a transaction of its own, taken back at its end."""

    def __init__(self) -> None:
        self.transaction = transaction.atomic()
        self.transaction.__enter__()
        super().__init__()

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.transaction.__exit__(None, None, None)


@pytest.mark.django_db
def test_any_order_of_events_balances() -> None:
    examples = settings(
        max_examples=25,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    run_state_machine_as_test(Isolated, settings=examples)
