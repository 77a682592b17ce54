from django.apps import AppConfig


class CommonConfig(AppConfig):
    """Carries the template tags that every page uses."""

    name = "common"
