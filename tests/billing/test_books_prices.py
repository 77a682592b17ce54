"""The books work prices out in SQL: to the nano what Python charged, with bands, windows and tiers."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from accounts.services import ensure_house_reseller
from billing.books import verify_books
from billing.contracts import TokenUsage
from billing.models import RATE_CLASSES, PriceVersion
from billing.tariffs import DAYS, price_recorded
from tests.factories.money import make_payer, make_record, settle

pytestmark = pytest.mark.django_db
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
OPTIONAL = [name for name in RATE_CLASSES if name not in ("input", "output")]
CLASSES = list(TokenUsage.__dataclass_fields__)


class Draw(random.Random):
    """Prices and usage of every shape there is."""

    def rates(self, *, whole: bool) -> dict[str, int]:
        """Odd rates, so that half a nano-unit comes up; `whole` rates name input and output."""
        names = [name for name in OPTIONAL if self.random() < 0.5]
        names += ["input", "output"] if whole else [n for n in ("input", "output") if self.random() < 0.7]
        return {name: self.choice([0, 1, 37_500, 500_000, 2_500_000_000, 10**12]) for name in names}

    def bands(self) -> list[dict[str, Any]]:
        starts = self.sample([0, 10, 1_000, 200_000], self.randint(0, 3))
        return [{"over_prompt_tokens": start, "rates": self.rates(whole=False)} for start in starts]

    def windows(self) -> list[dict[str, Any]]:
        return [
            {
                "days": self.sample(DAYS, self.randint(1, 7)),
                "from_minute": self.randint(0, 1_439),
                "to_minute": self.randint(0, 1_440),
                "rates": self.rates(whole=False),
                "bands": self.bands(),
            }
            for _ in range(self.randint(0, 3))
        ]

    def tiers(self) -> list[dict[str, Any]]:
        names = self.sample(["flex", "priority"], self.randint(0, 2))
        return [{"tier": name, "rates": self.rates(whole=False), "bands": self.bands()} for name in names]

    def version(self, number: int, kind: str) -> PriceVersion:
        return PriceVersion.objects.create(
            reseller=ensure_house_reseller(),
            model="drawn",
            kind=kind,
            effective_from=MONDAY - timedelta(days=number + 1),
            bands=self.bands(),
            windows=self.windows(),
            tiers=self.tiers(),
            **self.rates(whole=True),
        )

    def usage(self) -> TokenUsage:
        most = self.choice([1, 20, 5_000, 300_000])
        return TokenUsage(**{name: self.randint(0, most) for name in CLASSES if self.random() < 0.6})


def drawn_record(draw: Draw, number: int, payer: Any) -> dict[str, Any]:
    usage, tier = draw.usage(), draw.choice(["", "flex", "priority", "unheard-of"])
    moment = MONDAY + timedelta(seconds=draw.randint(0, 14 * 86_400))
    prices = {}
    for kind in ("retail", "cost", "wholesale"):
        version = draw.version(number, kind)
        prices[kind] = version.pk, price_recorded(version, usage, moment, tier)
    return make_record(
        payer,
        prices["retail"][1],
        model="drawn",
        **{name: getattr(usage, name) for name in CLASSES},
        service_tier=tier,
        started_at=moment,
        retail_version_id=prices["retail"][0],
        cost_version_id=prices["cost"][0],
        cost_nano=prices["cost"][1],
        wholesale_version_id=prices["wholesale"][0],
        wholesale_nano=prices["wholesale"][1],
    )


def differences() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = next(
        check["differences"] for check in verify_books()["checks"] if check["name"] == "prices"
    )
    return found


@pytest.mark.parametrize("seed", range(4))
def test_sql_and_python_price_alike(seed: int) -> None:
    draw, payer = Draw(seed), make_payer()
    settle(uuid4(), *(drawn_record(draw, number, payer) for number in range(60)))
    assert differences() == []


@pytest.mark.parametrize(("tokens", "price"), [(1, 0), (3, 2), (5, 2), (7, 4), (2**62, 2**61)])
def test_halves_go_to_the_even_side_however_many_digits_there_are(tokens: int, price: int) -> None:
    version = PriceVersion.objects.create(
        reseller=ensure_house_reseller(),
        model="half",
        kind="retail",
        effective_from=MONDAY,
        input=500_000,
        output=0,
    )
    record = make_record(make_payer(), price, model="half", input_tokens=tokens, retail_version_id=version.pk)
    settle(uuid4(), record)
    assert differences() == []
    settle(uuid4(), {**record, "request_id": uuid4(), "price_nano": price + 1})
    assert len(differences()) == 1
