"""Stripe's book beside ours: line by line, and the sums to the cent."""

import pytest

from accounts.models import OperatorAlert
from billing.books import verify_books
from billing.models import BalanceTransaction, StripeEvent, TopUp, TopUpState
from billing.stripe.mirror import keep_new_lines, reconcile_with_stripe
from billing.stripe.payment_events import give_up_payment
from billing.top_ups import reconcile_top_up
from tests.doubles.stripe.double import StripeDouble
from tests.factories.money import Payer, make_payer
from tests.factories.stripe import open_page, session_of

pytestmark = pytest.mark.django_db


def alerts() -> list[str]:
    return sorted(OperatorAlert.objects.filter(resolved_at=None).values_list("kind", flat=True))


def test_without_movements_all_is_nothing(stripe: StripeDouble) -> None:
    found = reconcile_with_stripe()
    assert found is not None
    assert (found.agrees, found.at_stripe) == (True, 0)


def test_payments_nobody_told_us_of_are_booked(stripe: StripeDouble, payer: Payer) -> None:
    """With every event lost, the lines of Stripe's book are enough."""
    top_up = open_page(payer)
    stripe.pay(session_of(top_up))
    found = reconcile_with_stripe()
    assert found is not None
    assert (found.agrees, found.at_stripe) == (True, 20_00 - 88)
    assert TopUp.across_all_organizations.get(pk=top_up.pk).state == TopUpState.PAID
    assert verify_books()["ok"]


def test_refunds_disputes_and_payouts_too(stripe: StripeDouble) -> None:
    paid = []
    for _ in range(4):
        top_up = open_page(make_payer())
        stripe.pay(session_of(top_up), number=f"{top_up.pk}4242")
        paid.append(reconcile_top_up(top_up.pk))
    refund, won, lost, _ = (session_of(top_up) for top_up in paid)
    stripe.control("refund", session=refund, amount=7_00)
    for session, is_won in ((won, True), (lost, False)):
        dispute = stripe.control("dispute", session=session)
        stripe.control("close_dispute", dispute=dispute["id"], won=is_won)
    payout = stripe.control("pay_out", amount=5_00)
    stripe.control("fail_payout", payout=payout["id"])
    found = reconcile_with_stripe()
    assert found is not None
    assert found.agrees, found
    assert found.at_stripe == stripe.state()["balance"]
    assert alerts() == [] or "stripe_line_unexplained" not in alerts()
    assert verify_books()["ok"]


def test_money_of_nobody_is_unexplained_until_it_is_in_suspense(stripe: StripeDouble) -> None:
    intent = stripe.control("stray_payment", amount=9_99)
    found = reconcile_with_stripe()
    assert found is not None
    assert (found.agrees, found.unexplained) == (False, 1)
    give_up_payment(StripeEvent(type="charge.succeeded", object_id=intent["latest_charge"]))
    found = reconcile_with_stripe()
    assert found is not None
    assert found.agrees, found
    assert alerts() == ["unmatched_payment"]


def test_a_line_that_belongs_to_nothing_is_told_until_it_is_gone(stripe: StripeDouble) -> None:
    stripe.stripe.state.book("adjustment", {"id": "", "currency": "usd"}, 1_23)
    found = reconcile_with_stripe()
    assert found is not None
    assert (found.agrees, found.unexplained) == (False, 1)
    assert alerts() == ["stripe_balance_differs", "stripe_line_unexplained"]
    stripe.stripe.state.objects = {}
    BalanceTransaction.objects.all().delete()
    reconcile_with_stripe()
    assert alerts() == []


def test_lines_are_kept_once_and_found_behind_many(stripe: StripeDouble) -> None:
    for _ in range(130):
        stripe.stripe.state.book("adjustment", {"id": "", "currency": "usd"}, 1)
    assert (keep_new_lines(), keep_new_lines()) == (130, 0)


def test_a_gap_from_long_ago_is_found(stripe: StripeDouble) -> None:
    stripe.stripe.state.book("adjustment", {"id": "", "currency": "usd"}, 5)
    stripe.control("warp", seconds=5 * 86_400)
    stripe.stripe.state.book("adjustment", {"id": "", "currency": "usd"}, 7)
    keep_new_lines()
    BalanceTransaction.objects.filter(net_minor=5).delete()
    found = reconcile_with_stripe()
    assert found is not None
    assert (found.lines, found.at_stripe) == (12, 12)


def test_a_damaged_line_breaks_the_books(stripe: StripeDouble, payer: Payer) -> None:
    top_up = open_page(payer)
    stripe.pay(session_of(top_up))
    reconcile_top_up(top_up.pk)
    BalanceTransaction.objects.update(net_minor=1, amount_minor=89)
    broken = [check["name"] for check in verify_books()["checks"] if not check["ok"]]
    assert broken == ["stripe_lines"]
