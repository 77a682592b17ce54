"""Sweeps. Each may be lost, run late or run twice: the rows say what is left to do."""

import structlog
from celery import shared_task

from billing import archive, books, campaigns, debts, expiry, recharging, referrals, services, sign_ups
from billing.aggregation import AGGREGATE_AT_ONCE, aggregate_batches
from billing.budgets import reap_budget_leases
from billing.ledger import FOLD_AT_ONCE, fold
from billing.stripe import catch_up, disputes, inbox, mirror, refunds
from billing.stripe.client import StripeRefused, StripeUnknown
from billing.unlocking import unlock_held_top_ups

MOST_ROUNDS = 100

log = structlog.get_logger(__name__)


@shared_task
def aggregate_settlement_batches() -> None:
    for _ in range(MOST_ROUNDS):
        if aggregate_batches() < AGGREGATE_AT_ONCE:
            return


@shared_task
def reap_leases() -> None:
    services.reap_expired_leases()
    reap_budget_leases(grace_s=services.REAP_GRACE_S)


@shared_task
def make_usage_partitions() -> None:
    archive.make_usage_partitions()


@shared_task
def check_books() -> None:
    books.check_books_if_due()


@shared_task
def detach_old_partitions() -> None:
    archive.detach_old_partitions()


@shared_task
def fold_ledger() -> None:
    for _ in range(MOST_ROUNDS):
        if fold() < FOLD_AT_ONCE:
            return


@shared_task
def expire_lots() -> None:
    expiry.expire_lots()


@shared_task
def collect_debts() -> None:
    debts.collect_debts()


@shared_task
def process_stripe_event(event_id: int) -> None:
    inbox.process_event(event_id)


@shared_task
def sweep_stripe_inbox() -> None:
    inbox.sweep_inbox()


@shared_task
def reconcile_top_ups() -> None:
    catch_up.reconcile_top_ups_under_way()


@shared_task
def catch_up_with_stripe(*, far: bool = False) -> None:
    """What Stripe does not tell now, it tells the next time."""
    if far:
        inbox.forget_payloads()
    try:
        catch_up.catch_up(overlap=catch_up.LONG_OVERLAP if far else catch_up.OVERLAP)
    except (StripeUnknown, StripeRefused) as error:
        log.warning("stripe_not_caught_up", error=error.code)


@shared_task
def reconcile_with_stripe() -> None:
    try:
        mirror.reconcile_with_stripe()
    except (StripeUnknown, StripeRefused) as error:
        log.warning("stripe_not_reconciled", error=error.code)


@shared_task
def free_held_top_ups() -> None:
    unlock_held_top_ups()


@shared_task
def give_promotions() -> None:
    campaigns.give_due_sign_up_bonuses()
    referrals.pay_due_referrals()


@shared_task
def forget_sign_ups() -> None:
    sign_ups.forget_sign_ups()


@shared_task
def recharge() -> None:
    recharging.sweep_recharges()


@shared_task
def send_refunds() -> None:
    refunds.send_refunds()


@shared_task
def hold_disputed_credit() -> None:
    disputes.hold_disputed_credit()
