from django.contrib import admin
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from accounts.models import AuditEvent
from common.admin import DayFilter, EndlessAdmin


@admin.register(AuditEvent)
class AuditEventAdmin(EndlessAdmin):
    list_display = ("at", "actor", "action", "subject", "organization", "reason", "ip")
    list_select_related = ("actor", "organization")
    list_filter = (
        ("at", DayFilter),
        ("actor", AutocompleteSelectFilter),
        ("organization", AutocompleteSelectFilter),
    )
    list_filter_submit = True
    search_fields = ("action", "subject", "reason", "actor__email")
    fields = ("at", "actor", "ip", "action", "subject", "organization", "reason", "before", "after")
