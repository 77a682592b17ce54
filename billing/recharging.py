"""Auto-recharge: when credit falls below what the customer set, the saved card is charged, within its bounds.

The attempt is committed before Stripe is called and there is one at a time, by a constraint. Its idempotency
key is made of its row: an answer that was lost is asked for again, never charged again. Failures wait longer
and longer, and the third in a row turns it off.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ParamSpec, TypeVar
from uuid import uuid4

import structlog
from django.db import transaction
from django.db.models import F, Q, QuerySet, Sum
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.alerts import raise_alert
from accounts.models import AlertSeverity, Organization, User
from accounts.services import record_audit
from billing.models import (
    Dispute,
    RechargeRule,
    SavedCard,
    TaxMode,
    TopUp,
    TopUpOrigin,
    TopUpState,
    Wallet,
    WalletStatus,
)
from billing.recharge_mails import NEEDS_OWNER, mail_of_failure
from billing.stripe.charging import (
    NO_TAX_LOCATION,
    CardCharge,
    calculate_tax,
    cancel_charge,
    charge_card,
    find_charge,
    forget_card,
)
from billing.stripe.client import (
    CardDeclined,
    StripeMissing,
    StripeRefused,
    StripeUnknown,
    is_test_mode,
    payments_are_on,
)
from billing.stripe.customers import CUSTOMER_GONE, customer_of, replace_customer
from billing.terms import NANO_PER_CENT, minor_money, tax_for, terms_of
from billing.top_ups import close_payment_page, reconcile_top_up
from common.errors import AppError
from common.locking import RowsBusy, lock_rows

WAITS = (timedelta(hours=1), timedelta(hours=6), timedelta(hours=24))
MOST_FAILURES = len(WAITS)
BURST, BURST_WITHIN = 3, timedelta(minutes=10)
# A call may still be on its way; after this its attempt is taken up by whoever sweeps.
LEFT_ALONE_FOR = timedelta(seconds=30)
# Stripe forgets idempotency keys after a day: from then on the call would be another one.
KEY_LIVES = timedelta(hours=23)
PAGES_LEFT_ALONE_FOR = timedelta(minutes=10)
IN_FLIGHT = (TopUpState.CREATED, TopUpState.PROCESSING, TopUpState.ACTION_REQUIRED)
# No use in trying again before the customer has done something.
NEEDS_CUSTOMER = (NEEDS_OWNER, NO_TAX_LOCATION)

log = structlog.get_logger(__name__)
Params = ParamSpec("Params")
Result = TypeVar("Result")


class RechargeInvalid(AppError):
    """The rule makes no sense as asked for; it is unchanged."""

    code = "recharge_invalid"


@dataclass(frozen=True, kw_only=True)
class RechargeTerms:
    """In cents: below `threshold` credit is filled up to `target`, within the customer's own bounds."""

    threshold_minor: int
    target_minor: int
    most_per_charge_minor: int
    most_per_day_minor: int
    most_per_month_minor: int


@transaction.atomic
def turn_on_recharge(
    *,
    organization: Organization,
    terms: RechargeTerms,
    card: SavedCard,
    turned_on_by: User | None = None,
    ip: str | None = None,
) -> RechargeRule:
    """From now on the card may be charged; what went wrong before is forgotten. Raises RechargeInvalid."""
    _check(organization, terms, card)
    lock_rows(Wallet.objects.all(), [organization.pk])
    rule, _is_new = RechargeRule.across_all_organizations.update_or_create(
        organization=organization,
        defaults={
            **vars(terms),
            "card": card,
            "is_on": True,
            "failures": 0,
            "retry_at": None,
            "turned_off_because": "",
            "mailed_at": None,
            "turned_on_by": turned_on_by,
            "turned_on_at": timezone.now(),
        },
    )
    _audit(rule, "turned_on", turned_on_by, ip, after={**vars(terms), "card": str(card)})
    return rule


