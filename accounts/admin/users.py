from typing import TYPE_CHECKING, Any

from allauth.account.models import EmailAddress
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.db import models, transaction
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from typing_extensions import override
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from accounts.admin.audited import AuditedAdmin
from accounts.models import User
from common.admin import OperatorInline

if TYPE_CHECKING:  # Django's class takes no type arguments when it runs
    BaseUserAdmin = DjangoUserAdmin[User]
else:
    BaseUserAdmin = DjangoUserAdmin


class NewUserForm(UserCreationForm):  # type: ignore[misc] # unfold ships no types
    class Meta:
        model = User
        fields = ("email", "name")

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"]
        return email.lower()


class EmailAddressInline(OperatorInline):
    """Addresses as allauth knows them: people add and change their own, operators may vouch for one."""

    model = EmailAddress
    fields = ("email", "primary", "verified")
    readonly_fields = ("email", "primary")
    verbose_name_plural = _("e-mail addresses")

    @override
    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @override
    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(User)
class UserAdmin(AuditedAdmin, BaseUserAdmin):
    """People. Who leaves is made inactive: what they did keeps their name."""

    form = UserChangeForm
    add_form = NewUserForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("email", "name", "member_of", "is_staff", "is_active", "last_login", "date_joined")
    list_filter = ("is_staff", "is_active")
    search_fields = ("email", "name", "organizations__name")
    search_help_text = _("By e-mail, name or organization")
    ordering = ("-date_joined", "-pk")
    filter_horizontal = ()
    fieldsets = (
        (None, {"fields": ("email", "name", "password")}),
        (_("Access"), {"fields": ("is_active", "is_staff", "member_of")}),
        (_("Dates"), {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "name", "usable_password", "password1", "password2")}),)
    readonly_fields = ("email", "member_of", "last_login", "date_joined")
    inlines = (EmailAddressInline,)

    @override
    def get_queryset(self, request: HttpRequest) -> models.QuerySet[User]:
        return super().get_queryset(request).prefetch_related("organizations")

    @override
    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """An operator does not shut the door behind themselves."""
        if obj is None:
            return ()
        return (
            (*self.readonly_fields, "is_active", "is_staff") if obj == request.user else self.readonly_fields
        )

    @override
    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        return self.inlines if obj else ()

    @override
    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description=_("organizations"))
    def member_of(self, user: User) -> str:
        return ", ".join(organization.name for organization in user.organizations.all()) or "-"

    @transaction.atomic
    @override
    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        """With its audit event or not at all."""
        return super().user_change_password(request, id, form_url)
