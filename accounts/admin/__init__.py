"""Operators' pages of people: users, resellers, organizations, members, API keys; alerts; the audit trail."""

import allauth.account.admin  # noqa: F401 - registers first what we take back below
from allauth.account.models import EmailAddress
from django.contrib import admin
from django.contrib.auth.models import Group

from accounts.admin import alerts, api_keys, audit_events, organizations, users

__all__ = ["alerts", "api_keys", "audit_events", "organizations", "users"]

# Addresses are shown with their user, and nothing here asks for groups.
admin.site.unregister([EmailAddress, Group])
