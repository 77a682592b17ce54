from django.urls import path

from billing.web import budgets, recharge, referrals, top_ups, views

urlpatterns = [
    path("", views.overview, name="overview"),
    path("credit/", views.credit, name="credit"),
    path("credit/redeem/", views.redeem, name="redeem_code"),
    path("credit/top-up/", top_ups.top_ups, name="top_ups"),
    path("credit/top-up/start/", top_ups.start, name="start_top_up"),
    path("credit/top-ups/<uuid:top_up_id>/", top_ups.top_up, name="top_up"),
    path("credit/top-ups/<uuid:top_up_id>/pay/", top_ups.pay, name="pay_top_up"),
    path("credit/auto-recharge/", recharge.recharge, name="recharge"),
    path("credit/auto-recharge/on/", recharge.turn_on, name="turn_on_recharge"),
    path("credit/auto-recharge/off/", recharge.turn_off, name="turn_off_recharge"),
    path("credit/cards/<int:card_id>/remove/", recharge.forget, name="remove_card"),
    path("budgets/", budgets.budgets, name="budgets"),
    path("budgets/<int:budget_id>/delete/", budgets.delete_budget, name="delete_budget"),
    path("refer/", referrals.refer, name="refer"),
    path("usage/", views.usage, name="usage"),
    path("usage/<str:request_id>/", views.receipt, name="receipt"),
]
