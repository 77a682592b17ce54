"""Amounts as Stripe has them: whole minor units, of which some currencies have none."""

from functools import cache

from babel.numbers import list_currencies

from tests.doubles.stripe.params import invalid

ZERO_DECIMAL = frozenset(
    ("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf")
)
FEE_PER_THOUSAND, FEE_FIXED = 29, 30
MOST = 99_999_999
# The least that can be charged, where it is not fifty minor units.
_LEAST = {"aed": 200, "czk": 1500, "dkk": 250, "gbp": 30, "hkd": 400, "huf": 17500, "mxn": 1000, "myr": 200,
          "nok": 300, "pln": 200, "ron": 200, "sek": 300, "thb": 1000}  # fmt: skip
LEAST = 50


def fee_of(amount: int) -> int:
    return (amount * FEE_PER_THOUSAND + 500) // 1000 + FEE_FIXED


def check_amount(amount: int, currency: str, param: str = "amount") -> None:
    """Raises StripeError for what nobody can be charged."""
    if currency.lower() not in _currencies():
        raise invalid(f"Invalid currency: {currency}.", param="currency")
    least = _LEAST.get(currency.lower(), LEAST)
    if amount < least:
        raise invalid(
            f"Amount must be at least {shown(least, currency)}", param=param, code="amount_too_small"
        )
    if amount > MOST:
        raise invalid(
            f"Amount must be no more than {shown(MOST, currency)}", param=param, code="amount_too_large"
        )


def shown(minor: int, currency: str) -> str:
    code = currency.upper()
    if currency.lower() in ZERO_DECIMAL:
        return f"{minor:,} {code}"
    return f"{'$' if code == 'USD' else ''}{minor / 100:,.2f} {code}"


@cache
def _currencies() -> frozenset[str]:
    return frozenset(code.lower() for code in list_currencies())
