"""What a customer is told of auto-recharge: that a card could not be charged, that it will be again."""

from django.conf import settings
from django.core.mail import send_mail
from django.urls import reverse
from django.utils.translation import gettext as _

from accounts.models import Membership, Role
from billing.models import RechargeRule
from billing.stripe.charging import NO_TAX_LOCATION
from billing.stripe.customers import CUSTOMER_GONE
from billing.terms import minor_money

NEEDS_OWNER = "authentication_required"
MONEY_ROLES = (Role.OWNER, Role.ADMIN, Role.BILLING)


def mail_of_failure(rule: RechargeRule, reason: str) -> None:
    """`reason` is the last charge's `failure_code`."""
    threshold = _("Credit is below %(amount)s.") % {"amount": minor_money(rule.threshold_minor)}
    subject = _("Auto-recharge failed for %(organization)s") % {"organization": rule.organization.name}
    _mail(rule, subject, f"{_text(rule, reason)} {_address('top_ups')}\n\n{threshold}\n")


def mail_of_going_on(rule: RechargeRule) -> None:
    """Nobody's card is charged again after a dispute without their knowing."""
    text = _(
        "The dispute of your payment has ended, so auto-recharge is on again as you had set it."
        " To change it or turn it off:"
    )
    subject = _("Auto-recharge is on again for %(organization)s") % {"organization": rule.organization.name}
    _mail(rule, subject, f"{text} {_address('recharge')}\n")


def _mail(rule: RechargeRule, subject: str, text: str) -> None:
    """To everybody who may pay."""
    members = Membership.across_all_organizations.filter(
        organization_id=rule.organization_id, role__in=MONEY_ROLES, user__is_active=True
    )
    for address in members.values_list("user__email", flat=True):
        send_mail(subject, text, None, [address])


def _address(page: str) -> str:
    return f"{settings.PUBLIC_URL}{reverse(page)}"


def _text(rule: RechargeRule, reason: str) -> str:
    if reason == NEEDS_OWNER:
        return _(
            "Your bank wants you to confirm the payment yourself, so auto-recharge is off. Pay once here:"
        )
    if reason == CUSTOMER_GONE:
        return _("The saved card is not there any more, so auto-recharge is off. Pay once and save a card:")
    if reason == NO_TAX_LOCATION:
        return _(
            "The tax cannot be told without your address, so auto-recharge is off. Pay once and enter it:"
        )
    if rule.is_on:
        return _("The saved card could not be charged; we try again later. To pay another way:")
    return _("The saved card could not be charged again and again, so auto-recharge is off. Pay here:")
