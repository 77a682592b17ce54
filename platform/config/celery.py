"""Celery: idempotent sweeps on a static schedule. One may be lost or run twice; the rows are the truth."""

from typing import Any

from celery import Celery
from celery.schedules import crontab
from celery.signals import setup_logging

app = Celery("farebox")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

app.conf.beat_schedule = {
    "aggregate settlement batches": {
        "task": "billing.tasks.aggregate_settlement_batches",
        "schedule": 2.0,
        "options": {"expires": 10},
    },
    "reap leases": {
        "task": "billing.tasks.reap_leases",
        "schedule": 5.0,
        "options": {"expires": 20},
    },
    "fold the ledger": {
        "task": "billing.tasks.fold_ledger",
        "schedule": 10.0,
        "options": {"expires": 30},
    },
    "expire lots": {
        "task": "billing.tasks.expire_lots",
        "schedule": 180.0,
        "options": {"expires": 170},
    },
    "collect debts": {
        "task": "billing.tasks.collect_debts",
        "schedule": 10.0,
        "options": {"expires": 30},
    },
    # Webhooks are usually faster; this is for those that do not come, and for a broker that was away.
    "compare top-ups with Stripe": {
        "task": "billing.tasks.reconcile_top_ups",
        "schedule": 10.0,
        "options": {"expires": 10},
    },
    "look at Stripe's events": {
        "task": "billing.tasks.sweep_stripe_inbox",
        "schedule": 30.0,
        "options": {"expires": 30},
    },
    "catch up with Stripe": {
        "task": "billing.tasks.catch_up_with_stripe",
        "schedule": 300.0,
        "options": {"expires": 240},
    },
    "catch up with all of Stripe": {
        "task": "billing.tasks.catch_up_with_stripe",
        "schedule": crontab(hour="2", minute="41"),
        "kwargs": {"far": True},
        "options": {"expires": 3600},
    },
    "reconcile with Stripe": {
        "task": "billing.tasks.reconcile_with_stripe",
        "schedule": crontab(hour="2", minute="57"),
        "options": {"expires": 3600},
    },
    "free held top-ups": {
        "task": "billing.tasks.free_held_top_ups",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "recharge": {
        "task": "billing.tasks.recharge",
        "schedule": 5.0,
        "options": {"expires": 5},
    },
    "send refunds": {
        "task": "billing.tasks.send_refunds",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "hold disputed credit": {
        "task": "billing.tasks.hold_disputed_credit",
        "schedule": 30.0,
        "options": {"expires": 30},
    },
    "make usage partitions": {
        "task": "billing.tasks.make_usage_partitions",
        "schedule": 6 * 3600.0,
        "options": {"expires": 3600},
    },
    "compare model lists": {
        "task": "relay.tasks.compare_model_lists",
        "schedule": crontab(hour="5", minute="23"),
        "options": {"expires": 3600},
    },
    # Due once a night, at 03:17 UTC; the tries in between make up for one that was missed.
    "check the books": {
        "task": "billing.tasks.check_books",
        "schedule": crontab(minute="7,17,27,37,47,57"),
        "options": {"expires": 600},
    },
    "give promotions": {
        "task": "billing.tasks.give_promotions",
        "schedule": 60.0,
        "options": {"expires": 50},
    },
    "forget sign-ups": {
        "task": "billing.tasks.forget_sign_ups",
        "schedule": crontab(hour="4", minute="41"),
        "options": {"expires": 3600},
    },
    "detach old usage": {
        "task": "billing.tasks.detach_old_partitions",
        "schedule": crontab(hour="4", minute="17"),
        "options": {"expires": 3600},
    },
}


@setup_logging.connect
def keep_our_logging(**_kwargs: Any) -> None:
    """Celery would replace the root logger; Django has set it up already."""
