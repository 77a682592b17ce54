from django import template
from django.template import Context

from billing.referrals import referral_campaign

register = template.Library()


@register.simple_tag(takes_context=True)
def may_refer(context: Context) -> bool:
    """Whether bringing customers gives anything now: only then there is a page for it."""
    organization = getattr(context.get("request"), "organization", None)
    return organization is not None and referral_campaign(organization) is not None