@transaction.atomic
def turn_off_recharge(
    *, organization: Organization, because: str = "", actor: User | None = None, ip: str | None = None
) -> None:
    """A charge that is under way is not called back."""
    lock_rows(Wallet.objects.all(), [organization.pk])
    rule = RechargeRule.across_all_organizations.filter(organization=organization, is_on=True).first()
    if rule is not None:
        _turn_off(rule, because, actor=actor, ip=ip)


def remove_card(*, card: SavedCard, actor: User | None = None, ip: str | None = None) -> None:
    """Here and at Stripe; a rule that would charge it is off first. Raises StripeUnknown."""
    with transaction.atomic():
        lock_rows(Wallet.objects.all(), [card.organization_id])
        for rule in RechargeRule.across_all_organizations.filter(card=card, is_on=True):
            _turn_off(rule, "card_removed", actor=actor, ip=ip)
        SavedCard.across_all_organizations.filter(pk=card.pk, removed_at=None).update(
            removed_at=timezone.now()
        )
    forget_card(card.payment_method_id)


def sweep_recharges(now: datetime | None = None) -> int:
    """Go on with what is under way, start what is due; returns how many charges were begun."""
    if not payments_are_on():
        return 0
    moment = now or timezone.now()
    for top_up in _left_alone(moment):
        _unless_busy(charge, top_up)
    begun = [_unless_busy(start, rule, moment) for rule in _due(moment)]
    for attempt in filter(None, begun):
        _unless_busy(charge, attempt)
    return sum(attempt is not None for attempt in begun)


def start(rule: RechargeRule, now: datetime) -> TopUp | None:
    """Commit one attempt, after a last look under the wallet's lock; None where there is no need for one."""
    if _is_being_paid(rule.organization_id, now):
        return None
    with transaction.atomic():
        [wallet] = lock_rows(Wallet.objects.all(), [rule.organization_id])
        [rule] = lock_rows(RechargeRule.across_all_organizations.all(), [rule.pk])
        _clear_after_payment(rule)
        if not _may_charge(rule, wallet, now):
            return None
        amount = _amount(rule, wallet, now)
        if amount is None:
            return None
        if _is_burst(rule, now):
            _turn_off(rule, "burst")
            raise_alert(
                kind="recharge_burst",
                subject=f"organization {rule.organization_id}",
                message=f"Auto-recharge wanted a charge more than {BURST} times in ten minutes; it is off.",
            )
            return None
        return _attempt(rule, amount)


def charge(top_up: TopUp) -> TopUp:
    """Ask Stripe for the money of an attempt, or what became of it; as often as it takes.

    Raises StripeUnknown; then the same again goes on.
    """
    known = TopUp.across_all_organizations.select_related("organization__reseller", "card").get(pk=top_up.pk)
    if known.has_ended:
        return known
    if known.payment_intent_id is None:
        _ask_for_money(known)
    try:
        row = reconcile_top_up(known.pk)
    except StripeMissing:
        _lose_sight(known)
    else:
        _conclude(row)
    known.refresh_from_db()
    return known


def _ask_for_money(top_up: TopUp) -> None:
    customer_id = customer_of(top_up.organization)
    is_fresh = timezone.now() - top_up.created_at < KEY_LIVES
    try:
        if is_fresh:
            intent = _charge_at_stripe(_with_tax(top_up, customer_id), customer_id)
        else:
            intent = _find(top_up, customer_id)
    except CardDeclined as error:
        _note_decline(top_up, error)
        return
    except StripeRefused as error:
        _fail(top_up, _why_refused(top_up, customer_id, error))
        return
    if intent is None:
        _fail(top_up, "unknown_outcome")
    else:
        TopUp.across_all_organizations.filter(pk=top_up.pk, payment_intent_id=None).update(
            payment_intent_id=intent, state=TopUpState.PROCESSING
        )


def _charge_at_stripe(top_up: TopUp, customer_id: str) -> str | None:
    assert top_up.card is not None  # noqa: S101 - an attempt is made with one
    order = CardCharge(
        top_up_id=top_up.pk,
        customer_id=customer_id,
        payment_method_id=top_up.card.payment_method_id,
        currency=top_up.currency,
        amount=top_up.amount_minor + top_up.tax_minor,
        tax_calculation_id=top_up.tax_calculation_id,
    )
    try:
        return charge_card(order)
    except StripeUnknown as error:
        if not error.key_is_spent:
            raise
        found = _find(top_up, customer_id)  # Stripe failed under this key for good, perhaps after the charge
        if found is None and timezone.now() - top_up.created_at < timedelta(hours=1):
            raise
        return found


