"""What the double remembers: objects by id, Stripe's book of our money, and everything that happened."""

import copy
import random
import string
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.doubles.stripe.params import Json, missing
from tests.doubles.stripe.shapes import complete

API_VERSION = "2026-10-28.endive"
PREFIXES = {
    "cus": "customer",
    "pm": "payment_method",
    "cs": "checkout.session",
    "pi": "payment_intent",
    "ch": "charge",
    "py": "charge",
    "re": "refund",
    "dp": "dispute",
    "txn": "balance_transaction",
    "evt": "event",
    "seti": "setup_intent",
    "issfr": "radar.early_fraud_warning",
    "po": "payout",
    "txr": "tax_rate",
    "bps": "billing_portal.session",
    "taxcalc": "tax.calculation",
}
_ALPHABET = string.ascii_letters + string.digits


@dataclass
class State:
    """`told` is called with each new event, in order."""

    livemode: bool = False
    seed: int = 0
    told: Callable[[Json], None] = lambda _event: None
    objects: dict[str, Json] = field(default_factory=dict)
    clock_offset: float = 0.0
    url: str = ""
    refunds_wait: bool = False
    late_fees: bool = False
    refunds_inquiries: bool = False
    asked: list[Json] = field(default_factory=list)
    request: Json = field(default_factory=lambda: {"id": None, "idempotency_key": None})

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)

    def now(self) -> int:
        """Unix seconds of the double's own clock."""
        return int(time.time() + self.clock_offset)

    def new_id(self, prefix: str) -> str:
        return f"{prefix}_{''.join(self._dice.choices(_ALPHABET, k=24))}"

    def add(self, prefix: str, **fields: Any) -> Json:
        made = complete(
            {
                "id": self.new_id(prefix),
                "object": PREFIXES[prefix],
                "created": self.now(),
                "livemode": self.livemode,
                **fields,
            }
        )
        self.objects[made["id"]] = made
        return made

    def get(self, wanted: str | None, kind: str, param: str = "id") -> Json:
        """Raises StripeError."""
        found = self.objects.get(wanted or "")
        if found is None or found["object"] != kind or found.get("deleted"):
            raise missing(kind, wanted or "", param)
        return found

    def all(self, kind: str) -> list[Json]:
        """Newest first, as Stripe lists."""
        return [one for one in reversed(self.objects.values()) if one["object"] == kind]

    def emit(self, kind: str, thing: Json) -> None:
        event = self.add(
            "evt",
            api_version=API_VERSION,
            type=kind,
            data={"object": copy.deepcopy(thing)},
            pending_webhooks=1,
            request=dict(self.request),
        )
        self.told(event)

    def book(self, kind: str, source: Json, amount: int, *, fee: int = 0, category: str = "") -> Json:
        """A line in Stripe's book of our money, in the currency of its source. `amount` is signed."""
        return self.add(
            "txn",
            type=kind,
            reporting_category=category or kind,
            source=source["id"],
            amount=amount,
            fee=fee,
            net=amount - fee,
            currency=source["currency"],
            fee_details=[{"amount": fee, "currency": source["currency"], "type": "stripe_fee"}]
            if fee
            else [],
            status="available",
            available_on=self.now(),
            description=None,
            exchange_rate=None,
        )

    @property
    def balance(self) -> int:
        """Of all currencies together: what a test with one currency wants."""
        return sum(self.balances.values())

    @property
    def balances(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for line in self.all("balance_transaction"):
            found[line["currency"]] = found.get(line["currency"], 0) + line["net"]
        return found
