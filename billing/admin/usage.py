"""What was used: a row per request, and the rollups made of them."""

from typing import Any

from django.contrib import admin
from django.db import models
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from typing_extensions import override
from unfold.contrib.filters.admin import AutocompleteSelectFilter, FieldTextFilter

from billing.adjustments import request_correction
from billing.admin.operating import GiveBackForm, actor_of, adjustment_page, bound_form
from billing.corrections import left_to_correct
from billing.models import Adjustment, UsageCorrection, UsageRecord, UsageRollup
from common.admin import DayFilter, EndlessAdmin, RequestDayFilter, detail_action, usd
from common.ids import parse_public_id, public_id
from common.templatetags.formats import count, duration


@admin.register(UsageRecord)
class UsageRecordAdmin(EndlessAdmin):
    """Ordered and bounded by the request id, which is its time: no other order has an index."""

    usd_fields = ("charge_nano", "uncollected_nano", "cost_nano")
    list_display = (
        "started_at",
        "organization",
        "model",
        "channel",
        "prompt_tokens",
        "completion_tokens",
        "charge_nano",
        "cost_nano",
        "ending",
    )
    list_select_related = ("organization",)
    list_filter = (
        ("started_at", RequestDayFilter),
        ("organization", AutocompleteSelectFilter),
        ("model", FieldTextFilter),
    )
    list_filter_submit = True
    list_fullwidth = True
    search_fields = ("request_id",)
    search_help_text = _("By request id, req_…")
    fieldsets = (
        (
            _("Request"),
            {
                "fields": (
                    "request_name",
                    "organization",
                    "reseller",
                    "api_key",
                    "model",
                    "channel",
                    "upstream_model",
                    "is_stream",
                    "ending",
                )
            },
        ),
        (
            _("Money"),
            {
                "fields": (
                    "charge_nano",
                    "uncollected_nano",
                    "given_back",
                    "cost_nano",
                    "retail_version",
                    "cost_version",
                    "batch",
                )
            },
        ),
        (
            _("Tokens"),
            {
                "fields": (
                    "input_tokens",
                    "cache_read_tokens",
                    "cache_write_5m_tokens",
                    "cache_write_1h_tokens",
                    "output_tokens",
                    "reasoning_tokens",
                    "audio_input_tokens",
                    "audio_output_tokens",
                    "image_input_tokens",
                    "usage_source",
                )
            },
        ),
        (_("Time"), {"fields": ("started_at", "first_output_at", "first_output_after", "ended_at", "took")}),
    )

    actions_detail = ("give_back",)

    @detail_action(_("Give the charge back"), path="give-back", icon="undo")
    def give_back(self, request: HttpRequest, object_id: str) -> HttpResponse:
        record = get_object_or_404(self.get_queryset(request), pk=object_id)
        form = bound_form(GiveBackForm, request)

        def ask() -> Adjustment:
            return request_correction(
                request_id=record.request_id,
                amount_nano=form.cleaned_data["amount"],
                reason=form.cleaned_data["reason"],
                fact_key=f"correct:{record.request_id}:{form.cleaned_data['form_id']}",
                **actor_of(request),
            )

        left = usd(left_to_correct(record).amount)
        return adjustment_page(
            self,
            request,
            record,
            form=form,
            use_case=ask,
            title=gettext("Give back what %(request)s cost") % {"request": self.request_name(record)},
            submit=_("Give it back"),
            explanation=format_html(gettext("Of its price {left} can be given back."), left=left),
        )

    @admin.display(description=_("given back"))
    def given_back(self, record: UsageRecord) -> SafeString:
        corrections = UsageCorrection.across_all_organizations.filter(request_id=record.request_id)
        return usd(int(corrections.aggregate(Sum("amount_nano", default=0))["amount_nano__sum"]))

    @override
    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Any], search_term: str
    ) -> tuple[models.QuerySet[Any], bool]:
        """By the whole id only, which is the key."""
        if not search_term.strip():
            return queryset, False
        request_id = parse_public_id("req", search_term.strip())
        return (queryset.filter(pk=request_id) if request_id else queryset.none()), False

    @admin.display(description=_("request"))
    def request_name(self, record: UsageRecord) -> str:
        return public_id("req", record.request_id)

    @admin.display(description=_("first output after"))
    def first_output_after(self, record: UsageRecord) -> str:
        began = record.first_output_at
        return duration(began - record.started_at if began else None)

    @admin.display(description=_("took"))
    def took(self, record: UsageRecord) -> str:
        return duration(record.ended_at - record.started_at)

    @admin.display(description=_("prompt tokens"))
    def prompt_tokens(self, record: UsageRecord) -> str:
        return count(record.prompt_tokens)

    @admin.display(description=_("completion tokens"))
    def completion_tokens(self, record: UsageRecord) -> str:
        return count(record.completion_tokens)


@admin.register(UsageRollup)
class UsageRollupAdmin(EndlessAdmin):
    usd_fields = ("charge_nano", "cost_nano")
    list_display = (
        "bucket",
        "organization",
        "api_key",
        "model",
        "requests",
        "prompt_tokens",
        "completion_tokens",
        "charge_nano",
        "cost_nano",
    )
    list_select_related = ("organization", "api_key")
    list_filter = (
        ("bucket", DayFilter),
        ("organization", AutocompleteSelectFilter),
        ("model", FieldTextFilter),
    )
    list_filter_submit = True
    fields = (
        "bucket",
        "organization",
        "reseller",
        "api_key",
        "model",
        "requests",
        "prompt_tokens",
        "completion_tokens",
        "charge_nano",
        "cost_nano",
    )
