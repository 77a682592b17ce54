"""Amounts in cents and rates in millionths, written and shown as people do."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from typing_extensions import override

from billing.terms import NANO_PER_CENT
from common.admin import NOTHING, USDField, usd
from common.money import format_nano

# A percent is 10,000 parts per million; percents are read like dollars, with nine decimals.
NANO_PER_MILLIONTH = 10**5


class CentsField(USDField):
    """An amount written in USD, as an integer of cents. Empty is None."""

    default_error_messages = {"invalid": _("Write an amount like 25 or 19.99, in whole cents.")}
    unit = NANO_PER_CENT

    @override
    def to_python(self, value: Any) -> Any:
        nano = super().to_python(value)
        if nano is None:
            return None
        if nano % self.unit:
            raise ValidationError(self.error_messages["invalid"], code="invalid")
        return nano // self.unit

    @override
    def prepare_value(self, value: Any) -> Any:
        return format_nano(value * self.unit) if isinstance(value, int) else value


class PercentField(CentsField):
    """A rate written in percent, as an integer of parts per million."""

    default_error_messages = {"invalid": _("Write a rate like 19 or 8.875, with at most four decimals.")}
    unit = NANO_PER_MILLIONTH


def cents_column(name: str, label: Any) -> Any:
    return shown_column(name, label, lambda cents: usd(cents * NANO_PER_CENT))


def percent_column(name: str, label: Any) -> Any:
    return shown_column(name, label, lambda millionths: f"{format_nano(millionths * NANO_PER_MILLIONTH)} %")


def shown_column(name: str, label: Any, show: Callable[[Any], str]) -> Any:
    def shown(row: Any) -> str:
        value = getattr(row, name)
        return NOTHING if value is None else show(value)

    shown.__name__ = name
    return admin.display(shown, description=label, ordering=name)
