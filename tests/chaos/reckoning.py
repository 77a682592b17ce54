"""After the storm: the customers' view, the vendor's log and the books, laid beside each other."""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import psycopg

from tests.chaos.storm import Asked, Manner, number_in
from tests.installation import Customer, Installation, price_of, request_hex

# A lease lives 20 s, the reaper leaves it 5 s more and looks every 5 s; then what is settled is added up.
SETTLED_SECONDS = 60.0
UNSETTLED = """
SELECT (SELECT coalesce(sum(pending), 0)::bigint FROM billing_wallet) AS pending,
    (SELECT count(*) FROM billing_lease WHERE state = 'open') AS leases,
    (SELECT count(*) FROM billing_settlementbatch WHERE aggregated_at IS NULL) AS batches
"""
RECORDS = """
SELECT request_id, organization_id, upstream_model, charge_nano, uncollected_nano, usage_source, ending
FROM billing_usagerecord
"""
WALLETS = "SELECT organization_id, posted, pending, receivable, status FROM billing_wallet"


@dataclass(frozen=True)
class Figures:
    """What a chaos run prints; the amounts are nano-dollars.

    `complete` are requests whose client saw the end of the answer. Given away is what a vendor served and
    nobody was charged for: work that died with a relay, before its customer had the whole answer.
    """

    requests: int
    complete: int
    left_by_client: int
    refused_for_credit: int
    broken_off: int
    other_answers: dict[int, int]
    charged_for_complete: int
    served_at_price: int
    complete_but_uncharged: int
    double_charges: int
    charged_but_not_served: int
    charged_off_price: int
    overdraft: int
    uncollected: int
    wallets_off: int
    given_away: int
    pending: int
    open_leases: int
    spool_files: int
    settled_after_s: float
    verify_books_exit: int
    blows: dict[str, int] = field(default_factory=dict)
    restarts: int = 0
    spools_replayed: int = 0

    def faults(self) -> dict[str, Any]:
        """Everything that must be zero and is not."""
        zero = (
            "complete_but_uncharged",
            "double_charges",
            "charged_but_not_served",
            "charged_off_price",
            "overdraft",
            "uncollected",
            "wallets_off",
            "pending",
            "open_leases",
            "spool_files",
            "verify_books_exit",
        )
        found = {name: getattr(self, name) for name in zero if getattr(self, name)}
        if self.charged_for_complete != self.served_at_price:
            found["difference"] = self.charged_for_complete - self.served_at_price
        return found

    def table(self) -> str:
        rows = asdict(self).items()
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name.replace('_', ' '):<{width}}  {_shown(value):>20}" for name, value in rows)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {count}" for name, count in value.items()) or "none"
    return f"{value:,}"


@dataclass
class Evidence:
    """Read once everything has settled."""

    asked: Sequence[Asked]
    customers: Sequence[Customer]
    records: list[dict[str, Any]]
    served: dict[int, dict[str, Any]]
    wallets: dict[int, dict[str, Any]]

    @property
    def by_request(self) -> dict[str, dict[str, Any]]:
        return {record["request_id"].hex: record for record in self.records}

    def charged_off_price(self) -> list[dict[str, Any]]:
        return [r for r in self.records if (s := self._served(r)) and _price_paid(r) != price_of(s)]

    def not_served(self) -> list[dict[str, Any]]:
        return [record for record in self.records if self._served(record) is None]

    def _served(self, record: dict[str, Any]) -> dict[str, Any] | None:
        return self.served.get(number_in(record["upstream_model"]))

    def double_charges(self) -> int:
        numbers = Counter(number_in(record["upstream_model"]) for record in self.records)
        return sum(count - 1 for count in numbers.values())

    def given_away(self) -> int:
        charged = {number_in(record["upstream_model"]) for record in self.records}
        return sum(price_of(one) for number, one in self.served.items() if number not in charged)

    def wallets_off(self) -> int:
        """Wallets that lost something else than the charges of their own organization."""
        charges: dict[int, int] = defaultdict(int)
        for record in self.records:
            charges[record["organization_id"]] += record["charge_nano"]
        return sum(
            self.wallets[one.organization]["posted"] != one.credit_nano - charges[one.organization]
            for one in self.customers
        )

    def overdraft(self) -> int:
        return sum(max(0, -wallet["posted"]) + wallet["receivable"] for wallet in self.wallets.values())


