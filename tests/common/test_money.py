"""Written amounts and integers of nano-units: exact both ways, or refused."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.money import MOST_NANO, AmountInvalid, divide_half_even, format_nano, parse_nano


@pytest.mark.parametrize(
    ("text", "nano"),
    [("5", 5 * 10**9), ("0.0375", 37_500_000), ("0.000000001", 1), ("-2.50", -2_500_000_000), ("1e-9", 1)],
)
def test_a_written_amount_is_exact(text: str, nano: int) -> None:
    assert parse_nano(text) == nano


@pytest.mark.parametrize("text", ["", "free", "1,5", "NaN", "sNaN", "Infinity", "0x10", "$5", "\0"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(AmountInvalid):
        parse_nano(text)


@pytest.mark.parametrize("text", ["0.0000000001", "1." + "0" * 28 + "1", "1e-999999"])
def test_what_is_finer_than_a_nano_unit_is_refused_not_rounded(text: str) -> None:
    with pytest.raises(AmountInvalid, match="nine decimals"):
        parse_nano(text)


def test_zeros_behind_the_ninth_decimal_say_nothing() -> None:
    assert parse_nano("1." + "0" * 40) == 10**9


@pytest.mark.parametrize("text", ["9223372036.854775808", "-1e11", "1e30", "1e999999", "1e400000000"])
def test_what_no_column_holds_is_refused(text: str) -> None:
    with pytest.raises(AmountInvalid):
        parse_nano(text)


def test_the_largest_amount_is_one_a_column_holds() -> None:
    assert parse_nano("9223372036.854775807") == MOST_NANO


@given(st.integers(-MOST_NANO, MOST_NANO))
def test_what_is_formatted_reads_back_the_same(nano: int) -> None:
    assert parse_nano(format_nano(nano)) == nano


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**12))
def test_division_rounds_once_and_halves_to_even(numerator: int, denominator: int) -> None:
    assert divide_half_even(numerator, denominator) == round(Fraction(numerator, denominator))


@given(st.integers(0, MOST_NANO))
def test_a_formatted_amount_has_no_zeros_at_its_end(nano: int) -> None:
    text = format_nano(nano)
    assert "." not in text or text[-1] not in "0."
