"""Voucher codes: made by operators, redeemed by customers for promotional credit.

Redeeming locks the voucher, then the wallet; nothing locks them the other way round.
"""

import math
import secrets
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import Organization, Reseller, User
from accounts.services import record_audit
from billing.models import Grant, GrantKind, Voucher, VoucherMiss, VoucherRedemption, VoucherSeries, Wallet
from billing.operators import SecondOperatorNeeded, needs_second_operator
from billing.services import grant_credit
from common.errors import AppError
from common.locking import lock_rows
from common.money import MOST_NANO

# Nothing that is read for something else: no I, L, O, U, 0 or 1.
ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
LEAST_BITS = 80
GROUP = 4
CODE_LENGTH = GROUP * math.ceil(LEAST_BITS / math.log2(len(ALPHABET)) / GROUP)
SHORTEST_WORD, LONGEST_CODE = 4, 40
MOST_CODES = 10_000
MISSES_ALLOWED = 10
MISSES_COUNT_FOR = timedelta(hours=1)


class VoucherInvalid(AppError):
    """The voucher makes no sense as asked for; nothing was made."""

    code = "voucher_invalid"


class VoucherCodeTaken(AppError):
    code = "voucher_code_taken"
    http_status = 409


class CodesHandedOut(AppError):
    """The codes of a series can be had once; who lost them disables it and makes another."""

    code = "voucher_codes_handed_out"
    http_status = 409


class VoucherRefused(AppError):
    """The code gave nothing; the wallet is unchanged. Each reason is a class of its own."""

    code = "voucher_refused"


class VoucherUnknown(VoucherRefused):
    code = "voucher_unknown"
    http_status = 404


class VoucherElsewhere(VoucherRefused):
    code = "voucher_elsewhere"


class VoucherDisabled(VoucherRefused):
    code = "voucher_disabled"


class VoucherExpired(VoucherRefused):
    code = "voucher_expired"


class VoucherUsedUp(VoucherRefused):
    code = "voucher_used_up"


class VoucherRedeemedBefore(VoucherRefused):
    code = "voucher_redeemed_before"


class TooManyWrongCodes(VoucherRefused):
    code = "voucher_too_many_wrong_codes"
    http_status = 429


@dataclass(frozen=True, kw_only=True)
class VoucherTerms:
    """What a code gives. `credit_days`: how long the credit lasts, None for ever."""

    reseller: Reseller
    campaign: str
    amount_nano: int
    max_uses: int = 1
    expires_at: datetime | None = None
    credit_days: int | None = None


def normalize_code(text: str) -> str:
    """As it is kept: upper case, without spaces, dashes and whatever else people write between groups."""
    return "".join(letter for letter in unicodedata.normalize("NFKC", text).upper() if letter.isalnum())


def grouped(code: str) -> str:
    return "-".join(code[start : start + GROUP] for start in range(0, len(code), GROUP))


@transaction.atomic
def create_voucher(
    *, terms: VoucherTerms, code: str, created_by: User | None = None, ip: str | None = None
) -> Voucher:
    """A code that an operator chose. Raises VoucherInvalid, VoucherCodeTaken."""
    word = normalize_code(code)
    if not word.isascii() or not SHORTEST_WORD <= len(word) <= LONGEST_CODE:
        raise VoucherInvalid(_("A code has 4 to 40 letters and digits."), param="code")
    is_waiting = _check(terms, 1)
    voucher, is_new = Voucher.objects.get_or_create(
        code=word, defaults={**_columns(terms, is_waiting=is_waiting), "created_by": created_by}
    )
    if not is_new:
        raise VoucherCodeTaken(_("There is such a code already."), param="code")
    _audit("voucher.created", voucher, created_by, ip, after=_said(terms) | {"code": word})
    return voucher


