"""Numbers, money and times as people read them, in the language of the page.

Money comes in nano-units and stays an integer or a Decimal all the way; a float never sees it.
"""

from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from uuid import UUID

from babel import Locale
from babel.dates import format_date, format_datetime
from babel.numbers import (
    format_compact_decimal,
    format_currency,
    format_decimal,
    get_currency_symbol,
)
from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import get_language, gettext, pgettext

from common import ids
from common.money import NANO

register = template.Library()

CENT = Decimal("0.01")
EXACT_PATTERN = "¤#,##0.00###############"
AXIS_PATTERN = "¤#,##0.#########"
COMPACT_FROM = 10_000


def page_locale() -> Locale:
    return Locale.parse(get_language() or "en", sep="-")


@register.filter
def money(nano: int, currency: str = "USD") -> str:
    """For overviews: to the cent, and below a cent to the first two digits that are not zero."""
    amount = _major(nano)
    quantum = CENT if abs(amount) >= CENT or not amount else _two_digits(amount)
    return _currency(amount.quantize(quantum, ROUND_HALF_EVEN), EXACT_PATTERN, currency)


@register.filter
def money_exact(nano: int | Decimal, currency: str = "USD") -> str:
    """Every digit that is not a trailing zero, and at least the cents."""
    return _currency(_major(nano), EXACT_PATTERN, currency)


@register.filter
def money_lined_up(nano: int | Decimal, places: int = 9) -> SafeString:
    """Exact, with `places` decimals so that a column's points stand below each other; the zeros are faint."""
    text = money_exact(nano)
    missing = places - len(text.partition(".")[2])
    return format_html('{}<span class="zeros">{}</span>', text, "0" * missing)


@register.filter
def money_axis(nano: int, currency: str = "USD") -> str:
    """As short as it can be: for the scale of a chart."""
    amount = _major(nano)
    if amount >= COMPACT_FROM:
        return _narrow("", currency) + compact(int(amount))
    return _currency(amount, AXIS_PATTERN, currency)


@register.filter
def count(number: int) -> str:
    return format_decimal(number, locale=page_locale())


@register.filter
def compact(number: int) -> str:
    """12,345 → 12.3K, in Chinese 1.2万."""
    return format_compact_decimal(number, locale=page_locale(), fraction_digits=1)


@register.filter
def percent(part: int, whole: int) -> str:
    """`part` of `whole` to the whole percent; what is not nothing is never 0 %."""
    share = part * 100 // whole if whole else 0
    return "<1%" if part and not share else f"{share}%"


@register.filter
def duration(length: timedelta | None) -> str:
    """Milliseconds below a second, hundredths of a second below a minute, whole seconds above."""
    if length is None:
        return "-"
    milliseconds = length // timedelta(milliseconds=1)
    if milliseconds < 1000:
        return gettext("%(number)s ms") % {"number": milliseconds}
    seconds = Decimal(milliseconds) / 1000
    digits = Decimal("0.01") if seconds < 60 else Decimal(1)
    return gettext("%(number)s s") % {"number": count_decimal(seconds.quantize(digits))}


@register.filter
def day(moment: date) -> str:
    """A day without its year: Nov 23, in Chinese 11月23日."""
    # Translators: a date pattern of Unicode CLDR, as Babel reads it
    return format_date(moment, pgettext("date pattern", "MMM d"), locale=page_locale())


@register.filter
def full_day(moment: date) -> str:
    return format_date(moment, pgettext("date pattern", "MMM d, y"), locale=page_locale())


@register.filter
def local_day(at: datetime) -> str:
    """The day of a moment in the person's time zone."""
    return full_day(timezone.localdate(at))


@register.filter
def moment(at: datetime, precision: str = "minutes") -> SafeString:
    """A <time> in the person's time zone; `precision` "seconds" shows them too."""
    if precision == "seconds":
        pattern = pgettext("date pattern", "MMM d, y, HH:mm:ss")
    else:
        pattern = pgettext("date pattern", "MMM d, y, HH:mm")
    shown = format_datetime(timezone.localtime(at), pattern, locale=page_locale())
    seconds = SafeString(" data-seconds") if precision == "seconds" else ""
    return format_html('<time datetime="{}" data-local{}>{}</time>', at.isoformat(), seconds, shown)


@register.filter
def public_id(value: UUID, prefix: str) -> str:
    """An identifier as people and programs see it: req_0190…"""
    return ids.public_id(prefix, value)


def count_decimal(number: Decimal) -> str:
    """A Decimal with the digits it has, trailing zeros included."""
    places = -int(number.as_tuple().exponent)
    pattern = "#,##0." + "0" * places if places > 0 else "#,##0"
    return format_decimal(number, format=pattern, locale=page_locale())


def _major(nano: int | Decimal) -> Decimal:
    return Decimal(nano) / NANO


def _two_digits(amount: Decimal) -> Decimal:
    return Decimal(1).scaleb(amount.adjusted() - 1)


def _currency(amount: Decimal, pattern: str, currency: str) -> str:
    text = format_currency(amount, currency, format=pattern, locale=page_locale(), currency_digits=False)
    return _narrow(text, currency)


def _narrow(text: str, currency: str) -> str:
    """With the currency's short sign in every language: there is one currency on a page."""
    sign = get_currency_symbol(currency, locale="en")
    return text.replace(get_currency_symbol(currency, locale=page_locale()), sign) if text else sign
