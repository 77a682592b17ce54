"""An organization with what money knows of it: what its wallet holds, and the ways to its rows."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from accounts.admin.organizations import OrganizationAdmin
from accounts.models import Organization
from common.admin import detail_action, usd

LISTS = (
    ("accounts_apikey", _("API keys")),
    ("billing_usagerecord", _("usage records")),
    ("billing_lot", _("lots")),
    ("billing_adjustment", _("adjustments")),
    ("billing_grant", _("grants")),
    ("accounts_auditevent", _("audit events")),
)


@admin.register(Organization)
class OrganizationWithWalletAdmin(OrganizationAdmin):
    list_display = ["name", "balance", "reseller", "created_at"]
    list_select_related = ["reseller", "wallet"]
    fields = ["name", "reseller", "created_at", "balance", "lists"]
    readonly_fields = ["created_at", "balance", "lists"]
    actions_detail = ("grant_credit",)

    @admin.display(description=_("balance"), ordering="wallet__posted")
    def balance(self, organization: Organization) -> SafeString:
        address = reverse("admin:billing_wallet_change", args=[organization.pk])
        return format_html('<a class="text-link" href="{}">{}</a>', address, usd(organization.wallet.posted))

    @admin.display(description=_("more"))
    def lists(self, organization: Organization) -> SafeString:
        """The organization's rows in other lists."""
        addresses = (
            (f"{reverse(f'admin:{name}_changelist')}?organization__id__exact={organization.pk}", label)
            for name, label in LISTS
        )
        return format_html_join(" · ", '<a class="text-link" href="{}">{}</a>', addresses)

    @detail_action(_("Grant credit"), path="grant-credit", icon="add_card")
    def grant_credit(self, request: HttpRequest, object_id: str) -> HttpResponse:  # noqa: ARG002 - given
        return redirect("admin:billing_wallet_grant_credit", object_id)