def _price_paid(record: dict[str, Any]) -> int:
    paid: int = record["charge_nano"] + record["uncollected_nano"]
    return paid


def wait_until_settled(installation: Installation, seconds: float = SETTLED_SECONDS) -> float:
    """Seconds until every lease is back, every spool is empty and every batch is added up; `seconds` at most.

    What is still open then shows in the figures.
    """
    began = time.monotonic()
    while (waited := time.monotonic() - began) < seconds:
        try:
            [open_] = installation.query(UNSETTLED)
        except psycopg.Error:  # PostgreSQL may still be on its way back
            open_ = {"pending": None}
        if not any(open_.values()) and "batches" in open_ and not spool_files(installation):
            break
        time.sleep(0.2)
    return round(waited, 1)


def spool_files(installation: Installation) -> int:
    return len(list((installation.home / "spool").glob("*.spool")))


def gather(installation: Installation, customers: Sequence[Customer], asked: Sequence[Asked]) -> Evidence:
    served = {number_in(line["answers_as"]): line for line in installation.vendor.records() if line["served"]}
    served.pop(0, None)
    wallets = {row["organization_id"]: row for row in installation.query(WALLETS)}
    return Evidence(asked, customers, installation.query(RECORDS), served, wallets)


def reckon(installation: Installation, evidence: Evidence, *, settled_after: float) -> Figures:
    by_request = evidence.by_request
    complete = [one.seen for one in evidence.asked if one.seen.is_complete]
    charged = {one.number: by_request.get(request_hex(one.answer_id)) for one in complete}
    statuses = Counter(one.seen.status for one in evidence.asked)
    [open_] = installation.query(UNSETTLED)
    return Figures(
        requests=len(evidence.asked),
        complete=len(complete),
        left_by_client=sum(one.manner != Manner.STAYS for one in evidence.asked),
        refused_for_credit=sum(one.seen.error.get("code") == "insufficient_quota" for one in evidence.asked),
        broken_off=sum(_is_broken_off(one) for one in evidence.asked),
        other_answers={status: n for status, n in sorted(statuses.items()) if status not in {0, 200, 429}},
        charged_for_complete=sum(record["charge_nano"] for record in charged.values() if record),
        served_at_price=sum(
            price_of(evidence.served[number]) for number in charged if number in evidence.served
        ),
        complete_but_uncharged=sum(
            record is None or number_in(record["upstream_model"]) != number
            for number, record in charged.items()
        ),
        double_charges=evidence.double_charges(),
        charged_but_not_served=len(evidence.not_served()),
        charged_off_price=len(evidence.charged_off_price()),
        overdraft=evidence.overdraft(),
        uncollected=sum(record["uncollected_nano"] for record in evidence.records),
        wallets_off=evidence.wallets_off(),
        given_away=evidence.given_away(),
        pending=open_["pending"],
        open_leases=open_["leases"],
        spool_files=spool_files(installation),
        settled_after_s=settled_after,
        verify_books_exit=installation.run("verify_books").returncode,
    )


def _is_broken_off(one: Asked) -> bool:
    return one.manner == Manner.STAYS and one.seen.status in {0, 200} and not one.seen.is_complete


def explain(installation: Installation, evidence: Evidence) -> str:
    """For whoever looks into a fault: the first rows of each kind, and what `verify_books` found."""
    parts = {
        "charged but not served": evidence.not_served()[:5],
        "charged off price": evidence.charged_off_price()[:5],
        "wallets that owe": [row for row in evidence.wallets.values() if row["receivable"]][:5],
    }
    report = installation.run("verify_books").stdout
    try:
        checks = json.loads(report)["checks"]
    except ValueError:
        checks = [{"ok": False, "printed": report[-2000:]}]
    parts["verify_books"] = [check for check in checks if not check["ok"]]
    return "\n".join(f"{name}: {rows}" for name, rows in parts.items() if rows)
