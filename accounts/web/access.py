"""Who may see a page: signed in, a member of an organization, and in a role that allows it."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts.models import Membership, Organization, Role, User

MANAGES_KEYS = frozenset({Role.OWNER, Role.ADMIN, Role.DEVELOPER})
MANAGES_MONEY = frozenset({Role.OWNER, Role.ADMIN, Role.BILLING})

Params = ParamSpec("Params")


class MemberRequest(HttpRequest):
    """A request of a member: what the middleware and `member_page` have seen to."""

    user: User
    membership: Membership
    organization: Organization


View = Callable[Concatenate[MemberRequest, Params], HttpResponse]


def member_page(view: View[Params]) -> Callable[..., HttpResponse]:
    """Visitors are sent to sign in; people without an organization are told so."""

    @wraps(view)
    def checked(request: HttpRequest, *args: Params.args, **kwargs: Params.kwargs) -> HttpResponse:
        if getattr(request, "organization", None) is None:
            return render(request, "accounts/no_organization.html", status=403)
        return view(request, *args, **kwargs)  # type: ignore[arg-type] # the middleware completed it

    return login_required(checked)


def key_managers_only(view: View[Params]) -> Callable[..., HttpResponse]:
    """403 for members whose role may look at keys but not change them."""

    @wraps(view)
    def checked(request: MemberRequest, *args: Params.args, **kwargs: Params.kwargs) -> HttpResponse:
        if not may_manage_keys(request.membership):
            raise PermissionDenied
        return view(request, *args, **kwargs)

    return checked


def may_manage_keys(membership: Membership) -> bool:
    return membership.role in MANAGES_KEYS


def money_managers_only(view: View[Params]) -> Callable[..., HttpResponse]:
    """403 for members whose role may look at money but not move it."""

    @wraps(view)
    def checked(request: MemberRequest, *args: Params.args, **kwargs: Params.kwargs) -> HttpResponse:
        if not may_manage_money(request.membership):
            raise PermissionDenied
        return view(request, *args, **kwargs)

    return checked


def may_manage_money(membership: Membership) -> bool:
    return membership.role in MANAGES_MONEY
