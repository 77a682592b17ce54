from django.urls import path

from billing.web import budgets, referrals, views

urlpatterns = [
    path("", views.overview, name="overview"),
    path("credit/", views.credit, name="credit"),
    path("credit/redeem/", views.redeem, name="redeem_code"),
    path("budgets/", budgets.budgets, name="budgets"),
    path("budgets/<int:budget_id>/delete/", budgets.delete_budget, name="delete_budget"),
    path("refer/", referrals.refer, name="refer"),
    path("usage/", views.usage, name="usage"),
    path("usage/<str:request_id>/", views.receipt, name="receipt"),
]
