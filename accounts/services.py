"""What people do with accounts. Each function is one use case: locks, checks, writes, audit, notices."""

import secrets
from dataclasses import dataclass
from typing import Any

from allauth.account.models import EmailAddress
from django.conf import settings
from django.db import models, transaction
from django.utils import timezone

from accounts.keys import digest_key, generate_key
from accounts.models import (
    HOUSE_SLUG,
    APIKey,
    AuditEvent,
    Membership,
    Organization,
    Reseller,
    Role,
    User,
)
from common.broadcast import announce_on_commit
from common.errors import AppError
from common.locking import lock_rows


class KeyUnknown(AppError):
    """There is no such API key where it was looked for."""

    code = "key_unknown"
    http_status = 404


class NameInvalid(AppError):
    code = "name_invalid"


@dataclass(frozen=True)
class NewKey:
    """A key at the only moment its text is known."""

    api_key: APIKey
    secret: str

    def __repr__(self) -> str:
        return f"NewKey({self.api_key.masked})"


def record_audit(
    *,
    action: str,
    subject: models.Model,
    actor: User | None = None,
    organization: Organization | None = None,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    reason: str = "",
    ip: str | None = None,
) -> AuditEvent:
    """Write down who changed what; call it in the transaction of the change."""
    return AuditEvent.objects.create(
        action=action,
        subject=f"{subject._meta.label}:{subject.pk}",
        actor=actor,
        organization=organization,
        before=before,
        after=after,
        reason=reason,
        ip=ip,
    )


def ensure_house_reseller() -> Reseller:
    """The operator's own reseller; made at the first start."""
    house, _ = Reseller.objects.get_or_create(slug=HOUSE_SLUG, defaults={"name": "Farebox", "is_house": True})
    return house


@transaction.atomic
def create_organization(
    *, owner: User, name: str, reseller: Reseller | None = None, ip: str | None = None
) -> Organization:
    """A new customer with its first member. Its wallet is made by the same insert (database trigger)."""
    organization = Organization.objects.create(
        reseller=reseller or ensure_house_reseller(), name=(name.strip() or owner.email)[:150]
    )
    Membership.across_all_organizations.create(organization=organization, user=owner, role=Role.OWNER)
    record_audit(
        action="organization.created",
        subject=organization,
        actor=owner,
        organization=organization,
        after={"name": organization.name},
        ip=ip,
    )
    return organization


@transaction.atomic
def create_api_key(
    *, organization: Organization, name: str, created_by: User | None = None, ip: str | None = None
) -> NewKey:
    """A new key; its text is in the answer and nowhere else. Raises NameInvalid."""
    secret = generate_key()
    api_key = APIKey.across_all_organizations.create(
        organization=organization,
        name=_clean_name(name),
        digest=digest_key(secret, settings.KEY_PEPPER),
        head=secret[:7],
        tail=secret[-4:],
        created_by=created_by,
    )
    record_audit(
        action="api_key.created",
        subject=api_key,
        actor=created_by,
        organization=organization,
        after={"name": api_key.name, "key": api_key.masked},
        ip=ip,
    )
    return NewKey(api_key, secret)


@transaction.atomic
def rename_api_key(*, api_key: APIKey, name: str, actor: User | None = None, ip: str | None = None) -> APIKey:
    """Raises NameInvalid."""
    [api_key] = lock_rows(APIKey.across_all_organizations.all(), [api_key.pk])
    before = api_key.name
    api_key.name = _clean_name(name)
    api_key.save(update_fields=["name"])
    record_audit(
        action="api_key.renamed",
        subject=api_key,
        actor=actor,
        organization=api_key.organization,
        before={"name": before},
        after={"name": api_key.name},
        ip=ip,
    )
    return api_key


@transaction.atomic
def revoke_api_key(*, api_key: APIKey, actor: User | None = None, ip: str | None = None) -> APIKey:
    """Refused by every process within a second. Revoking twice changes nothing."""
    [api_key] = lock_rows(APIKey.across_all_organizations.all(), [api_key.pk])
    if api_key.revoked_at is None:
        api_key.revoked_at = timezone.now()
        api_key.save(update_fields=["revoked_at"])
        record_audit(
            action="api_key.revoked",
            subject=api_key,
            actor=actor,
            organization=api_key.organization,
            after={"key": api_key.masked},
            ip=ip,
        )
    announce_on_commit("key", bytes(api_key.digest).hex())
    return api_key


def find_api_key(key_or_id: str) -> APIKey:
    """By the key itself, by `key_<id>` or by the plain id. Raises KeyUnknown."""
    keys = APIKey.across_all_organizations.select_related("organization")
    number = key_or_id.removeprefix("key_")
    if number.isdecimal():
        found = keys.filter(pk=int(number)).first()
    else:
        found = keys.filter(digest=digest_key(key_or_id, settings.KEY_PEPPER)).first()
    if found is None:
        raise KeyUnknown("there is no such API key")
    return found


def create_operator(*, email: str) -> tuple[User, str]:
    """A person who may use the admin site, and the password made for them (shown once)."""
    password = secrets.token_urlsafe(12)
    operator = User.objects.create_superuser(email, password)
    EmailAddress.objects.create(user=operator, email=operator.email, primary=True, verified=True)
    return operator, password


def _clean_name(name: str) -> str:
    cleaned = " ".join(name.split())
    if not cleaned or len(cleaned) > 100:
        raise NameInvalid("a key's name has 1 to 100 characters", param="name")
    return cleaned
