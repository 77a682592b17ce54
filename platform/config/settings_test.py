"""The settings under pytest: engines of their own in `var/test…`, and what makes tests fast."""

from config import env

# Two workers of pytest-xdist are two installations: each has engines of its own.
worker = env.variables().get("PYTEST_XDIST_WORKER", "")
env.set_variable("FAREBOX_HOME", str(env.ENV.root / "var" / f"test{worker}"))
env.ENV = env.read_env(env.variables())

from config.settings import *  # noqa: E402, F403 - the differences only
from config.settings import DATABASES  # noqa: E402

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
DATABASES["default"]["OPTIONS"] = {}  # a pool's threads would outlive the test database