def _with_tax(top_up: TopUp, customer_id: str) -> TopUp:
    """Stripe Tax is asked before the card is charged, and what it said is committed: asking again for the
    money asks for the same. Without an answer nothing is charged."""
    if not top_up.taxed_by_stripe or top_up.tax_calculation_id:
        return top_up
    made = calculate_tax(
        top_up_id=top_up.pk, customer_id=customer_id, currency=top_up.currency, amount=top_up.amount_minor
    )
    rows = TopUp.across_all_organizations.filter(pk=top_up.pk)
    rows.filter(tax_calculation_id="", payment_intent_id=None).update(
        tax_calculation_id=made.calculation_id, tax_minor=made.tax
    )
    return rows.select_related("organization__reseller", "card").get()


def _find(top_up: TopUp, customer_id: str) -> str | None:
    since = top_up.created_at - timedelta(minutes=5)
    return find_charge(customer_id=customer_id, top_up_id=top_up.pk, since=since)


def _note_decline(top_up: TopUp, error: CardDeclined) -> None:
    """Called off first, so that nobody can make it succeed later."""
    if error.payment_intent_id is not None:
        cancel_charge(error.payment_intent_id)
    _fail(top_up, error.decline_code or error.stripe_code, payment_intent_id=error.payment_intent_id)


def _why_refused(top_up: TopUp, customer_id: str, error: StripeRefused) -> str:
    """A card whose customer is gone is charged no more: replacing the customer turns the rule off."""
    if isinstance(error, StripeMissing) and replace_customer(top_up.organization, customer_id) is not None:
        return CUSTOMER_GONE
    return error.stripe_code or error.code


def _lose_sight(top_up: TopUp) -> None:
    """Stripe knows nothing of a charge that it made for us: only the account it was made at can tell."""
    _fail(top_up, "missing_at_stripe")
    intent = TopUp.across_all_organizations.values_list("payment_intent_id", flat=True).get(pk=top_up.pk)
    raise_alert(
        kind="recharge_missing_at_stripe",
        subject=str(top_up.pk),
        message=f"Stripe does not know {intent}, a charge of {top_up.organization}. If our account is "
        "another one now, look at the old one: if it was paid there, refund it there or record a transfer.",
        severity=AlertSeverity.CRITICAL,
    )


def _conclude(row: TopUp) -> None:
    """What Stripe tells of an attempt that is not paid, when nobody declined it to our face."""
    if row.state == TopUpState.ACTION_REQUIRED and row.payment_intent_id:
        cancel_charge(row.payment_intent_id)
        _fail(row, NEEDS_OWNER)
    elif row.state != TopUpState.PAID and not row.has_ended and row.failure_code:
        _fail(row, row.failure_code)


@transaction.atomic
def _fail(top_up: TopUp, reason: str, *, payment_intent_id: str | None = None) -> None:
    """Once for each attempt; a payment that comes after all still becomes credit."""
    lock_rows(Wallet.objects.all(), [top_up.organization_id])
    [row] = lock_rows(TopUp.across_all_organizations.all(), [top_up.pk])
    if row.has_ended:
        return
    row.state, row.failure_code, row.ended_at = TopUpState.FAILED, reason[:100], timezone.now()
    row.payment_intent_id = row.payment_intent_id or payment_intent_id
    row.save(update_fields=["state", "failure_code", "ended_at", "payment_intent_id"])
    rule = RechargeRule.across_all_organizations.filter(organization_id=row.organization_id).first()
    if rule is None:
        return
    rule.failures += 1
    rule.retry_at = timezone.now() + WAITS[min(rule.failures, MOST_FAILURES) - 1]
    rule.save(update_fields=["failures", "retry_at"])
    if rule.is_on and (reason in NEEDS_CUSTOMER or rule.failures >= MOST_FAILURES):
        _turn_off(rule, reason if reason in NEEDS_CUSTOMER else "three_failures")
    _tell_once(rule, reason)


