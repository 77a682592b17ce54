"""Pages. `/v1/` never comes here: `config.asgi` sends it to the relay."""

from django.contrib import admin
from django.urls import path

urlpatterns = [
    path("admin/", admin.site.urls),
]
