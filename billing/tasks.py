"""Sweeps. Each may be lost, run late or run twice: the rows say what is left to do."""

from celery import shared_task

from billing import archive, books, debts, expiry, services
from billing.aggregation import AGGREGATE_AT_ONCE, aggregate_batches
from billing.budgets import reap_budget_leases
from billing.ledger import FOLD_AT_ONCE, fold

MOST_ROUNDS = 100


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
