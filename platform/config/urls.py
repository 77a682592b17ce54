"""Pages. `/v1/` never comes here: `config.asgi` sends it to the relay."""

from django.contrib import admin
from django.urls import include, path

from config.health import healthz, readyz

urlpatterns = [
    path("", include("billing.web.urls")),
    path("", include("accounts.web.urls")),
    path("", include("relay.web.urls")),
    path("accounts/", include("allauth.account.urls")),
    path("language/", include("django.conf.urls.i18n")),
    path("admin/", admin.site.urls),
    path("healthz", healthz),
    path("readyz", readyz),
]
