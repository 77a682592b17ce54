"""Pages of API keys."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from accounts.models import APIKey
from accounts.services import create_api_key, rename_api_key, revoke_api_key
from accounts.web.access import MemberRequest, key_managers_only, may_manage_keys, member_page
from accounts.web.forms import KeyNameForm

DEMO_MODEL = "farebox-demo"


@member_page
@require_GET
def api_keys(request: MemberRequest) -> HttpResponse:
    return _show_keys(request, KeyNameForm())


@member_page
@require_POST
@key_managers_only
@never_cache
def create_key(request: MemberRequest) -> HttpResponse:
    """The answer itself shows the key: it is kept nowhere from which another page could read it."""
    form = KeyNameForm(request.POST)
    if not form.is_valid():
        return _show_keys(request, form)
    new = create_api_key(
        organization=request.organization,
        name=form.cleaned_data["name"],
        created_by=request.user,
        ip=client_ip(request),
    )
    return render(request, "accounts/key_created.html", {"new": new, **quick_start(request)})


@member_page
@require_POST
@key_managers_only
def rename_key(request: MemberRequest, key_id: int) -> HttpResponse:
    api_key = get_object_or_404(APIKey.objects.all(), pk=key_id)
    form = KeyNameForm(request.POST)
    if form.is_valid():
        rename_api_key(
            api_key=api_key,
            name=form.cleaned_data["name"],
            actor=request.user,
            ip=client_ip(request),
        )
    else:
        messages.error(request, _("A key's name has 1 to 100 characters."))
    return redirect("api_keys")


@member_page
@require_POST
@key_managers_only
def revoke_key(request: MemberRequest, key_id: int) -> HttpResponse:
    api_key = get_object_or_404(APIKey.objects.all(), pk=key_id)
    revoke_api_key(api_key=api_key, actor=request.user, ip=client_ip(request))
    messages.success(request, _("%(name)s is revoked.") % {"name": api_key.name})
    return redirect("api_keys")


def quick_start(request: HttpRequest) -> dict[str, Any]:
    """What the snippets need: the address programs call, and a model that is always there."""
    is_secure = request.is_secure() or settings.PUBLIC_URL.startswith("https://")
    scheme = "https" if is_secure else "http"
    return {
        "base_url": f"{scheme}://{request.get_host()}/v1",
        "snippet_model": getattr(settings, "QUICK_START_MODEL", DEMO_MODEL),
    }


def client_ip(request: HttpRequest) -> str | None:
    return request.META.get("REMOTE_ADDR") or None


def _show_keys(request: MemberRequest, form: KeyNameForm) -> HttpResponse:
    keys = APIKey.objects.select_related("created_by").order_by("-created_at", "-pk")
    context = {
        "form": form,
        "active_keys": keys.filter(revoked_at=None),
        "revoked_keys": keys.exclude(revoked_at=None),
        "may_manage": may_manage_keys(request.membership),
        **quick_start(request),
    }
    return render(request, "accounts/keys.html", context)
