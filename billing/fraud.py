"""Payments that were probably fraud: stop the spending first, ask afterwards."""

from django.db import transaction
from django.utils import timezone

from accounts.alerts import raise_alert, resolve_alert
from accounts.models import AlertSeverity, Organization, User
from accounts.services import record_audit
from billing.facts import WarningFacts
from billing.freezing import freeze_wallet
from billing.models import FraudWarning, RechargeRule, TopUp, TopUpState, Wallet
from billing.terms import terms_of
from common.locking import lock_rows

ALERT = "fraud_warning"
RECHARGE_OFF = "disputed"


@transaction.atomic
def book_warning(facts: WarningFacts) -> FraudWarning | None:
    """Once per warning: what operators do after it is not undone by hearing of it again.

    None where no paid top-up has this payment.
    """
    top_up = TopUp.across_all_organizations.filter(
        payment_intent_id=facts.payment_intent_id, state=TopUpState.PAID
    ).first()
    if top_up is None:
        return None
    lock_rows(Wallet.objects.all(), [top_up.organization_id])
    warning, is_new = FraudWarning.across_all_organizations.get_or_create(
        warning_id=facts.warning_id,
        defaults={
            "organization_id": top_up.organization_id,
            "top_up": top_up,
            "fraud_type": facts.fraud_type[:60],
        },
    )
    if is_new:
        warning.froze_wallet = stop_spending(
            top_up.organization,
            because=f"Early fraud warning for the payment {facts.payment_intent_id}: {facts.fraud_type}",
            is_fraud=True,
        )
        warning.save(update_fields=["froze_wallet"])
        _tell(warning)
    return warning


@transaction.atomic
def settle_warning(*, warning: FraudWarning, actor: User, ip: str | None = None) -> FraudWarning:
    """An operator has seen to it. Twice is once."""
    [warning] = lock_rows(FraudWarning.across_all_organizations.all(), [warning.pk])
    if warning.settled_at is None:
        warning.settled_at = timezone.now()
        warning.save(update_fields=["settled_at"])
        record_audit(
            action="fraud_warning.settled",
            subject=warning,
            actor=actor,
            organization=warning.organization,
            after={"warning": warning.warning_id},
            ip=ip,
        )
        resolve_alert(kind=ALERT, subject=warning.warning_id, actor=actor, ip=ip)
    return warning


def stop_spending(organization: Organization, *, because: str, is_fraud: bool) -> bool:
    """Under the wallet's lock. No card of theirs is charged by itself any more; where it looks like fraud and
    the reseller's terms say so, the wallet is frozen until an operator lifts that. Returns whether it is."""
    rules = RechargeRule.across_all_organizations.filter(organization=organization, is_on=True)
    rules.update(is_on=False, turned_off_because=RECHARGE_OFF)
    freezes = is_fraud and terms_of(organization).freezes_on_fraud_warning
    if freezes:
        freeze_wallet(organization=organization, reason=because)
    return freezes


def _tell(warning: FraudWarning) -> None:
    frozen = " The wallet is frozen." if warning.froze_wallet else ""
    raise_alert(
        kind=ALERT,
        subject=warning.warning_id,
        message=f"{warning.organization}: a payment is probably fraud ({warning.fraud_type}).{frozen} "
        "A refund now is cheaper than the dispute that follows.",
        severity=AlertSeverity.CRITICAL,
    )
