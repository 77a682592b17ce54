"""Money is an integer count of nano-units: 10⁻⁹ of the currency's major unit. No floats, ever."""

from decimal import Decimal, InvalidOperation

from common.errors import AppError

NANO = 10**9
TOKENS_PER_RATE = 10**6


class AmountInvalid(AppError):
    """A written amount is not a number, or is finer than a nano-unit."""

    code = "invalid_amount"


def parse_nano(text: str) -> int:
    """Nano-units of a written major-unit amount: "0.0375" → 37_500_000. Raises AmountInvalid."""
    try:
        nano = Decimal(text) * NANO
    except InvalidOperation as error:
        raise AmountInvalid(f"{text!r} is not an amount") from error
    if not nano.is_finite() or nano != int(nano):
        raise AmountInvalid(f"{text!r} is not an amount with at most nine decimals")
    return int(nano)


def format_nano(nano: int) -> str:
    """The exact amount in major units without trailing zeros: 37_500_000 → "0.0375"."""
    sign = "-" if nano < 0 else ""
    whole, fraction = divmod(abs(nano), NANO)
    digits = f"{fraction:09d}".rstrip("0")
    return f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}"


def divide_half_even(numerator: int, denominator: int) -> int:
    """numerator / denominator rounded half to even; the one rounding of the money path."""
    quotient, remainder = divmod(numerator, denominator)
    doubled = 2 * remainder
    if doubled > denominator or (doubled == denominator and quotient % 2 == 1):
        return quotient + 1
    return quotient
