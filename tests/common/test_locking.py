"""Locks: inside a transaction, in id order, and never waited for without end."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.db import connection, transaction
from django.db.transaction import TransactionManagementError
from django.test.utils import CaptureQueriesContext

from accounts.models import Organization
from common import locking
from common.locking import RowsBusy, lock_rows
from tests.factories.money import make_payer

ROWS = Organization.objects.all()


@pytest.mark.django_db
def test_rows_come_locked_in_ascending_order() -> None:
    ids = [make_payer().organization.pk for _ in range(3)]
    with CaptureQueriesContext(connection) as seen:
        locked = lock_rows(ROWS, reversed(ids))
    assert [row.pk for row in locked] == ids
    assert "FOR UPDATE OF" in seen.captured_queries[-1]["sql"]


@pytest.mark.django_db(transaction=True)
def test_outside_a_transaction_there_is_no_lock() -> None:
    with pytest.raises(TransactionManagementError):
        lock_rows(ROWS, [1])


@pytest.mark.django_db(transaction=True)
def test_busy_rows_are_given_up_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "LOCK_TIMEOUT_MS", 100)
    organization = make_payer().organization
    with elsewhere(lambda: lock_rows(ROWS, [organization.pk])), pytest.raises(RowsBusy), transaction.atomic():
        lock_rows(ROWS, [organization.pk])


@contextmanager
def elsewhere(lock: Callable[[], object]) -> Iterator[None]:
    """`lock` is held by another connection, in a transaction of its own, as long as the block lasts."""
    is_held, is_over = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                lock()
                is_held.set()
                is_over.wait(10)
        finally:
            is_held.set()
            connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert is_held.wait(10)
        yield
    finally:
        is_over.set()
        holder.join(10)
