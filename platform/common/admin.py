"""The ground of the operators' admin site: who may, which rows, how money looks, what cannot be changed.

Whoever may enter the site is an operator and sees the rows of all organizations. Rows of money can be looked
at and nothing else, by address too; what people do with money has a form page that calls a service.
"""

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db import models
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from typing_extensions import override
from unfold.contrib.filters.admin import RangeDateFilter
from unfold.decorators import action
from unfold.enums import ActionVariant
from unfold.forms import AdminForm
from unfold.paginator import InfinitePaginator
from unfold.views import ChangeList
from unfold.widgets import UnfoldAdminTextInputWidget

from common.errors import AppError
from common.ids import uuid7_floor
from common.money import format_nano, parse_nano
from common.templatetags.formats import count, moment, money_exact

if TYPE_CHECKING:  # unfold ships no types, and its classes extend Django's
    from django.contrib.admin.options import BaseModelAdmin

    AnyAdmin = BaseModelAdmin[Any]
    ModelAdmin = admin.ModelAdmin[Any]
    TabularInline = admin.TabularInline[Any, Any]
    InlineFormSet = forms.BaseInlineFormSet[Any, Any, Any]
    RowForm = forms.ModelForm[Any]
else:
    from unfold.admin import ModelAdmin, TabularInline
    from unfold.forms import PaginationInlineFormSet

    AnyAdmin, InlineFormSet, RowForm = object, PaginationInlineFormSet, forms.ModelForm

WRITTEN_USD = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)
NOTHING = "-"

T = TypeVar("T")
Text = str | Promise
Method = TypeVar("Method", bound=Callable[..., Any])


def rows_of_all_organizations(model: type[models.Model]) -> models.QuerySet[Any]:
    manager = getattr(model, "across_all_organizations", model._default_manager)
    rows: models.QuerySet[Any] = manager.all()
    return rows


def client_ip(request: HttpRequest) -> str | None:
    return request.META.get("REMOTE_ADDR") or None


class OperatorAccess(AnyAdmin):
    """Entering the site is the permission: it lets in operators only. A class that offers less says so."""

    @override
    def has_module_permission(self, request: HttpRequest) -> bool:
        return is_operator(request)

    @override
    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_operator(request)

    @override
    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_operator(request)

    @override
    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_operator(request)

    @override
    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_operator(request)

    @override
    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        rows = rows_of_all_organizations(self.model)
        ordering = self.get_ordering(request)
        return rows.order_by(*ordering) if ordering else rows


def is_operator(request: HttpRequest) -> bool:
    return bool(request.user.is_active and getattr(request.user, "is_staff", False))


class OperatorAdmin(OperatorAccess, ModelAdmin):
    """Rows that operators look after. Several at once are never deleted: that leaves no time to think."""

    list_per_page = 50
    warn_unsaved_form = True
    usd_fields: Sequence[str] = ()

    @override
    def get_list_display(self, request: HttpRequest) -> Any:
        return [self.column(name) for name in super().get_list_display(request)]

    def column(self, name: Any) -> Any:
        """What shows the field of this name: money exactly, numbers grouped, moments to the second."""
        field = {field.name: field for field in self.opts.fields}.get(name)
        if name in self.usd_fields:
            show: Callable[[Any], str] | None = usd
        else:
            show = next((show for kind, show in SHOWN_AS.items() if isinstance(field, kind)), None)
        return _column(name, field.verbose_name, show, order=name) if field and show else name

    @override
    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def form_page(
        self,
        request: HttpRequest,
        form: forms.Form,
        *,
        title: Text,
        submit: Text,
        explanation: Text = "",
        fieldsets: Sequence[tuple[Text | None, dict[str, Any]]] = (),
        original: models.Model | None = None,
    ) -> TemplateResponse:
        """A page with one form for one use case; it posts to itself."""
        names = [field.name for field in form.visible_fields()]
        whole = [(None, {"fields": names})] if names else []
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "submit_text": submit,
            "explanation": explanation,
            "opts": self.opts,
            "original": original,
            "form": form,
            "adminform": AdminForm(form, fieldsets or whole, {}, model_admin=self),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/form_page.html", context)


class OperatorInline(OperatorAccess, TabularInline):
    extra = 0
    show_change_link = False


class ReadOnlyAdmin(OperatorAdmin):
    """Rows that only services make: no add, change or delete, for anybody, by address either."""

    warn_unsaved_form = False
    actions_detail_hide_default = True  # the history of what never changes

    @override
    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @override
    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @override
    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @override
    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return [
            (title, {**options, "fields": [self.column(name) for name in options["fields"]]})
            for title, options in super().get_fieldsets(request, obj)
        ]


