"""On what terms resellers and single customers pay in, and the tax on top."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from typing_extensions import override
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from accounts.admin.audited import AuditedAdmin
from billing.admin.amounts import CentsField, PercentField, cents_column, percent_column
from billing.models import OrganizationTerms, PaymentTerms, TaxRate
from common.admin import RowForm
from common.models import organization_scope

RATE = percent_column("parts_per_million", _("rate"))
SMALLEST, LARGEST = _("Smallest top-up, USD"), _("Largest top-up, USD")


def _default(name: str) -> int:
    """A field that is declared here does not take the model's by itself."""
    value: int = getattr(PaymentTerms(), name)
    return value


class PaymentTermsForm(RowForm):
    least_minor = CentsField(label=SMALLEST, initial=_default("least_minor"))
    most_minor = CentsField(label=LARGEST, initial=_default("most_minor"))
    first_most_minor = CentsField(
        label=_("Largest first top-up, USD"),
        initial=_default("first_most_minor"),
        help_text=_("Until something a customer paid is credited, all its payments count together."),
    )
    hold_over_minor = CentsField(
        label=_("Hold a first top-up above, USD"),
        initial=_default("hold_over_minor"),
        help_text=_("It is paid, and becomes credit later."),
    )

    @override
    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        least = values.get("least_minor")
        if least is not None and least <= 0:
            self.add_error("least_minor", _("The smallest top-up is more than nothing."))
        for name in ("most_minor", "first_most_minor"):
            if None not in (least, values.get(name)) and values[name] < least:
                self.add_error(name, _("This is less than the smallest top-up."))
        if values.get("terms_url") and not values.get("terms_version"):
            self.add_error("terms_version", _("Say which version is accepted."))
        return values


@admin.register(PaymentTerms)
class PaymentTermsAdmin(AuditedAdmin):
    """Without a row a reseller has the defaults."""

    form = PaymentTermsForm
    list_display = (
        "reseller",
        cents_column("least_minor", _("smallest")),
        cents_column("most_minor", _("largest")),
        cents_column("first_most_minor", _("largest first")),
        cents_column("hold_over_minor", _("held above")),
        "hold_hours",
        "tax_mode",
    )
    list_select_related = ("reseller",)
    search_fields = ("reseller__name", "reseller__slug")
    ordering = ("reseller__name",)
    fieldsets = (
        (
            None,
            {"fields": ("reseller", "least_minor", "most_minor", "tax_mode", "terms_url", "terms_version")},
        ),
        (
            _("First payments"),
            {"fields": ("first_most_minor", "hold_over_minor", "hold_hours", "three_d_secure_first")},
        ),
        (
            _("Against abuse"),
            {
                "fields": (
                    "most_attempts_per_hour",
                    "most_cards_per_day",
                    "most_customers_per_card",
                    "most_sign_ups_per_address",
                    "freezes_on_fraud_warning",
                ),
                "description": _("What is refused or held raises an alert, with how often it happened."),
            },
        ),
    )

    @override
    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("reseller",) if obj else ()


class OrganizationTermsForm(RowForm):
    least_minor = CentsField(label=SMALLEST, required=False)
    most_minor = CentsField(label=LARGEST, required=False)

    @override
    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        for name in ("least_minor", "most_minor"):
            if values.get(name) == 0:
                self.add_error(name, _("The amount is more than nothing."))
        least, most = values.get("least_minor"), values.get("most_minor")
        if least and most and most < least:
            self.add_error("most_minor", _("This is less than the smallest top-up."))
        return values

    def _post_clean(self) -> None:
        """Whether the customer has terms already is looked up among its own rows."""
        organization = self.cleaned_data.get("organization") or getattr(
            self.instance, "organization_id", None
        )
        if organization is None:
            return
        with organization_scope(getattr(organization, "pk", organization)):
            super()._post_clean()  # type: ignore[misc] # Django's own, not in its stubs


@admin.register(OrganizationTerms)
class OrganizationTermsAdmin(AuditedAdmin):
    """Empty: as the reseller's terms say. Deleting the row takes everything agreed back."""

    form = OrganizationTermsForm
    list_display = (
        "organization",
        cents_column("least_minor", _("smallest")),
        cents_column("most_minor", _("largest")),
        "is_trusted",
    )
    list_select_related = ("organization",)
    list_filter = ("is_trusted", ("organization", AutocompleteSelectFilter))
    list_filter_submit = True
    search_fields = ("organization__name",)
    ordering = ("organization__name",)
    fields = ("organization", "least_minor", "most_minor", "is_trusted")
    autocomplete_fields = ("organization",)

    @override
    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("organization",) if obj else ()


class TaxRateForm(RowForm):
    parts_per_million = PercentField(label=_("Rate, %"))

    def clean_parts_per_million(self) -> int:
        rate: int = self.cleaned_data["parts_per_million"]
        if not 0 < rate <= 1_000_000:
            raise ValidationError(_("A rate is more than 0 and at most 100 %."))
        return rate

    def clean_country(self) -> str:
        country = str(self.cleaned_data["country"]).strip().upper()
        if len(country) != 2 or not (country.isascii() and country.isalpha()):
            raise ValidationError(_("Two letters, like DE"))
        return country

    @override
    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        reseller = values.get("reseller") or getattr(self.instance, "reseller", None)
        country = values.get("country") or self.instance.country
        same = TaxRate.objects.filter(reseller=reseller, country=country, is_active=True)
        if values.get("is_active") and same.exclude(pk=self.instance.pk).exists():
            self.add_error("is_active", _("There is a rate for this country. End it first."))
        return values


@admin.register(TaxRate)
class TaxRateAdmin(AuditedAdmin):
    """A rate that changes is ended, and another one made: receipts name the one they were paid under."""

    form = TaxRateForm
    list_display = (
        "country",
        "name",
        RATE,
        "is_active",
        "reseller",
        "stripe_id",
    )
    list_select_related = ("reseller",)
    list_filter = ("is_active", ("reseller", AutocompleteSelectFilter))
    list_filter_submit = True
    search_fields = ("country", "name")
    ordering = ("country", "-is_active", "-pk")
    readonly_fields = ("stripe_id",)

    @override
    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        rate = RATE if obj else "parts_per_million"
        return ["reseller", "country", "name", rate, "is_active", *(["stripe_id"] if obj else [])]

    @override
    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[Any, ...]:
        if obj is None:
            return self.readonly_fields
        return ("reseller", "country", "name", "parts_per_million", RATE, "stripe_id")

    @override
    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
