"""A dispute holds what is left, a won one gives it back, a lost one takes it; in any order, any times."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from uuid import uuid4

import pytest

from accounts.models import OperatorAlert, Reseller
from billing.card_refunds import book_refund, most_refundable, request_card_refund
from billing.clearing import book_payout
from billing.disputes import DisputeContradicts, book_dispute, hold_what_came_back
from billing.facts import PayoutFacts
from billing.ledger import Account
from billing.models import (
    Dispute,
    LedgerTransaction,
    PaymentTerms,
    RechargeRule,
)
from billing.refunds import RefundRefused
from billing.unlocking import UnlockRefused, unlock_top_up
from tests.factories.credit import assert_money_adds_up, balance, remaining, spend
from tests.factories.money import Payer, end_lease, flat_price, lease, make_payer
from tests.factories.payments import (
    CENT,
    NOW,
    dispute_facts,
    line,
    lost,
    open_dispute,
    recharges,
    refund_facts,
    top_up_paid,
    won,
)


def the_dispute() -> Dispute:
    found: Dispute = Dispute.across_all_organizations.get()
    return found


@pytest.mark.django_db
class TestOpened:
    def test_money_and_what_is_left_of_the_credit_wait(self) -> None:
        payer = make_payer()
        top_up = top_up_paid(payer, 100_00, tax=20_00)
        spend(payer, 30_00 * CENT)
        facts = dispute_facts(top_up, 120_00)
        for _ in range(3):
            book_dispute(facts)
        dispute = the_dispute()
        assert (payer.wallet.posted, dispute.held_nano) == (0, 70_00 * CENT)
        assert balance(Account.DISPUTE_RECEIVABLE) == 120_00 * CENT
        assert balance(Account.DISPUTE_FEES) == 15_00 * CENT
        assert balance(Account.STRIPE_CLEARING) == -15_00 * CENT
        assert balance(Account.HELD_CREDIT) == -70_00 * CENT
        assert payer.wallet.status == "active", "other credit may still be spent"
        assert OperatorAlert.objects.get(kind="dispute").severity == "critical"
        assert_money_adds_up()

    def test_other_credit_is_not_touched(self) -> None:
        payer = make_payer()
        other = top_up_paid(payer, 50_00)
        open_dispute(payer)
        assert payer.wallet.posted == 50_00 * CENT
        assert other.lot is not None
        assert remaining(other.lot) == [50_00 * CENT]

    def test_a_question_withdraws_nothing(self) -> None:
        payer = make_payer()
        _top_up, facts = open_dispute(payer, status="warning_needs_response", moves=())
        assert payer.wallet.posted == 100_00 * CENT
        assert OperatorAlert.objects.get(kind="dispute").severity == "warning"
        assert not LedgerTransaction.objects.filter(kind="dispute").exists()
        book_dispute(replace(facts, status="warning_closed"))
        assert OperatorAlert.objects.get(kind="dispute").resolved_at is not None
        assert_money_adds_up()

    def test_a_question_may_become_a_dispute(self) -> None:
        payer = make_payer()
        top_up, facts = open_dispute(payer, status="warning_needs_response", moves=())
        book_dispute(replace(facts, status="needs_response", moves=[line(-100_00, fee=15_00)]))
        assert (payer.wallet.posted, most_refundable(top_up)) == (0, 0)

    def test_credit_that_leases_held_is_held_once_it_comes_back(self) -> None:
        payer = make_payer()
        top_up = top_up_paid(payer, 100_00)
        holder = uuid4()
        lease(payer, holder, 60_00 * CENT)
        book_dispute(dispute_facts(top_up, 100_00))
        assert the_dispute().held_nano == 40_00 * CENT
        end_lease(payer, holder)
        assert hold_what_came_back(the_dispute()) == 60_00 * CENT
        assert hold_what_came_back(the_dispute()) == 0
        assert_money_adds_up()

    def test_fraud_freezes_the_wallet_where_the_terms_say_so(self) -> None:
        careful, calm = make_payer(), make_payer()
        open_dispute(careful, reason="fraudulent")
        assert careful.wallet.status == "frozen"
        PaymentTerms.objects.create(reseller=calm.organization.reseller, freezes_on_fraud_warning=False)
        open_dispute(calm, reason="fraudulent")
        assert calm.wallet.status == "active"

    def test_no_card_is_charged_by_itself_any_more(self) -> None:
        payer = make_payer()
        recharges(payer)
        open_dispute(payer)
        rule = RechargeRule.across_all_organizations.get()
        assert (rule.is_on, rule.turned_off_because) == (False, "disputed")

    def test_while_it_is_open_nothing_is_refunded(self) -> None:
        top_up, _facts = open_dispute(make_payer())
        with pytest.raises(RefundRefused):
            request_card_refund(top_up=top_up, amount_nano=CENT, reason="r", fact_key="f")

    def test_other_money_is_refused(self) -> None:
        top_up = top_up_paid(make_payer())
        with pytest.raises(DisputeContradicts):
            book_dispute(dispute_facts(top_up, 100_00, currency="EUR"))
        with pytest.raises(DisputeContradicts):
            book_dispute(dispute_facts(top_up, 100_00, moves=[replace(line(-92_00), currency="EUR")]))
        facts = dispute_facts(top_up, 100_00)
        book_dispute(facts)
        other = top_up_paid(make_payer())
        with pytest.raises(DisputeContradicts):
            book_dispute(replace(facts, payment_intent_id=other.payment_intent_id or ""))
        assert book_dispute(replace(facts, payment_intent_id="pi_other")) is None


@pytest.mark.django_db
class TestDecided:
    def test_won_money_and_credit_come_back(self) -> None:
        payer = make_payer()
        top_up, facts = open_dispute(payer)
        ended = won(facts)
        for _ in range(2):
            book_dispute(ended)
        assert payer.wallet.posted == 100_00 * CENT
        assert balance(Account.DISPUTE_RECEIVABLE) == 0
        assert balance(Account.STRIPE_CLEARING) == 85_00 * CENT
        assert most_refundable(top_up) == 100_00
        assert the_dispute().closed_at is not None
        assert_money_adds_up()

    def test_lost_the_held_part_pays_and_the_rest_is_owed(self) -> None:
        payer = make_payer()
        top_up = top_up_paid(payer, 100_00, tax=20_00)
        spend(payer, 30_00 * CENT)
        facts = dispute_facts(top_up, 120_00)
        book_dispute(facts)
        for _ in range(2):
            book_dispute(lost(facts))
        dispute, wallet = the_dispute(), payer.wallet
        assert (dispute.taken_nano, dispute.owed_nano, dispute.tax_nano) == (
            70_00 * CENT,
            30_00 * CENT,
            20_00 * CENT,
        )
        assert (wallet.posted, wallet.receivable, wallet.status) == (0, 30_00 * CENT, "blocked")
        assert OperatorAlert.objects.filter(kind="dispute_lost").exists()
        assert (balance(Account.DISPUTE_RECEIVABLE), balance(Account.TAX_PAYABLE)) == (0, 0)
        assert (balance(Account.HELD_CREDIT), balance(Account.STRIPE_CLEARING)) == (0, -15_00 * CENT)
        assert_money_adds_up()

    def test_lost_when_all_of_it_is_there_nobody_owes(self) -> None:
        payer = make_payer()
        _top_up, facts = open_dispute(payer)
        book_dispute(lost(facts))
        assert (payer.wallet.receivable, payer.wallet.status) == (0, "active")

    def test_first_heard_of_when_it_was_lost(self) -> None:
        payer = make_payer()
        spent = top_up_paid(payer, 100_00)
        spend(payer, 30_00 * CENT)
        book_dispute(lost(dispute_facts(spent, 100_00)))
        assert payer.wallet.receivable == 30_00 * CENT
        assert_money_adds_up()

    def test_what_comes_back_pays_debts_first(self) -> None:
        payer = make_payer()
        _top_up, facts = open_dispute(payer)
        spend(payer, 40_00 * CENT)
        assert payer.wallet.receivable == 40_00 * CENT
        book_dispute(won(facts))
        assert (payer.wallet.posted, payer.wallet.receivable) == (60_00 * CENT, 0)
        assert_money_adds_up()

    def test_lost_and_won_on_appeal_and_lost_again(self) -> None:
        payer = make_payer()
        top_up = top_up_paid(payer, 100_00, tax=10_00)
        spend(payer, 30_00 * CENT)
        facts = dispute_facts(top_up, 110_00)
        book_dispute(lost(facts))
        assert_money_adds_up()
        appealed = won(facts, 110_00)
        book_dispute(appealed)
        assert (payer.wallet.posted, payer.wallet.receivable) == (70_00 * CENT, 0)
        assert_money_adds_up()
        again = line(-110_00, fee=0, at=NOW + timedelta(days=60))
        book_dispute(replace(appealed, status="under_review", moves=[*appealed.moves, again]))
        assert payer.wallet.posted == 0
        assert_money_adds_up()
        book_dispute(replace(appealed, status="lost", moves=[*appealed.moves, again]))
        assert payer.wallet.receivable == 30_00 * CENT
        assert balance(Account.STRIPE_CLEARING) == -15_00 * CENT
        assert_money_adds_up()

    def test_prevented_with_money_gone_is_a_loss_and_without_it_is_nothing(self) -> None:
        payer = make_payer()
        open_dispute(payer, status="prevented")
        assert the_dispute().outcome == "lost"
        book_dispute(dispute_facts(top_up_paid(payer, 100_00), 100_00, status="prevented", moves=()))
        assert payer.wallet.posted == 100_00 * CENT
        assert_money_adds_up()

    def test_a_fee_for_answering_is_a_fee(self) -> None:
        _top_up, facts = open_dispute(make_payer())
        book_dispute(replace(facts, moves=[*facts.moves, line(0, fee=15_00)]))
        assert balance(Account.DISPUTE_FEES) == 30_00 * CENT
        assert_money_adds_up()

    @pytest.mark.parametrize("order", list(permutations(range(3))))
    def test_told_in_any_order_and_twice_it_ends_where_stripe_is(self, order: tuple[int, ...]) -> None:
        """Handlers read the dispute again: an old event tells the newest state, from some point on."""
        payer = make_payer()
        top_up = top_up_paid(payer, 100_00)
        facts = dispute_facts(top_up, 100_00)
        refunded = refund_facts(top_up, 10_00)
        ending = lost(facts)
        tell: list[Callable[[], object]] = [
            lambda: book_dispute(ending),
            lambda: book_refund(refunded),
            lambda: spend(payer, 5_00 * CENT),
        ]
        for number in order:
            tell[number]()
            if number < 2:
                tell[number]()
        assert balance(Account.STRIPE_CLEARING) == -25_00 * CENT
        assert payer.wallet.receivable == 15_00 * CENT
        assert_money_adds_up()


@pytest.mark.django_db
class TestHeldTopUp:
    def test_it_stays_where_it_waits(self) -> None:
        payer = make_payer()
        top_up = top_up_paid(payer, 300_00, held=True)
        facts = dispute_facts(top_up, 300_00)
        book_dispute(facts)
        assert (the_dispute().from_held, the_dispute().held_nano) == (True, 300_00 * CENT)
        assert_money_adds_up()
        with pytest.raises(UnlockRefused):
            unlock_top_up(top_up)
        book_dispute(won(facts, 300_00))
        assert balance(Account.HELD_CREDIT) == -300_00 * CENT
        unlock_top_up(top_up)
        assert payer.wallet.posted == 300_00 * CENT
        assert_money_adds_up()

    def test_lost_there_is_nothing_to_unlock_and_won_after_all_there_is(self) -> None:
        payer = make_payer()
        top_up = top_up_paid(payer, 300_00, held=True)
        facts = dispute_facts(top_up, 300_00)
        book_dispute(lost(facts))
        assert balance(Account.HELD_CREDIT) == 0
        assert_money_adds_up()
        book_dispute(won(facts, 300_00))
        assert balance(Account.HELD_CREDIT) == -300_00 * CENT
        assert_money_adds_up()
        assert unlock_top_up(top_up).lot is not None
        assert_money_adds_up()


@pytest.mark.django_db
class TestResellersEarnings:
    def test_a_loss_takes_back_what_was_earned_on_what_was_spent(self) -> None:
        payer = make_payer_of_reseller()
        top_up = top_up_paid(payer, 100_00)
        sell(payer, 40_00, wholesale=30_00)
        assert balance(Account.RESELLER_PAYABLE) == -10_00 * CENT
        facts = dispute_facts(top_up, 100_00)
        book_dispute(lost(facts))
        assert the_dispute().margin_nano == 10_00 * CENT
        assert balance(Account.RESELLER_PAYABLE) == 0
        book_dispute(won(facts))
        assert balance(Account.RESELLER_PAYABLE) == -10_00 * CENT

    def test_only_what_was_earned_on_this_top_up(self) -> None:
        payer = make_payer_of_reseller()
        first = top_up_paid(payer, 10_00)
        top_up_paid(payer, 100_00)
        sell(payer, 40_00, wholesale=20_00)
        book_dispute(lost(dispute_facts(first, 10_00)))
        assert balance(Account.RESELLER_PAYABLE) == -15_00 * CENT


def make_payer_of_reseller() -> Payer:
    payer = make_payer()
    payer.organization.reseller = Reseller.objects.create(name="Shop", slug=uuid4().hex[:12])
    payer.organization.save(update_fields=["reseller"])
    return payer


def sell(payer: Payer, cents: int, *, wholesale: int) -> None:
    spend(
        payer,
        cents * CENT,
        wholesale_nano=wholesale * CENT,
        wholesale_version_id=flat_price(wholesale * CENT, "wholesale"),
    )


@pytest.mark.django_db
def test_a_payout_leaves_for_the_bank_once_and_comes_back_once() -> None:
    top_up_paid(make_payer(), 100_00)
    facts = PayoutFacts(payout_id="po_1", status="paid", moved=line(-80_00))
    for _ in range(2):
        book_payout(facts)
    assert (balance(Account.BANK), balance(Account.STRIPE_CLEARING)) == (80_00 * CENT, 20_00 * CENT)
    failed = replace(facts, status="failed", returned=line(80_00))
    for _ in range(2):
        book_payout(failed)
    assert (balance(Account.BANK), balance(Account.STRIPE_CLEARING)) == (0, 100_00 * CENT)
    assert_money_adds_up()
