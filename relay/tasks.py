"""Sweeps. Each may be lost, run late or run twice."""

from celery import shared_task

from relay.lifecycle import check_model_lists


@shared_task
def compare_model_lists() -> None:
    check_model_lists()
