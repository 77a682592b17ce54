"""Other processes on the test database: what two processes do to each other only two processes show."""

import os
import subprocess
import sys

from django.db import connection

SETUP = """
import django
from django.conf import settings
settings.DATABASES["default"]["NAME"] = {name!r}
django.setup()
"""


def start_python(code: str) -> "subprocess.Popen[str]":
    """`code` in a process of its own, with Django set up; what it prints can be read from `stdout`."""
    setup = SETUP.format(name=connection.settings_dict["NAME"])
    return subprocess.Popen(
        [sys.executable, "-c", setup + code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
