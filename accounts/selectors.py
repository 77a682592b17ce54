"""Reads of accounts."""

from accounts.contracts import Principal
from accounts.models import APIKey


def principal_for_digest(digest: bytes) -> Principal | None:
    """The principal of a usable key; None when there is no such key or it was revoked."""
    row = (
        APIKey.across_all_organizations.filter(digest=digest, revoked_at=None)
        .values_list("pk", "organization_id", "organization__reseller_id", "created_by_id")
        .first()
    )
    return Principal(*row) if row else None
