"""Tenant scope, below HTTP: a query on organization-owned rows outside a scope is an error, not all rows."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.db import models

from common.errors import AppError

_organization_id: ContextVar[int | None] = ContextVar("organization_id", default=None)


class ScopeMissing(AppError):
    """Organization-owned rows were asked for without saying whose: a bug that shows nothing."""

    code = "scope_missing"
    http_status = 500


@contextmanager
def organization_scope(organization_id: int) -> Iterator[None]:
    """Everything inside sees the rows of one organization only."""
    token = _organization_id.set(organization_id)
    try:
        yield
    finally:
        _organization_id.reset(token)


def current_organization_id() -> int:
    """The organization in scope; raises ScopeMissing."""
    organization_id = _organization_id.get()
    if organization_id is None:
        raise ScopeMissing("no organization is in scope")
    return organization_id


class OrganizationManager(models.Manager[Any]):
    """Rows of the organization in scope; raises ScopeMissing where none is."""

    def get_queryset(self) -> models.QuerySet[Any]:
        return super().get_queryset().filter(organization_id=current_organization_id())


class OrganizationOwned(models.Model):
    """A row that belongs to one organization and carries its id directly.

    `across_all_organizations` is the one way around the scope: for operators, sweeps and commands.
    """

    organization = models.ForeignKey("accounts.Organization", on_delete=models.PROTECT)

    across_all_organizations = models.Manager()
    objects = OrganizationManager()

    class Meta:
        abstract = True
        base_manager_name = "across_all_organizations"
        default_manager_name = "objects"