def _due(now: datetime) -> list[RechargeRule]:
    """Rules whose wallet is below the threshold; debts count."""
    credit = F("organization__wallet__posted") - F("organization__wallet__receivable")
    rules = RechargeRule.across_all_organizations.filter(is_on=True).annotate(credit=credit)
    waiting = Q(retry_at__isnull=True) | Q(retry_at__lte=now)
    return list(rules.filter(waiting, credit__lt=F("threshold_minor") * NANO_PER_CENT).order_by("pk"))


def _left_alone(now: datetime) -> list[TopUp]:
    rows = TopUp.across_all_organizations.filter(origin=TopUpOrigin.RECHARGE, state__in=IN_FLIGHT)
    old = Q(checked_at__isnull=True) | Q(checked_at__lt=now - LEFT_ALONE_FOR)
    return list(rows.filter(old, created_at__lt=now - LEFT_ALONE_FOR).order_by("pk"))


def _is_being_paid(organization_id: int, now: datetime) -> bool:
    """Who has a payment page open pays by hand, and need not be charged as well; what they paid is booked. A
    page that was left lying is closed: nobody can pay there beside the charge."""
    rows = _rows(organization_id).filter(origin=TopUpOrigin.CHECKOUT, state=TopUpState.OPEN)
    for page in rows.filter(created_at__lte=now - PAGES_LEFT_ALONE_FOR).order_by("pk"):
        close_payment_page(page)
    fresh = rows.filter(created_at__gt=now - PAGES_LEFT_ALONE_FOR).order_by("pk")
    return any(reconcile_top_up(page.pk).state == TopUpState.OPEN for page in fresh)


def _may_charge(rule: RechargeRule, wallet: Wallet, now: datetime) -> bool:
    """Below the threshold still, nothing under way, nothing that speaks against it."""
    rows = _rows(rule.organization_id)
    return (
        rule.is_on
        and not rule.waits(now)
        and wallet.status != WalletStatus.FROZEN
        and wallet.posted - wallet.receivable < rule.threshold_minor * NANO_PER_CENT
        and not rows.filter(origin=TopUpOrigin.RECHARGE, state__in=IN_FLIGHT).exists()
        and not Dispute.across_all_organizations.filter(
            organization_id=rule.organization_id, closed_at=None
        ).exists()
    )


def _amount(rule: RechargeRule, wallet: Wallet, now: datetime) -> int | None:
    """One charge that lifts credit above the threshold, within every bound; None where none can."""
    has = (wallet.posted - wallet.receivable) // NANO_PER_CENT
    under_way = _sum(_rows(rule.organization_id).filter(state=TopUpState.PROCESSING))
    held = _sum(_rows(rule.organization_id).filter(held_until__gt=now, unlocked_at=None))
    missing = rule.target_minor - has - under_way - held
    bounds = terms_of(rule.organization)
    amount = min(missing, rule.most_per_charge_minor, bounds.most_minor, _left(rule, now))
    if amount < bounds.least_minor or has + under_way + held + amount <= rule.threshold_minor:
        return None
    return amount


