from django.contrib import admin, messages
from django.db import models
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from typing_extensions import override
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.enums import ActionVariant

from accounts.admin.audited import HistoryInAuditTrail, acting_operator
from accounts.models import APIKey
from accounts.services import revoke_api_key
from common.admin import ReadOnlyAdmin, badge, client_ip, detail_action


class RevokedFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    @override
    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("active", gettext("Active")), ("revoked", gettext("Revoked"))]

    @override
    def queryset(self, request: HttpRequest, queryset: models.QuerySet[APIKey]) -> models.QuerySet[APIKey]:
        if self.value() not in ("active", "revoked"):
            return queryset
        return queryset.filter(revoked_at__isnull=self.value() == "active")


@admin.register(APIKey)
class APIKeyAdmin(HistoryInAuditTrail, ReadOnlyAdmin):
    """Keys are made by their organizations, who alone see them; operators may revoke."""

    list_display = (
        "name", "masked_key", "organization", "state", "created_at", "last_used_at", "revoked_at"
    )  # fmt: skip
    list_select_related = ("organization",)
    list_filter = (RevokedFilter, ("organization", AutocompleteSelectFilter))
    list_filter_submit = True
    search_fields = ("name", "organization__name", "head", "tail")
    ordering = ("-created_at", "-pk")
    fields = (
        "name", "masked_key", "organization", "created_by", "created_at", "last_used_at", "revoked_at"
    )  # fmt: skip
    actions = ("revoke_selected",)
    actions_detail = ("revoke",)
    actions_detail_hide_default = False

    @admin.display(description=_("key"))
    def masked_key(self, api_key: APIKey) -> str:
        return api_key.masked

    @admin.display(description=_("state"))
    def state(self, api_key: APIKey) -> SafeString:
        return badge(gettext("Revoked")) if api_key.is_revoked else badge(gettext("Active"), "success")

    @detail_action(_("Revoke"), path="revoke", icon="block", variant=ActionVariant.DANGER)
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Asks first: a GET changes nothing."""
        api_key = get_object_or_404(self.get_queryset(request), pk=object_id)
        if request.method == "POST":
            revoke_api_key(api_key=api_key, actor=acting_operator(request), ip=client_ip(request))
            messages.success(request, gettext("%(key)s is revoked.") % {"key": api_key})
            return redirect("admin:accounts_apikey_change", object_id)
        return self.form_page(
            request,
            Form(),
            title=gettext("Revoke %(key)s") % {"key": api_key},
            submit=_("Revoke"),
            explanation=_("Calls with this key are refused from now on. This cannot be taken back."),
            original=api_key,
        )

    @admin.action(description=_("Revoke the selected API keys"))
    def revoke_selected(self, request: HttpRequest, queryset: models.QuerySet[APIKey]) -> None:
        for api_key in queryset:
            revoke_api_key(api_key=api_key, actor=acting_operator(request), ip=client_ip(request))
        messages.success(request, gettext("The selected API keys are revoked."))
