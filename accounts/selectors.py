"""Reads of accounts."""

from accounts.contracts import Principal
from accounts.models import APIKey, Organization, User


def principal_for_digest(digest: bytes) -> Principal | None:
    """The principal of a usable key; None when there is no such key or it was revoked."""
    row = (
        APIKey.across_all_organizations.filter(digest=digest, revoked_at=None)
        .values_list("pk", "organization_id", "organization__reseller_id", "created_by_id")
        .first()
    )
    return Principal(*row) if row else None


def organizations_of(user: User) -> list[Organization]:
    """Those the person is a member of, the oldest membership first."""
    return list(
        Organization.objects.filter(membership__user=user)
        .select_related("reseller")
        .order_by("membership__created_at", "pk")
    )
