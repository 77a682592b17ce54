from django.urls import path

from accounts.web import views

urlpatterns = [
    path("keys/", views.api_keys, name="api_keys"),
    path("keys/new/", views.create_key, name="create_key"),
    path("keys/<int:key_id>/rename/", views.rename_key, name="rename_key"),
    path("keys/<int:key_id>/revoke/", views.revoke_key, name="revoke_key"),
]
