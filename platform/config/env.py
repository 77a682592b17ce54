"""The only reader of the environment. Everything else takes typed values from `ENV`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import environ

from common.errors import AppError
from common.money import AmountInvalid, parse_nano

ROOT = Path(__file__).resolve().parents[2]
SETTINGS_MODULE = "config.settings"
LEAST_MONTHS_KEPT = 2
SMTP = "django.core.mail.backends.smtp.EmailBackend"
STRIPE_API_BASE = "https://api.stripe.com"
STRIPE_PAYMENT_PAGES = "https://checkout.stripe.com"
EMAIL_URL_HELP = "EMAIL_URL must be like smtp+tls://user:password@mail.example.com:587 (or smtp, smtp+ssl)"


class EnvironmentInvalid(AppError):
    """A variable of the environment cannot be used as it is."""

    code = "environment_invalid"


@dataclass(frozen=True)
class Env:
    root: Path
    home: Path
    host: str
    port: int
    database_url: str | None
    redis_url: str | None
    catalog: Path | None
    secret_key: str | None
    key_pepper: str | None
    field_keys: tuple[str, ...]
    allowed_hosts: tuple[str, ...]
    public_url: str | None
    email: Mapping[str, Any] | None
    email_from: str
    usage_retention_months: int | None
    second_operator_over_nano: int
    stripe_api_key: str | None = field(repr=False)
    stripe_webhook_secrets: tuple[str, ...] = field(repr=False)
    stripe_api_base: str
    debug: bool

    @property
    def payment_pages(self) -> str:
        """The origin of the pages where people pay; a stand-in for Stripe has them at its own address."""
        return STRIPE_PAYMENT_PAGES if self.stripe_api_base == STRIPE_API_BASE else self.stripe_api_base


def read_env(variables: Mapping[str, str]) -> Env:
    """Typed settings from `variables`; raises EnvironmentInvalid naming the variable."""
    reader = environ.Env()
    reader.ENVIRON = variables

    def text(name: str) -> str | None:
        return variables.get(name) or None

    try:
        port = reader.int("PORT", default=8000)
    except (ValueError, environ.ImproperlyConfigured) as error:
        raise EnvironmentInvalid("PORT must be a number from 1 to 65535") from error
    if not 1 <= port <= 65535:
        raise EnvironmentInvalid("PORT must be a number from 1 to 65535")
    catalog = text("FAREBOX_CATALOG")
    return Env(
        root=ROOT,
        home=Path(text("FAREBOX_HOME") or ROOT / "var").expanduser().absolute(),
        host=text("HOST") or "127.0.0.1",
        port=port,
        database_url=text("DATABASE_URL"),
        redis_url=text("REDIS_URL"),
        catalog=Path(catalog).expanduser().absolute() if catalog else None,
        secret_key=text("SECRET_KEY"),
        key_pepper=text("KEY_PEPPER"),
        field_keys=tuple(reader.list("FIELD_KEYS", default=[])),
        allowed_hosts=tuple(reader.list("ALLOWED_HOSTS", default=[])),
        public_url=text("PUBLIC_URL"),
        email=_email(text("EMAIL_URL")),
        email_from=text("EMAIL_FROM") or "Farebox <no-reply@localhost>",
        usage_retention_months=_months(text("USAGE_RETENTION_MONTHS")),
        second_operator_over_nano=_amount("SECOND_OPERATOR_OVER", text("SECOND_OPERATOR_OVER") or "100"),
        stripe_api_key=(text("STRIPE_API_KEY") or "").strip() or None,
        stripe_webhook_secrets=_list(text("STRIPE_WEBHOOK_SECRET")),
        stripe_api_base=(text("STRIPE_API_BASE") or STRIPE_API_BASE).rstrip("/"),
        debug=reader.bool("DEBUG", default=False),
    )


def _list(written: str | None) -> tuple[str, ...]:
    """Several, parted by commas: while a secret is rotated both count."""
    return tuple(part.strip() for part in (written or "").split(",") if part.strip())


def _email(written: str | None) -> Mapping[str, Any] | None:
    """Django's settings of a mail server; None: mails become files."""
    if written is None:
        return None
    try:
        settings = environ.Env.email_url_config(written)
    except (ValueError, environ.ImproperlyConfigured) as error:
        raise EnvironmentInvalid(EMAIL_URL_HELP) from error  # the URL has a password in it: never shown
    if settings["EMAIL_BACKEND"] != SMTP or not settings["EMAIL_HOST"]:
        raise EnvironmentInvalid(EMAIL_URL_HELP)
    return {name: value for name, value in settings.items() if name != "EMAIL_FILE_PATH"}


def _months(written: str | None) -> int | None:
    """Fewer than two would part a record from what is still in flight at the turn of a month."""
    if written is None:
        return None
    if not written.isdecimal() or int(written) < LEAST_MONTHS_KEPT:
        raise EnvironmentInvalid(
            f"USAGE_RETENTION_MONTHS must be a number from {LEAST_MONTHS_KEPT} on, or nothing"
        )
    return int(written)


def _amount(name: str, written: str) -> int:
    """Dollars in the environment, nano-units here."""
    try:
        nano = parse_nano(written)
    except AmountInvalid as error:
        raise EnvironmentInvalid(f"{name} must be an amount in dollars like 100 or 0.50") from error
    if nano < 0:
        raise EnvironmentInvalid(f"{name} must not be negative")
    return nano


def variables() -> Mapping[str, str]:
    """The process's environment, for what names its own variables (catalogue credentials)."""
    return os.environ  # noqa: TID251 - this module is the one allowed reader


def set_variable(name: str, value: str) -> None:
    """Give this process and its children a variable, before settings are loaded."""
    os.environ[name] = value  # noqa: TID251 - see above


def child_environment(**extra: str) -> dict[str, str]:
    """The environment of a child process: ours, with the source roots importable."""
    paths = [str(ROOT), str(ROOT / "platform")]
    return {
        **variables(),
        "PYTHONPATH": os.pathsep.join(paths),
        "DJANGO_SETTINGS_MODULE": variables().get("DJANGO_SETTINGS_MODULE", SETTINGS_MODULE),
        "PYTHONUNBUFFERED": "1",
        **extra,
    }


ENV = read_env(variables())
