"""The rules for what operators do with money: a reason always, over a set amount a second operator."""

from django.conf import settings
from django.utils.translation import gettext as _

from common.errors import AppError


class ReasonMissing(AppError):
    """What operators do with money has a reason. Nothing was changed."""

    code = "reason_missing"


class SecondOperatorNeeded(AppError):
    """Over the set amount, who asked for it cannot be the one who confirms it. Nothing was changed."""

    code = "second_operator_needed"
    http_status = 403


def required_reason(reason: str) -> str:
    """Raises ReasonMissing."""
    stripped = reason.strip()
    if not stripped:
        raise ReasonMissing(_("Say why: the reason is kept."), param="reason")
    return stripped


def needs_second_operator(amount_nano: int) -> bool:
    return amount_nano > settings.SECOND_OPERATOR_OVER_NANO
