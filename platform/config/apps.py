from django.apps import AppConfig


class ConfigConfig(AppConfig):
    """Carries the commands that need every app: `up`, `create_customer`, `verify_books` and the like."""

    name = "config"
    verbose_name = "Farebox"