@transaction.atomic
def create_voucher_series(
    *,
    terms: VoucherTerms,
    size: int,
    fact_key: str,
    created_by: User | None = None,
    ip: str | None = None,
) -> VoucherSeries:
    """`size` random codes, once per `fact_key`. Raises VoucherInvalid.

    Worth more than the set amount, they are disabled until another operator enables them.
    """
    if not 1 <= size <= MOST_CODES:
        raise VoucherInvalid(_("A series has 1 to 10,000 codes."), param="size")
    is_waiting = _check(terms, size)
    series, is_new = VoucherSeries.objects.get_or_create(
        fact_key=fact_key,
        defaults={
            "reseller": terms.reseller,
            "campaign": terms.campaign.strip(),
            "size": size,
            "created_by": created_by,
        },
    )
    if is_new:
        columns = _columns(terms, is_waiting=is_waiting) | {"series": series, "created_by": created_by}
        Voucher.objects.bulk_create(Voucher(code=_random_code(), **columns) for _number in range(size))
        _audit("voucher_series.created", series, created_by, ip, after=_said(terms) | {"size": size})
    return series


@transaction.atomic
def hand_out_codes(
    *, series: VoucherSeries, handed_to: User | None = None, ip: str | None = None
) -> list[Voucher]:
    """The codes of a series, once. Raises CodesHandedOut."""
    [series] = lock_rows(VoucherSeries.objects.all(), [series.pk])
    if series.downloaded_at is not None:
        raise CodesHandedOut(_("The codes of this series were handed out before."))
    series.downloaded_at = timezone.now()
    series.downloaded_by = handed_to
    series.save(update_fields=["downloaded_at", "downloaded_by"])
    _audit("voucher_series.handed_out", series, handed_to, ip, after={"size": series.size})
    return list(series.vouchers.order_by("pk"))


@transaction.atomic
def switch_vouchers(
    *,
    vouchers: models.QuerySet[Voucher],
    enabled: bool,
    actor: User | None = None,
    ip: str | None = None,
) -> int:
    """Disable codes, or enable them again; returns how many changed. What they gave stays given.

    Raises SecondOperatorNeeded where they are worth more than the set amount and `actor` made them.
    """
    chosen = vouchers.filter(disabled_at__isnull=not enabled).values_list("pk", flat=True)
    locked = [
        voucher
        for voucher in lock_rows(Voucher.objects.all(), chosen)
        if (voucher.disabled_at is None) != enabled
    ]
    if enabled:
        _check_second_operator(locked, actor)
    moment = None if enabled else timezone.now()
    for voucher in locked:
        voucher.disabled_at = moment
        _audit(f"voucher.{'enabled' if enabled else 'disabled'}", voucher, actor, ip)
    Voucher.objects.bulk_update(locked, ["disabled_at"])
    return len(locked)


def redeem_voucher(
    *, organization: Organization, code: str, redeemed_by: User | None = None, ip: str | None = None
) -> VoucherRedemption:
    """Credit for a code, once for each organization. Raises one of the VoucherRefused classes.

    A wrong code is counted in a transaction of its own, which the refusal does not take back.
    """
    voucher_id = _find(organization, normalize_code(code))
    if voucher_id is None:
        raise VoucherUnknown(_("There is no such code. Check how it is written."), param="code")
    return _redeem(organization, voucher_id, redeemed_by, ip)


@transaction.atomic
def _find(organization: Organization, code: str) -> int | None:
    """The wallet's lock lets one try of an organization count before the next one looks."""
    lock_rows(Wallet.objects.all(), [organization.pk])
    misses = VoucherMiss.across_all_organizations.filter(organization=organization)
    since = timezone.now() - MISSES_COUNT_FOR
    if misses.filter(missed_at__gt=since).count() >= MISSES_ALLOWED:
        text = _("Too many wrong codes were tried. You can try again in an hour.")
        raise TooManyWrongCodes(text, param="code")
    found = Voucher.objects.filter(code=code).values_list("pk", "reseller_id").first()
    if found is None or found[1] != organization.reseller_id:
        misses.filter(missed_at__lte=since).delete()
        VoucherMiss.across_all_organizations.create(organization=organization)
    return found[0] if found else None


