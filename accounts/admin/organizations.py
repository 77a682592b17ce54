from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _
from typing_extensions import override
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.widgets import UnfoldAdminEmailInputWidget

from accounts.admin.audited import AuditedAdmin, audit_difference, audit_events_of, row_values
from accounts.models import Membership, Organization, Reseller, Role, User
from common.admin import InlineFormSet, OperatorInline, ReadOnlyAdmin, RowForm
from common.models import organization_scope


@admin.register(Reseller)
class ResellerAdmin(AuditedAdmin):
    list_display = ("name", "slug", "is_house", "created_at")
    search_fields = ("name", "slug")
    ordering = ("name",)
    fields = ("name", "slug", "is_house", "created_at")
    readonly_fields = ("is_house", "created_at")
    announces = "catalog"

    @override
    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Storefronts and scripts know a reseller by its slug."""
        return ("slug", *self.readonly_fields) if obj else self.readonly_fields

    @override
    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class NewOrganizationForm(RowForm):
    owner = forms.EmailField(
        label=_("Owner's e-mail"),
        help_text=_("Of a person who has an account. More members can be added afterwards."),
        widget=UnfoldAdminEmailInputWidget(),
    )

    def clean_owner(self) -> User:
        owner = User.objects.filter(email=self.cleaned_data["owner"].lower()).first()
        if owner is None:
            raise ValidationError(_("Nobody has an account with this address."))
        return owner


class MembersFormSet(InlineFormSet):
    @override
    def clean(self) -> None:
        """An organization without an owner could not be looked after by its own people."""
        super().clean()
        kept = [form.cleaned_data for form in self.forms if form.cleaned_data.get("user")]
        if not any(one["role"] == Role.OWNER and not one.get("DELETE") for one in kept):
            raise ValidationError(_("An organization has at least one owner."))


class MembershipInline(OperatorInline):
    model = Membership
    formset = MembersFormSet
    fields = ("user", "role", "created_at")
    readonly_fields = ("created_at",)
    autocomplete_fields = ("user",)
    ordering = ("created_at", "pk")


class OrganizationAdmin(AuditedAdmin):
    """A customer as accounts know it; `billing.admin` registers it with what money adds."""

    list_display = ["name", "reseller", "created_at"]
    list_select_related = ["reseller"]
    list_filter = (("reseller", AutocompleteSelectFilter),)
    list_filter_submit = True
    search_fields = ("name", "members__email", "pk__exact")
    search_help_text = _("By name, number or a member's e-mail")
    ordering = ("-created_at", "-pk")
    fields = ["name", "reseller", "created_at"]
    add_fieldsets = ((None, {"fields": ("name", "reseller", "owner")}),)
    readonly_fields = ["created_at"]
    inlines = (MembershipInline,)

    @override
    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is None:
            kwargs["form"] = NewOrganizationForm
        return super().get_form(request, obj, change, **kwargs)

    @override
    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Usage and prices of the past belong to the reseller they were made under."""
        return ("reseller", *self.readonly_fields) if obj else self.readonly_fields

    @override
    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        return self.inlines if obj else ()

    @override
    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @override
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """The forms of members look for them inside the organization, also while the page is drawn."""
        if object_id is None or not object_id.isdecimal():
            return super().changeform_view(request, object_id, form_url, extra_context)
        with organization_scope(int(object_id)):
            response = super().changeform_view(request, object_id, form_url, extra_context)
            return response.render() if isinstance(response, TemplateResponse) else response

    @override
    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Of the organization and all that belongs to it."""
        return redirect(audit_events_of(organization__id__exact=object_id))

    @override
    def save_model(self, request: HttpRequest, obj: Organization, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not change:
            owner = Membership.across_all_organizations.create(
                organization=obj, user=form.cleaned_data["owner"], role=Role.OWNER
            )
            audit_difference(request, obj, kind=Membership, before=None, after=row_values(owner))


@admin.register(Membership)
class MembershipAdmin(ReadOnlyAdmin):
    """Who belongs where; changed on the organization's page, which sees to it that an owner stays."""

    list_display = ("user", "organization", "role", "created_at")
    list_select_related = ("user", "organization")
    list_filter = ("role", ("organization", AutocompleteSelectFilter), ("user", AutocompleteSelectFilter))
    list_filter_submit = True
    search_fields = ("user__email", "user__name", "organization__name")
    ordering = ("-created_at", "-pk")
    fields = ("user", "organization", "role", "created_at")
