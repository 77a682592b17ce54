from django.urls import path

from relay.web import views

urlpatterns = [path("models/", views.models, name="models")]
