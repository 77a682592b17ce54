"""Payments that were probably fraud: stop the spending first, ask afterwards, and let it go on in the end."""

from django.db import transaction
from django.utils import timezone

from accounts.alerts import raise_alert, resolve_alert
from accounts.models import AlertSeverity, Organization, User
from accounts.services import record_audit
from billing.facts import WarningFacts
from billing.freezing import freeze_wallet, lift_freeze
from billing.models import (
    Dispute,
    DisputeOutcome,
    FraudWarning,
    FreezeCause,
    RechargeRule,
    TopUp,
    TopUpState,
    Wallet,
    WalletStatus,
)
from billing.recharge_mails import mail_of_going_on
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
            cause=FreezeCause.FRAUD_WARNING,
            subject=facts.warning_id,
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


def stop_spending(
    organization: Organization, *, cause: FreezeCause, subject: str, because: str, is_fraud: bool
) -> bool:
    """Under the wallet's lock. No card of theirs is charged by itself any more; where it looks like fraud and
    the reseller's terms say so, the wallet is frozen until this is over. Returns whether it is."""
    rules = RechargeRule.across_all_organizations.filter(organization=organization, is_on=True)
    rules.update(is_on=False, turned_off_because=RECHARGE_OFF)
    freezes = is_fraud and terms_of(organization).freezes_on_fraud_warning
    if freezes:
        freeze_wallet(organization=organization, cause=cause, subject=subject, reason=because)
    return freezes


def let_spend_again(organization: Organization, *, cause: FreezeCause, subject: str, because: str) -> None:
    """Under the wallet's lock, when what stopped it has ended well and that is written down.

    Only its own freeze is lifted. Auto-recharge is on again as the customer had left it, where nothing else
    speaks against their payments, and they are told.
    """
    wallet = lift_freeze(organization=organization, cause=cause, subject=subject, reason=because)
    rule = RechargeRule.across_all_organizations.filter(
        organization=organization,
        is_on=False,
        turned_off_because=RECHARGE_OFF,
        card__removed_at=None,
        card__isnull=False,
    ).first()
    if rule is None or wallet.status == WalletStatus.FROZEN or _is_suspected(rule):
        return
    rule.is_on, rule.turned_off_because = True, ""
    rule.save(update_fields=["is_on", "turned_off_because"])
    record_audit(
        action="recharge.turned_on",
        subject=rule,
        actor=None,
        organization=organization,
        after={"because": because},
    )
    transaction.on_commit(lambda: mail_of_going_on(rule), robust=True)


def _is_suspected(rule: RechargeRule) -> bool:
    """Whether another dispute, or a warning since the customer turned it on, may have stopped it as well."""
    disputes = Dispute.across_all_organizations.filter(
        organization_id=rule.organization_id, withdrawn_at__isnull=False
    )
    warnings = FraudWarning.across_all_organizations.filter(organization_id=rule.organization_id)
    if rule.turned_on_at is not None:
        warnings = warnings.filter(received_at__gte=rule.turned_on_at)
    return disputes.exclude(outcome=DisputeOutcome.WON).exists() or warnings.exists()


def _tell(warning: FraudWarning) -> None:
    frozen = " The wallet is frozen." if warning.froze_wallet else ""
    raise_alert(
        kind=ALERT,
        subject=warning.warning_id,
        message=f"{warning.organization}: a payment is probably fraud ({warning.fraud_type}).{frozen} "
        "A refund now is cheaper than the dispute that follows.",
        severity=AlertSeverity.CRITICAL,
    )
