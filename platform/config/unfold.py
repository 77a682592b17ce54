"""How the operators' admin site looks and what its side bar offers."""

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


def _icon(_request: HttpRequest) -> str:
    return static("img/favicon.svg")


def _list(model: str, title: str | Promise, icon: str) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": reverse_lazy(f"admin:{model}_changelist")}


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Farebox",
    "SITE_HEADER": "Farebox",
    "SITE_SUBHEADER": _("Operators"),
    "SITE_ICON": _icon,
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": _icon}],
    "ENVIRONMENT": "billing.web.context.environment",
    "DASHBOARD_CALLBACK": "billing.admin.dashboard.add_overview",
    "SHOW_LANGUAGES": True,
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "6px",
    "COLORS": {
        "primary": {
            "50": "#f0f9f5",
            "100": "#e5f3ed",
            "200": "#c3e5d7",
            "300": "#8fd0b6",
            "400": "#4fcb9d",
            "500": "#1d9a72",
            "600": "#0a6e51",
            "700": "#07573f",
            "800": "#064833",
            "900": "#053b2a",
            "950": "#02231a",
        },
    },
    "SIDEBAR": {
        "show_search": False,
        "navigation": [
            {
                "title": _("People"),
                "items": [
                    _list("accounts_organization", _("Organizations"), "apartment"),
                    _list("accounts_user", _("Users"), "person"),
                    _list("accounts_membership", _("Members"), "group"),
                    _list("accounts_apikey", _("API keys"), "key"),
                    _list("accounts_reseller", _("Resellers"), "storefront"),
                ],
            },
            {
                "title": _("Money"),
                "items": [
                    _list("billing_wallet", _("Wallets"), "account_balance_wallet"),
                    _list("billing_adjustment", _("Adjustments"), "approval"),
                    _list("billing_grant", _("Grants"), "add_card"),
                    _list("billing_lot", _("Lots"), "savings"),
                    _list("billing_topup", _("Top-ups"), "credit_card"),
                    _list("billing_unmatchedpayment", _("Unmatched payments"), "help"),
                    _list("billing_refund", _("Refunds"), "undo"),
                    _list("billing_dispute", _("Disputes"), "back_hand"),
                    _list("billing_fraudwarning", _("Fraud warnings"), "report"),
                    _list("billing_voucher", _("Vouchers"), "confirmation_number"),
                    _list("billing_voucherseries", _("Voucher series"), "style"),
                    _list("billing_priceversion", _("Price versions"), "sell"),
                    _list("billing_lease", _("Leases"), "hourglass_top"),
                ],
            },
            {
                "title": _("Terms"),
                "items": [
                    _list("billing_paymentterms", _("Payment terms"), "gavel"),
                    _list("billing_organizationterms", _("Customers' terms"), "handshake"),
                    _list("billing_taxrate", _("Tax rates"), "percent"),
                    _list("billing_campaign", _("Campaigns"), "campaign"),
                    _list("billing_referral", _("Referrals"), "group_add"),
                    _list("billing_signup", _("Sign-ups"), "how_to_reg"),
                ],
            },
            {
                "title": _("Traffic"),
                "items": [
                    _list("relay_channel", _("Channels"), "cable"),
                    _list("relay_model", _("Models"), "deployed_code"),
                    _list("billing_usagerecord", _("Usage records"), "receipt_long"),
                    _list("billing_usagerollup", _("Usage rollups"), "bar_chart"),
                ],
            },
            {
                "title": _("Ledger"),
                "items": [
                    _list("billing_ledgeraccount", _("Accounts"), "account_tree"),
                    _list("billing_ledgertransaction", _("Transactions"), "sync_alt"),
                    _list("billing_ledgerentry", _("Entries"), "list"),
                ],
            },
            {
                "title": _("Record"),
                "items": [
                    _list("accounts_operatoralert", _("Alerts"), "notifications"),
                    _list("accounts_auditevent", _("Audit events"), "history"),
                    _list("billing_booksreport", _("Books checks"), "rule"),
                    _list("billing_stripeevent", _("Stripe events"), "webhook"),
                    _list("billing_balancetransaction", _("Stripe's book"), "menu_book"),
                    _list("billing_settlementbatch", _("Settlement batches"), "inventory_2"),
                ],
            },
        ],
    },
}
