"""Pages. `/v1/` never comes here: `config.asgi` sends it to the relay."""

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import include, path

from billing.stripe.webhooks import stripe_webhook
from config.health import healthz, readyz

# Operators sign in where everybody does: allauth limits the tries and asks for what it has to.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]

urlpatterns = [
    path("", include("billing.web.urls")),
    path("", include("accounts.web.urls")),
    path("", include("relay.web.urls")),
    path("accounts/", include("allauth.account.urls")),
    path("language/", include("django.conf.urls.i18n")),
    path("admin/", admin.site.urls),
    path("stripe/webhook", stripe_webhook, name="stripe_webhook"),
    path("healthz", healthz),
    path("readyz", readyz),
]
