"""Changes made by hand on the admin site, each written to the audit trail in the transaction that makes it.

Django calls the `log_*` methods at the end of every change it makes. Here they write audit events, with the
values before and after, in place of Django's own log, which knows field names only.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode
from typing_extensions import override

from accounts.models import Organization, User
from accounts.services import record_audit
from common.admin import OperatorAdmin, client_ip
from common.broadcast import announce_on_commit

HIDDEN = "•••"
SECRET_FIELDS = frozenset({"password"})

Values = Mapping[str, Any]


def acting_operator(request: HttpRequest) -> User:
    """The site lets in nobody else."""
    return cast("User", request.user)


def row_values(row: models.Model) -> Values:
    return {field.attname: field.value_from_object(row) for field in row._meta.concrete_fields}


def audit_difference(
    request: HttpRequest,
    subject: models.Model,
    *,
    kind: type[models.Model],
    before: Values | None,
    after: Values | None,
) -> None:
    """An audit event with what differs; none when nothing does. None stands for a row that is not there.

    `kind` is the class of the row; `subject` is where people look for it, the row itself or what it is
    part of.
    """
    names = [name for name in after or before or {} if (before or {}).get(name) != (after or {}).get(name)]
    if not names:
        return
    verb = "created" if before is None else "deleted" if after is None else "changed"
    record_audit(
        action=f"{_snake_case(kind.__name__)}.{verb}",
        subject=subject,
        actor=acting_operator(request),
        organization=_organization_of(subject),
        before=_written(kind, before, names),
        after=_written(kind, after, names),
        ip=client_ip(request),
    )


class HistoryInAuditTrail(OperatorAdmin):
    """The history of a row is what the audit trail says of it."""

    @override
    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return redirect(audit_events_of(subject=f"{self.model._meta.label}:{object_id}"))


class AuditedAdmin(HistoryInAuditTrail):
    """Rows that operators edit. `announces` is the notice for caches that must drop what changed."""

    announces: str | None = None

    @override
    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        row = super().get_object(request, object_id, from_field)
        if row is not None:
            row.values_before = row_values(row)
        return row

    @override
    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        self.note_change(request, obj, None, row_values(obj))

    @override
    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        self.note_change(request, obj, obj.values_before, row_values(obj))

    @override
    def log_deletions(self, request: HttpRequest, queryset: Iterable[Any]) -> Any:
        for row in queryset:
            self.note_change(request, row, row_values(row), None)

    def note_change(
        self, request: HttpRequest, row: models.Model, before: Values | None, after: Values | None
    ) -> None:
        """Call it in the transaction of the change."""
        audit_difference(request, row, kind=type(row), before=before, after=after)
        if self.announces is not None:
            announce_on_commit(self.announces)

    @override
    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: Any) -> None:
        """Rows edited inline are part of the row whose page it is, and are looked for there."""
        before = _stored(formset)
        super().save_formset(request, form, formset, change)
        after = {**_stored(formset), **{row.pk: row_values(row) for row in formset.new_objects}}
        for pk in before | after:
            audit_difference(
                request, form.instance, kind=formset.model, before=before.get(pk), after=after.get(pk)
            )


def audit_events_of(**filters: str) -> str:
    return f"{reverse('admin:accounts_auditevent_changelist')}?{urlencode(filters)}"


def _stored(formset: Any) -> dict[Any, Values]:
    """Read anew: the formset's own rows carry what was typed."""
    return {row.pk: row_values(row) for row in formset.queryset.all()}


def _written(kind: type[models.Model], values: Values | None, names: Iterable[str]) -> dict[str, Any] | None:
    """As JSON keeps it. Of a secret it says only whether there is one."""
    if values is None:
        return None
    shown = {name: _hidden(values[name]) if _is_secret(kind, name) else values[name] for name in names}
    written: dict[str, Any] = json.loads(json.dumps(shown, cls=DjangoJSONEncoder))
    return written


def _is_secret(kind: type[models.Model], name: str) -> bool:
    return name in SECRET_FIELDS or isinstance(kind._meta.get_field(name), models.BinaryField)


def _hidden(value: object) -> str | None:
    return HIDDEN if value else None


def _organization_of(subject: models.Model) -> Organization | None:
    return subject if isinstance(subject, Organization) else getattr(subject, "organization", None)


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
