"""Sweeps. Each may be lost, run late or run twice: the rows say what is left to do."""

from celery import shared_task

from billing import services

MOST_ROUNDS = 100


@shared_task
def aggregate_settlement_batches() -> None:
    for _ in range(MOST_ROUNDS):
        if services.aggregate_batches() < services.AGGREGATE_AT_ONCE:
            return


@shared_task
def reap_leases() -> None:
    services.reap_expired_leases()


@shared_task
def make_usage_partitions() -> None:
    services.make_usage_partitions()