@transaction.atomic
def _redeem(
    organization: Organization, voucher_id: int, redeemed_by: User | None, ip: str | None
) -> VoucherRedemption:
    [voucher] = lock_rows(Voucher.objects.all(), [voucher_id])
    _check_redeemable(voucher, organization)
    days = voucher.credit_days
    grant: Grant = grant_credit(
        organization=organization,
        amount_nano=voucher.amount_nano,
        reason=f"{voucher.campaign} {voucher.shown_code}",
        fact_key=f"voucher:{voucher.pk}:{organization.pk}",
        kind=GrantKind.VOUCHER,
        campaign=voucher.campaign,
        expires_at=timezone.now() + timedelta(days=days) if days else None,
        granted_by=redeemed_by,
        ip=ip,
    )
    redemption: VoucherRedemption = VoucherRedemption.across_all_organizations.create(
        organization=organization, voucher=voucher, grant=grant, redeemed_by=redeemed_by
    )
    voucher.used += 1
    voucher.save(update_fields=["used"])
    return redemption


def _check_redeemable(voucher: Voucher, organization: Organization) -> None:
    """What an organization has from a code comes first: that it is used up since then is no news to it."""
    if voucher.reseller_id != organization.reseller_id:
        raise VoucherElsewhere(_("This code is not for this shop."), param="code")
    redeemed = VoucherRedemption.across_all_organizations.filter(voucher=voucher, organization=organization)
    if redeemed.exists():
        raise VoucherRedeemedBefore(_("Your organization has redeemed this code already."), param="code")
    if voucher.disabled_at is not None:
        raise VoucherDisabled(_("This code cannot be redeemed any more."), param="code")
    if voucher.expires_at is not None and voucher.expires_at <= timezone.now():
        raise VoucherExpired(_("This code has expired."), param="code")
    if voucher.is_used_up:
        raise VoucherUsedUp(_("This code has been used up."), param="code")


def _check(terms: VoucherTerms, size: int) -> bool:
    """True when a second operator has to enable what is made. Raises VoucherInvalid."""
    worth = terms.amount_nano * terms.max_uses * size
    wrong = {
        "campaign": not terms.campaign.strip(),
        "amount": terms.amount_nano <= 0,
        "max_uses": not 0 < terms.max_uses < 2**31,
        "credit_days": terms.credit_days is not None and not 0 < terms.credit_days <= 36_500,
        "expires_at": terms.expires_at is not None and terms.expires_at <= timezone.now(),
    }
    for name, is_wrong in wrong.items():
        if is_wrong:
            raise VoucherInvalid(_("This makes no voucher."), param=name)
    if worth > MOST_NANO:
        raise VoucherInvalid(_("That is more than can be counted."), param="amount")
    return needs_second_operator(worth)


def _check_second_operator(vouchers: list[Voucher], actor: User | None) -> None:
    """All that one operator made in one go counts together, so a large series cannot be enabled in parts."""
    series = {voucher.series_id for voucher in vouchers if voucher.series_id}
    made = [*Voucher.objects.filter(series_id__in=series), *(one for one in vouchers if not one.series_id)]
    worth = sum(one.amount_nano * one.max_uses for one in made)
    is_own = actor is not None and any(one.created_by_id == actor.pk for one in vouchers)
    if is_own and needs_second_operator(worth):
        raise SecondOperatorNeeded(_("Another operator enables these codes: they are over the limit."))


def _columns(terms: VoucherTerms, *, is_waiting: bool) -> dict[str, object]:
    return {
        **vars(terms),
        "campaign": terms.campaign.strip(),
        "disabled_at": timezone.now() if is_waiting else None,
    }


def _random_code() -> str:
    return "".join(secrets.choice(ALPHABET) for _position in range(CODE_LENGTH))


def _said(terms: VoucherTerms) -> dict[str, object]:
    expires = terms.expires_at.isoformat() if terms.expires_at else None
    return {**vars(terms), "reseller": terms.reseller.slug, "expires_at": expires}


def _audit(
    action: str,
    subject: models.Model,
    actor: User | None,
    ip: str | None,
    *,
    after: dict[str, object] | None = None,
) -> None:
    record_audit(action=action, subject=subject, actor=actor, after=after, ip=ip)
