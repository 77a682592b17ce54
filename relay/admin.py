"""Operators' pages of traffic: channels and models with their routes.

Every change is announced, so that all processes offer the new catalogue within a second.
"""

from collections.abc import Callable, Container, Iterable
from functools import cache
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models, transaction
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from typing_extensions import override
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from accounts.admin.audited import AuditedAdmin, audit_difference, row_values
from billing.gate import prices_in_force
from common.admin import NOTHING, OperatorInline, RowForm, badge
from relay.catalog.reader import CAPABILITY, NAME, TOKEN_FIELDS, UPSTREAM, VISIBLE
from relay.models import Channel, LifecycleState, Model, Route
from relay.offers import load_offer_book

NAME_VALID = RegexValidator(rf"^{NAME.pattern}\Z", _("Up to 120 letters, digits and . _ : / @ + -"))
UPSTREAM_VALID = RegexValidator(rf"^{UPSTREAM.pattern}\Z", _("Visible ASCII characters without spaces"))


# No reseller has this number: it pays what the house asks.
WITHOUT_OWN_PRICES = 0


class WriteOnlyTextarea(forms.Textarea):
    """Never sends back what was typed: a form with a mistake elsewhere must not show a credential."""

    @override
    def format_value(self, value: Any) -> str:
        return ""


class CredentialField(forms.CharField):
    """A vendor's keys, one a line, as a tuple."""

    def __init__(self, **options: Any) -> None:
        looks = UnfoldAdminTextareaWidget().attrs
        widget = WriteOnlyTextarea(attrs={**looks, "rows": 2, "autocomplete": "off", "spellcheck": "false"})
        super().__init__(**{"widget": widget, "required": False, **options})

    @override
    def to_python(self, value: Any) -> Any:
        keys = tuple((super().to_python(value) or "").split())
        if not all(VISIBLE.fullmatch(key) for key in keys):
            raise ValidationError(_("A credential has up to 500 visible ASCII characters."))
        return keys


class ChannelForm(RowForm):
    new_api_keys = CredentialField(
        label=_("Replace credential"),
        help_text=_("One key a line; requests take turns. Empty: stays as it is. It is never shown again."),
    )
    without_api_keys = forms.BooleanField(
        label=_("Remove credential"), required=False, widget=UnfoldBooleanWidget()
    )

    @override
    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if values.get("new_api_keys") and values.get("without_api_keys"):
            self.add_error("without_api_keys", _("Replace the credential or remove it, not both."))
        return values


@admin.register(Channel)
class ChannelAdmin(AuditedAdmin):
    form = ChannelForm
    list_display = ("name", "vendor", "base_url", "credential", "priority", "weight", "is_enabled")
    list_filter = ("vendor", "is_enabled")
    search_fields = ("name", "base_url")
    fieldsets = (
        (None, {"fields": ("name", "vendor", "base_url", "is_enabled")}),
        (_("Credential"), {"fields": ("credential", "new_api_keys", "without_api_keys")}),
        (
            _("Share of the traffic"),
            {"fields": ("priority", "weight", "max_concurrency", "timeout_first_token_s")},
        ),
    )
    readonly_fields = ("credential",)
    actions = ("enable", "disable")
    announces = "catalog"

    @override
    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """The credential is sealed to the channel's name."""
        return ("name", *self.readonly_fields) if obj else self.readonly_fields

    @override
    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        if db_field.name == "base_url":
            options["assume_scheme"] = "https"
        field = super().formfield_for_dbfield(db_field, request, **options)
        if db_field.name == "name" and field is not None:
            field.validators.append(NAME_VALID)
        return field

    @override
    def save_model(self, request: HttpRequest, obj: Channel, form: Any, change: bool) -> None:
        if form.cleaned_data["new_api_keys"]:
            obj.set_api_keys(form.cleaned_data["new_api_keys"])
        elif form.cleaned_data["without_api_keys"]:
            obj.set_api_keys(())
        super().save_model(request, obj, form, change)

    @admin.display(description=_("credential"), ordering="sealed_api_keys")
    def credential(self, channel: Channel) -> SafeString:
        return badge(gettext("Set"), "success") if channel.has_credential else badge(gettext("Missing"))

    @admin.action(description=_("Enable the selected channels"))
    def enable(self, request: HttpRequest, queryset: models.QuerySet[Channel]) -> None:
        self._switch(request, queryset, is_enabled=True)

    @admin.action(description=_("Disable the selected channels"))
    def disable(self, request: HttpRequest, queryset: models.QuerySet[Channel]) -> None:
        self._switch(request, queryset, is_enabled=False)

    @transaction.atomic
    def _switch(self, request: HttpRequest, queryset: models.QuerySet[Channel], *, is_enabled: bool) -> None:
        for channel in queryset.select_for_update().order_by("pk"):
            before = row_values(channel)
            channel.is_enabled = is_enabled
            channel.save(update_fields=["is_enabled"])
            self.note_change(request, channel, before, row_values(channel))
        messages.success(request, gettext("Done: calls follow within a second."))


