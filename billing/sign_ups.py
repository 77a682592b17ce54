"""How many sign up from one network address in a day, kept no longer than that needs."""

from datetime import timedelta

from django.db import connection, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.alerts import raise_alert
from accounts.models import User
from billing.models import SignUp
from billing.terms import terms_of_reseller
from common.errors import AppError

COUNT_FOR = timedelta(days=1)
KEPT_FOR = timedelta(days=30)

# Held to the end of the transaction: of two at once from one address, the second counts the first.
ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended('sign-up:' || %s, 0))"


class TooManySignUps(AppError):
    """Nobody was signed up."""

    code = "too_many_sign_ups"
    http_status = 429


def check_sign_up(*, reseller_id: int, ip: str | None) -> None:
    """Raises TooManySignUps. An address that is not known bounds nothing."""
    if ip is None:
        return
    most = terms_of_reseller(reseller_id).most_sign_ups_per_address
    since = timezone.now() - COUNT_FOR
    if SignUp.objects.filter(address=ip, signed_up_at__gt=since).count() < most:
        return
    text = _("From your network %(count)d accounts were created within a day, and more are not possible now.")
    raise TooManySignUps(text % {"count": most} + " " + _("Try again tomorrow, or write to us."))


@transaction.atomic
def record_sign_up(*, user: User, reseller_id: int, ip: str | None) -> SignUp:
    """In the transaction that makes the user. Raises TooManySignUps."""
    if ip is not None:
        with connection.cursor() as cursor:
            cursor.execute(ONE_AT_A_TIME, [ip])
        check_sign_up(reseller_id=reseller_id, ip=ip)
    return SignUp.objects.create(user=user, address=ip)


def note_refused_sign_up(*, ip: str | None) -> None:
    """Tell operators, once for each address and counted. Outside of the transaction that was refused."""
    raise_alert(
        kind=TooManySignUps.code,
        subject=f"address {ip}",
        message=f"Sign-ups from {ip} are refused: too many in a day. If this is the address of your own"
        " proxy, it hides who signs up: let it pass the client's address on.",
    )


def forget_sign_ups() -> int:
    """Delete what is thirty days old; returns how many."""
    old = SignUp.objects.filter(signed_up_at__lte=timezone.now() - KEPT_FOR)
    return old.delete()[0]
