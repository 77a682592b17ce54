"""Money is an integer count of nano-units: 10⁻⁹ of the currency's major unit. No floats, ever."""

from decimal import Context, Decimal, DecimalException, Inexact, InvalidOperation, Overflow

from common.errors import AppError

NANO = 10**9
TOKENS_PER_RATE = 10**6
MOST_NANO = 2**63 - 1
# Minor units are cents: the one currency here is the dollar.
NANO_PER_MINOR = 10**7
# Decimal rounds to its context's digits without a word; here losing one is an error.
_EXACT = Context(traps=[InvalidOperation, Inexact, Overflow])


class AmountInvalid(AppError):
    """A written amount is not a number, is finer than a nano-unit, or is more than a column holds."""

    code = "invalid_amount"


def parse_nano(text: str) -> int:
    """Nano-units of a written major-unit amount: "0.0375" → 37_500_000. Raises AmountInvalid."""
    try:
        nano = _EXACT.multiply(Decimal(text), Decimal(NANO))
    except DecimalException as error:
        raise AmountInvalid(f"{text!r} is not an amount with at most nine decimals") from error
    if not nano.is_finite() or nano != nano.to_integral_value():
        raise AmountInvalid(f"{text!r} is not an amount with at most nine decimals")
    if abs(nano) > MOST_NANO:
        raise AmountInvalid(f"{text!r} is more than can be kept")
    return int(nano)


def format_nano(nano: int) -> str:
    """The exact amount in major units without trailing zeros: 37_500_000 → "0.0375"."""
    sign = "-" if nano < 0 else ""
    whole, fraction = divmod(abs(nano), NANO)
    digits = f"{fraction:09d}".rstrip("0")
    return f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}"


def minor_to_nano(minor: int) -> int:
    """Cents, as payments are counted, to nano-units. Raises AmountInvalid where no column holds them."""
    nano = minor * NANO_PER_MINOR
    if abs(nano) > MOST_NANO:
        raise AmountInvalid(f"{minor} cents are more than can be kept")
    return nano


def nano_to_minor(nano: int) -> int:
    """Whole cents of an amount; raises AmountInvalid where it is none, for nothing is rounded here."""
    minor, rest = divmod(nano, NANO_PER_MINOR)
    if rest:
        raise AmountInvalid(f"{format_nano(nano)} is not an amount in whole cents")
    return minor


def divide_half_even(numerator: int, denominator: int) -> int:
    """numerator / denominator rounded half to even; the one rounding of the money path."""
    quotient, remainder = divmod(numerator, denominator)
    doubled = 2 * remainder
    if doubled > denominator or (doubled == denominator and quotient % 2 == 1):
        return quotient + 1
    return quotient