class NamesField(forms.CharField):
    """A list of names, written with commas between them."""

    @override
    def to_python(self, value: Any) -> Any:
        names = [name for part in (super().to_python(value) or "").split(",") if (name := part.strip())]
        for name in names:
            if not CAPABILITY.fullmatch(name):
                raise ValidationError(_("“%(name)s” is not a name like json_schema."), params={"name": name})
        return list(dict.fromkeys(names))

    @override
    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, list) else value

    @override
    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(self.prepare_value(initial), data)


class ModelForm(RowForm):
    capabilities = NamesField(
        label=_("Capabilities"),
        required=False,
        widget=UnfoldAdminTextInputWidget(),
        help_text=_("For example: vision, tools, json_schema, reasoning"),
    )
    max_tokens_field = forms.ChoiceField(
        label=_("Limit field"),
        choices=[(name, name) for name in TOKEN_FIELDS],
        widget=UnfoldAdminSelectWidget(),
        help_text=_("Which field the vendor takes the output limit in."),
    )

    @override
    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if values.get("max_output_tokens", 0) > values.get("context_window", 0):
            self.add_error("max_output_tokens", _("No more than the context window."))
        return values


class RouteInline(OperatorInline):
    model = Route
    fields = ("channel", "upstream_model")
    autocomplete_fields = ("channel",)
    ordering = ("channel__priority", "pk")

    @override
    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **options)
        if db_field.name == "upstream_model" and field is not None:
            field.validators.append(UPSTREAM_VALID)
        return field


@admin.register(Model)
class ModelAdmin(AuditedAdmin):
    form = ModelForm
    list_display = (
        "name",
        "owned_by",
        "channels_shown",
        "context_window",
        "lifecycle",
        "is_enabled",
        "offered",
    )
    list_filter = ("owned_by", "lifecycle", "is_enabled")
    search_fields = ("name", "owned_by", "route__upstream_model")
    fieldsets = (
        (None, {"fields": ("name", "owned_by", "is_enabled", "offered")}),
        (
            _("Limits"),
            {"fields": ("context_window", "max_output_tokens", "max_tokens_field", "capabilities")},
        ),
        (_("Lifecycle"), {"fields": ("lifecycle", "shutdown_on", "successor")}),
    )
    readonly_fields = ("offered",)
    inlines = (RouteInline,)
    announces = "catalog"

    @override
    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("route_set__channel")

    @override
    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """Whether models are offered is found out once for the whole list."""
        known = cache(_offers_and_prices)

        @admin.display(description=_("offered"))
        def offered(model: Model) -> SafeString:
            return _offered(model, *known())

        return [offered if name == "offered" else name for name in super().get_list_display(request)]

    @override
    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        """Prices and usage know a model by its name."""
        return ("name", *self.readonly_fields) if obj else self.readonly_fields

    @override
    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **options)
        if db_field.name == "name" and field is not None:
            field.validators.append(NAME_VALID)
        return field

    @override
    def log_deletions(self, request: HttpRequest, queryset: Iterable[Any]) -> Any:
        """The routes go with their model."""
        for model in queryset:
            for route in model.route_set.all():
                audit_difference(request, model, kind=Route, before=row_values(route), after=None)
        super().log_deletions(request, queryset)

    @admin.display(description=_("offered"))
    def offered(self, model: Model) -> SafeString:
        return _offered(model, *_offers_and_prices()) if model.pk else SafeString(NOTHING)

    @admin.display(description=_("channels"))
    def channels_shown(self, model: Model) -> SafeString:
        routes = ((route.channel.name, route.upstream_model) for route in model.route_set.all())
        return format_html_join(", ", '<span title="{1}">{0}</span>', routes) or SafeString(NOTHING)


def _offered(model: Model, offers: Container[str], has_price: Callable[[str], bool]) -> SafeString:
    """Whether customers can call the model, or else the first thing that stands in the way."""
    if not model.is_enabled:
        return badge(gettext("Disabled"))
    if model.lifecycle == LifecycleState.RETIRED:
        return badge(gettext("Retired"))
    if model.name not in offers:
        return badge(gettext("No channel in use"), "warning")
    if not has_price(model.name):
        return badge(gettext("No price"), "warning")
    return badge(gettext("Offered"), "success")


def _offers_and_prices() -> tuple[Container[str], Callable[[str], bool]]:
    tariffs = prices_in_force()
    return load_offer_book().offers, lambda name: tariffs.find(WITHOUT_OWN_PRICES, name) is not None
