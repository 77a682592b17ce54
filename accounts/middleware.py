"""Whose page it is: the organization in scope for the whole request, and the reader's time zone."""

from collections.abc import Callable
from datetime import UTC, tzinfo
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from accounts.models import Membership
from common.models import organization_scope

TIME_ZONE_COOKIE = "time_zone"
ADMIN_PREFIX = "/admin/"

GetResponse = Callable[[HttpRequest], HttpResponse]


class OrganizationMiddleware:
    """Sets `request.membership` and `request.organization`, and the scope every query below lives in.

    Both are None for visitors, for people without an organization, and on the admin site, which sees all
    organizations by name. Comes after authentication.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        membership = _membership_of(request)
        request.membership = membership  # type: ignore[attr-defined]
        request.organization = membership and membership.organization  # type: ignore[attr-defined]
        if membership is None:
            return self.get_response(request)
        with organization_scope(membership.organization_id):
            return self.get_response(request)


class TimeZoneMiddleware:
    """Days and times in the zone the browser named in a cookie; UTC until it did."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with timezone.override(_zone_named(request.COOKIES.get(TIME_ZONE_COOKIE, ""))):
            return self.get_response(request)


def _membership_of(request: HttpRequest) -> Membership | None:
    """The member's oldest membership: until people can belong to several, there is one."""
    if request.path.startswith(ADMIN_PREFIX) or not request.user.is_authenticated:
        return None
    memberships = Membership.across_all_organizations.select_related("organization")
    found: Membership | None = memberships.filter(user=request.user).order_by("created_at", "pk").first()
    return found


def _zone_named(name: str) -> tzinfo:
    """The zone, or UTC for what is none. Names come from outside; ZoneInfo opens nothing else for them."""
    try:
        return ZoneInfo(unquote(name))
    except (KeyError, ValueError, OSError):
        return UTC
