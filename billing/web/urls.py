from django.urls import path

from billing.web import views

urlpatterns = [
    path("", views.overview, name="overview"),
    path("credit/", views.credit, name="credit"),
    path("credit/redeem/", views.redeem, name="redeem_code"),
    path("usage/", views.usage, name="usage"),
    path("usage/<str:request_id>/", views.receipt, name="receipt"),
]
