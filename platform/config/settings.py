"""Django's settings, from the typed environment. No secret stands here."""

from datetime import timedelta
from typing import Any

from csp.constants import NONE, SELF
from django.utils.translation import gettext_lazy as _

from config import engines
from config.env import ENV
from config.logging import configure_logging
from config.secrets import load_secrets
from config.unfold import UNFOLD  # noqa: F401 - Django looks for the name here

_secrets = load_secrets(ENV)

# --- Who and where ------------------------------------------------------------------------------
SECRET_KEY = _secrets.secret_key
KEY_PEPPER = _secrets.key_pepper
FIELD_KEYS = _secrets.field_keys
DEBUG = ENV.debug
_open_to_all = ENV.host in {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound
ALLOWED_HOSTS = [*ENV.allowed_hosts] or ["*" if _open_to_all else ENV.host, "localhost", "127.0.0.1", "[::1]"]
PUBLIC_URL = ENV.public_url or f"http://{ENV.host}:{ENV.port}"
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
FAREBOX_HOME = ENV.home
FAREBOX_CATALOG = ENV.catalog
AUTH_USER_MODEL = "accounts.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "config.apps.ConfigConfig",
    "common.apps.CommonConfig",
    "accounts.apps.AccountsConfig",
    "billing.apps.BillingConfig",
    "relay.apps.RelayConfig",
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "csp",
    "rest_framework",
    "servestatic",
]

MIDDLEWARE = [
    "csp.middleware.CSPMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "accounts.middleware.TimeZoneMiddleware",
    "accounts.middleware.OrganizationMiddleware",
    "billing.web.sign_up.ReferralMiddleware",
]

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [ENV.root / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.debug",
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "billing.web.context.payments",
            ],
        },
    }
]


# --- Engines ------------------------------------------------------------------------------------
# Each relay process keeps two connections of its own (money, reads); pages take theirs per request.
_database = engines.django_database(ENV)
_pool = {"min_size": 0, "max_size": 20, "timeout": 5}
DATABASES = {
    "default": {
        **_database,
        "CONN_MAX_AGE": 0,
        "OPTIONS": {**_database.get("OPTIONS", {}), "pool": _pool},
    }
}
REDIS_URL = engines.redis_url(ENV)
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}
SESSION_ENGINE = "django.contrib.sessions.backends.db"

CELERY_BROKER_URL = engines.broker_url(ENV)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 600}
CELERY_TIMEZONE = "UTC"

# --- People: sign-in, mail ----------------------------------------------------------------------
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_CONFIRM_EMAIL_ON_GET = False
ACCOUNT_LOGIN_ON_EMAIL_CONFIRMATION = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_ADAPTER = "billing.web.sign_up.AccountAdapter"
ACCOUNT_FORMS = {"signup": "billing.web.sign_up.SignupForm"}
LOGIN_REDIRECT_URL = "/"
LOGIN_URL = "account_login"

DEFAULT_FROM_EMAIL = ENV.email_from
EMAIL_BACKEND = "common.mail.FileBackend"
EMAIL_FILE_PATH = ENV.home / "mail"
globals().update(ENV.email or {})
EMAIL_TIMEOUT = 10

# --- Text, time, files --------------------------------------------------------------------------
LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("zh-hans", _("Simplified Chinese"))]
LOCALE_PATHS = [ENV.root / "platform" / "locale"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "/static/"
STATICFILES_DIRS = [ENV.root / "static"]
SERVESTATIC_USE_FINDERS = True

# --- Browser security ---------------------------------------------------------------------------
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PUBLIC_URL.startswith("https://")
SESSION_COOKIE_AGE = int(timedelta(days=14).total_seconds())
CONTENT_SECURITY_POLICY = {
    "EXCLUDE_URL_PREFIXES": ["/admin/"],
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF, ENV.payment_pages],  # browsers look at where a form's answer leads, too
        "frame-ancestors": [NONE],
    },
}

# --- Money --------------------------------------------------------------------------------------
USAGE_RETENTION_MONTHS = ENV.usage_retention_months
SECOND_OPERATOR_OVER_NANO = ENV.second_operator_over_nano
STRIPE_API_KEY = ENV.stripe_api_key
STRIPE_WEBHOOK_SECRETS = ENV.stripe_webhook_secrets
STRIPE_API_BASE = ENV.stripe_api_base

# --- The relay ----------------------------------------------------------------------------------
SPOOL_FOLDER = ENV.home / "spool"
RELAY_BODY_LIMIT_BYTES = 20 * 1024 * 1024

LOGGING = configure_logging(pretty=ENV.debug)
