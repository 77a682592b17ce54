"""Tenant scope fails closed: no scope, no rows, an exception."""

import asyncio
from collections.abc import Callable

import pytest

from accounts.models import APIKey, Membership
from billing.models import Grant, UsageRecord, UsageRollup
from common.models import OrganizationOwned, ScopeMissing, current_organization_id, organization_scope
from tests.factories.money import make_payer

OWNED: list[type[OrganizationOwned]] = [APIKey, Membership, Grant, UsageRecord, UsageRollup]


@pytest.mark.parametrize("model", OWNED)
def test_without_a_scope_there_are_no_rows_but_an_error(model: type[OrganizationOwned]) -> None:
    with pytest.raises(ScopeMissing):
        model.objects.all()


@pytest.mark.parametrize("model", OWNED)
def test_what_django_picks_by_itself_is_scoped_too(model: type[OrganizationOwned]) -> None:
    assert model._default_manager.name == "objects"


@pytest.mark.django_db
def test_a_scope_shows_the_rows_of_its_organization_only() -> None:
    ours, theirs = make_payer(1), make_payer(1)
    with organization_scope(ours.organization.pk):
        assert [key.pk for key in APIKey.objects.all()] == [ours.api_key.pk]
        assert not APIKey.objects.filter(pk=theirs.api_key.pk).exists()
        assert Grant.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    "related", [lambda payer: payer.organization.apikey_set, lambda payer: payer.organization.grant_set]
)
def test_rows_reached_through_another_row_are_scoped_too(related: Callable[..., object]) -> None:
    with pytest.raises(ScopeMissing):
        related(make_payer(1)).count()  # type: ignore[attr-defined]


def test_a_scope_inside_a_scope_ends_where_it_began() -> None:
    with organization_scope(1):
        with organization_scope(2):
            assert current_organization_id() == 2
        assert current_organization_id() == 1
    with pytest.raises(ScopeMissing):
        current_organization_id()


def test_a_scope_ends_with_an_error_as_well() -> None:
    with pytest.raises(ZeroDivisionError), organization_scope(1):
        raise ZeroDivisionError
    with pytest.raises(ScopeMissing):
        current_organization_id()


async def test_tasks_side_by_side_keep_their_own_scopes() -> None:
    async def see(organization: int) -> set[int]:
        seen = set()
        with organization_scope(organization):
            for _ in range(20):
                await asyncio.sleep(0)
                seen.add(current_organization_id())
        return seen

    assert await asyncio.gather(*(see(number) for number in range(10))) == [{n} for n in range(10)]
