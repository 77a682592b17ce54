"""A customer made by hand: person, organization, credit and key in one transaction."""

from dataclasses import dataclass, field

from allauth.account.models import EmailAddress
from django.db import transaction

from accounts.models import HOUSE_SLUG, Organization, Reseller, User
from accounts.services import create_api_key, create_organization, ensure_house_reseller
from billing.models import Wallet
from billing.services import grant_credit
from common.errors import AppError


class ResellerUnknown(AppError):
    code = "reseller_unknown"


@dataclass(frozen=True)
class NewCustomer:
    organization: Organization
    wallet: Wallet
    api_key: str = field(repr=False)


@transaction.atomic
def create_customer(
    *,
    email: str,
    organization_name: str = "",
    credit_nano: int = 0,
    reseller_slug: str = HOUSE_SLUG,
    reason: str = "Credit at creation",
) -> NewCustomer:
    """The person is made if there is none with this address, without a password: they reset it to sign in.

    Raises ResellerUnknown, GrantRefused.
    """
    owner = _person(email)
    organization = create_organization(
        owner=owner, name=organization_name or email, reseller=_reseller(reseller_slug)
    )
    if credit_nano:
        grant_credit(
            organization=organization,
            amount_nano=credit_nano,
            reason=reason,
            fact_key=f"create_customer:{organization.pk}",
        )
    key = create_api_key(organization=organization, name="First key", created_by=owner)
    return NewCustomer(organization, Wallet.objects.get(pk=organization.pk), key.secret)


def _person(email: str) -> User:
    address = email.strip().lower()
    person = User.objects.filter(email=address).first()
    if person is None:
        person = User.objects.create_user(address)
        EmailAddress.objects.create(user=person, email=address, primary=True, verified=True)
    return person


def _reseller(slug: str) -> Reseller:
    if slug == HOUSE_SLUG:
        return ensure_house_reseller()
    reseller = Reseller.objects.filter(slug=slug).first()
    if reseller is None:
        raise ResellerUnknown(f"there is no reseller {slug!r}")
    return reseller
