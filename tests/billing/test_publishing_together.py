"""Two publications at once: what each of them may do depends on the other, so they take turns."""

import threading
from collections.abc import Callable

import pytest
from django.db import connection

from accounts.models import Reseller
from accounts.services import ensure_house_reseller
from billing.models import PriceKind, PriceVersion
from billing.price_rules import PriceRefused, RetailBelowWholesale
from billing.price_shapes import Price
from billing.publishing import publish_price

pytestmark = pytest.mark.django_db(transaction=True)
MODEL = "gpt-test"


def publish(kind: str, dollars: int, reseller: Reseller | None = None) -> None:
    price = Price({"input": dollars * 10**9, "output": dollars * 10**9})
    publish_price(model=MODEL, kind=kind, price=price, reseller=reseller)


def at_once(*calls: Callable[[], None]) -> list[str]:
    """The refusals of calls that begin together, each on a connection of its own."""
    barrier, refusals = threading.Barrier(len(calls)), []

    def run(call: Callable[[], None]) -> None:
        try:
            barrier.wait(10)
            call()
        except PriceRefused as refusal:
            refusals.append(type(refusal).__name__)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[call]) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return refusals


@pytest.mark.parametrize("attempt", range(3))
def test_retail_and_wholesale_of_different_owners_cannot_pass_each_other(attempt: int) -> None:
    """The house's wholesale price bears on a reseller's retail price, though neither touches the other's."""
    ensure_house_reseller()
    reseller = Reseller.objects.create(slug="other", name="Other")
    publish(PriceKind.WHOLESALE, 1)
    publish(PriceKind.RETAIL, 4)
    publish(PriceKind.RETAIL, 4, reseller)
    refusals = at_once(
        lambda: publish(PriceKind.WHOLESALE, 3), lambda: publish(PriceKind.RETAIL, 2, reseller)
    )
    assert refusals == [RetailBelowWholesale.__name__]
    assert PriceVersion.objects.count() == 4


def test_the_same_price_twice_at_once_is_one_version() -> None:
    ensure_house_reseller()
    assert at_once(*[lambda: publish(PriceKind.RETAIL, 2)] * 4) == []
    assert PriceVersion.objects.count() == 1