class NewestFirst(ChangeList):  # type: ignore[misc] # unfold ships no types
    """Sorts by nothing else, whatever the address asks for."""

    def get_ordering(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> list[str]:  # noqa: ARG002 - given
        return [*self.model_admin.get_ordering(request)]


class EndlessAdmin(ReadOnlyAdmin):
    """Tables too long to count or to sort by what has no index: newest first, page by page."""

    paginator = InfinitePaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ()
    ordering = ("-pk",)

    @override
    def get_changelist(self, request: HttpRequest, **options: Any) -> Any:
        return NewestFirst


def usd(nano: int) -> SafeString:
    """The exact amount; the nano-units are its tooltip."""
    title = gettext("%(count)s nano-units") % {"count": f"{nano:,}"}
    return format_html('<span class="whitespace-nowrap" title="{}">{}</span>', title, money_exact(nano))


def usd_column(name: str, label: Text) -> Any:
    """A column or read-only field for a property that holds nano-units; fields are in `usd_fields`."""
    return _column(name, label, usd, order=None)


def _moment(at: datetime) -> SafeString:
    return format_html('<span class="whitespace-nowrap">{}</span>', moment(at, "seconds"))


def _column(name: str, label: Any, show: Callable[[Any], str], *, order: str | None) -> Any:
    def shown(row: Any) -> str:
        value = getattr(row, name)
        return NOTHING if value is None else show(value)

    shown.__name__ = name
    return admin.display(shown, description=label, ordering=order)


def badge(text: Text, kind: str = "") -> SafeString:
    """`kind` is unfold's: success, info, warning, danger, or none."""
    return render_to_string("unfold/helpers/label.html", {"text": text, "type": kind})


def detail_action(
    description: Text, *, path: str, icon: str, variant: ActionVariant = ActionVariant.PRIMARY
) -> Callable[[Method], Method]:
    """A button on a row's page. It is a link, so what it leads to must change nothing on a GET."""
    decorate: Callable[[Method], Method] = action(
        description=description, url_path=path, icon=icon, variant=variant
    )
    return decorate


SHOWN_AS: dict[Any, Callable[[Any], str]] = {
    models.DateTimeField: _moment,
    models.IntegerField: count,
}


class USDField(forms.CharField):
    """An amount written in USD, as an integer of nano-units. Empty is None."""

    default_error_messages = {"invalid": _("Write an amount like 25 or 0.0375, with at most nine decimals.")}

    def __init__(self, **options: Any) -> None:
        widget = UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal", "autocomplete": "off"})
        super().__init__(**{"widget": widget, "empty_value": None, **options})

    @override
    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        if text is None:
            return None
        if not WRITTEN_USD.fullmatch(text):
            raise ValidationError(self.error_messages["invalid"], code="invalid")
        return parse_nano(text)

    @override
    def prepare_value(self, value: Any) -> Any:
        return format_nano(value) if isinstance(value, int) else value


def carry_out(form: forms.Form, use_case: Callable[[], T]) -> T | None:
    """What the use case returns; None when the form must be shown again, with the refusal on it."""
    if not form.is_valid():
        return None
    try:
        return use_case()
    except AppError as refusal:
        form.add_error(refusal.param if refusal.param in form.fields else None, refusal.message)
        return None


class DayFilter(RangeDateFilter):  # type: ignore[misc] # unfold ships no types
    """From one day to another of the operator's time zone, both included."""

    @override
    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        return self._between(queryset, self.field_path, lambda moment: moment)

    def _between(
        self, rows: models.QuerySet[Any], column: str, bound: Callable[[datetime], object]
    ) -> models.QuerySet[Any]:
        since, until = self._day("from"), self._day("to")
        if since is not None:
            rows = rows.filter(**{f"{column}__gte": bound(_start_of(since))})
        if until is not None:
            rows = rows.filter(**{f"{column}__lt": bound(_start_of(until + timedelta(days=1)))})
        return rows

    def _day(self, end: str) -> date | None:
        try:
            day: date | None = forms.DateField(required=False).clean(
                self.used_parameters.get(f"{self.parameter_name}_{end}")
            )
        except ValidationError:
            return None
        return day


class RequestDayFilter(DayFilter):
    """The same for rows whose key is a uuid7: bounds on the key, so that whole partitions are skipped."""

    @override
    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        return self._between(queryset, "pk", uuid7_floor)


def _start_of(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))