def _left(rule: RechargeRule, now: datetime) -> int:
    """Of what the customer allows per day and month (UTC), less what was charged or may yet be."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    charged = _rows(rule.organization_id).filter(
        Q(state=TopUpState.PAID) | Q(state__in=IN_FLIGHT), origin=TopUpOrigin.RECHARGE
    )
    today = _sum(charged.filter(created_at__gte=midnight))
    this_month = _sum(charged.filter(created_at__gte=midnight.replace(day=1)))
    return min(rule.most_per_day_minor - today, rule.most_per_month_minor - this_month)


def _is_burst(rule: RechargeRule, now: datetime) -> bool:
    rows = _rows(rule.organization_id).filter(origin=TopUpOrigin.RECHARGE)
    return rows.filter(created_at__gt=now - BURST_WITHIN).count() >= BURST


def _attempt(rule: RechargeRule, amount_minor: int) -> TopUp:
    tax = tax_for(rule.organization, amount_minor)
    attempt: TopUp = _rows(rule.organization_id).create(
        organization_id=rule.organization_id,
        origin=TopUpOrigin.RECHARGE,
        attempt_key=f"recharge-{uuid4().hex}",
        amount_minor=amount_minor,
        tax_minor=tax.tax_minor,
        taxed_by_stripe=tax.mode == TaxMode.STRIPE,
        card=rule.card,
        livemode=not is_test_mode(),
        requested_by=rule.turned_on_by,
    )
    after = {"amount_minor": amount_minor, "top_up": str(attempt.pk)}
    _audit(rule, "charged", None, None, after=after)
    return attempt


def _clear_after_payment(rule: RechargeRule) -> None:
    """Whatever was paid since the last failure, by hand or not: the next one counts as the first."""
    if not rule.failures:
        return
    rows = _rows(rule.organization_id)
    failed = rows.filter(origin=TopUpOrigin.RECHARGE, state=TopUpState.FAILED).order_by("-ended_at").first()
    if failed is not None and rows.filter(state=TopUpState.PAID, ended_at__gt=failed.ended_at).exists():
        rule.failures, rule.retry_at, rule.mailed_at = 0, None, None
        rule.save(update_fields=["failures", "retry_at", "mailed_at"])


def _turn_off(rule: RechargeRule, because: str, *, actor: User | None = None, ip: str | None = None) -> None:
    rule.is_on, rule.turned_off_because = False, because
    rule.save(update_fields=["is_on", "turned_off_because"])
    _audit(rule, "turned_off", actor, ip, after={"because": because})


def _tell_once(rule: RechargeRule, reason: str) -> None:
    """One mail for an episode of failures, and one more when it ends with being turned off."""
    if rule.mailed_at is not None and rule.is_on:
        return
    rule.mailed_at = timezone.now()
    rule.save(update_fields=["mailed_at"])
    transaction.on_commit(lambda: mail_of_failure(rule, reason), robust=True)


def _check(organization: Organization, terms: RechargeTerms, card: SavedCard) -> None:
    bounds = terms_of(organization)
    wrong = {
        "threshold": terms.threshold_minor <= 0,
        "target": terms.target_minor - terms.threshold_minor < bounds.least_minor,
        "most_per_charge": terms.most_per_charge_minor < terms.target_minor,
        "most_per_day": terms.most_per_day_minor < terms.most_per_charge_minor,
        "most_per_month": terms.most_per_month_minor < terms.most_per_day_minor,
        "card": card.removed_at is not None or card.organization_id != organization.pk,
    }
    words = {
        "threshold": _("More than nothing."),
        "target": _("At least %(amount)s above the threshold.") % {"amount": minor_money(bounds.least_minor)},
        "most_per_charge": _("At least what it is filled up to, so that one charge is enough."),
        "most_per_day": _("At least what one charge may be."),
        "most_per_month": _("At least what a day may cost."),
        "card": _("This card is not here any more."),
    }
    for name, is_wrong in wrong.items():
        if is_wrong:
            raise RechargeInvalid(words[name], param=name)


def _unless_busy(
    step: Callable[Params, Result], *args: Params.args, **kwargs: Params.kwargs
) -> Result | None:
    """What cannot be told or done now, the next sweep finds again."""
    try:
        return step(*args, **kwargs)
    except (StripeUnknown, StripeRefused, RowsBusy) as error:
        log.warning("recharge_put_off", error=error.code)
        return None


def _rows(organization_id: int) -> QuerySet[TopUp]:
    rows: QuerySet[TopUp] = TopUp.across_all_organizations.filter(organization_id=organization_id)
    return rows


def _sum(rows: QuerySet[TopUp]) -> int:
    return int(rows.aggregate(total=Sum("amount_minor"))["total"] or 0)


def _audit(
    rule: RechargeRule, verb: str, actor: User | None, ip: str | None, *, after: dict[str, object]
) -> None:
    record_audit(
        action=f"recharge.{verb}",
        subject=rule,
        actor=actor,
        organization=rule.organization,
        after=after,
        ip=ip,
    )
