"""What `manage.py` runs: commands find their engines running, and mistakes are one line."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from common.errors import AppError

# These read the code only. `up` runs the engines itself; the others never ask the database anything.
WITHOUT_ENGINES = frozenset(
    {
        "check",
        "collectstatic",
        "compilemessages",
        "diffsettings",
        "findstatic",
        "help",
        "makemessages",
        "makemigrations",
        "startapp",
        "startproject",
        "up",
        "version",
    }
)


def run(argv: list[str]) -> int:
    """Run one command; 2 and one line on stderr for what the person who typed it can put right."""
    try:
        with _surroundings(argv):
            from django.core.management import execute_from_command_line  # noqa: PLC0415 - settings first

            execute_from_command_line(argv)
    except AppError as error:
        sys.stderr.write(f"farebox: {error.message}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


@contextmanager
def _surroundings(argv: list[str]) -> Iterator[None]:
    """The settings module, and engines for a command that uses them."""
    # Reading the environment can itself be refused, which must become one line too.
    from config.engines import engines_available  # noqa: PLC0415 - see above
    from config.engines.home import prepare_home  # noqa: PLC0415 - see above
    from config.env import ENV, SETTINGS_MODULE, set_variable, variables  # noqa: PLC0415 - see above

    if "DJANGO_SETTINGS_MODULE" not in variables():
        set_variable("DJANGO_SETTINGS_MODULE", SETTINGS_MODULE)
    if needs_engines(argv):
        with engines_available(ENV):
            yield
    else:
        if argv[1:2] == ["up"]:
            prepare_home(ENV.home)  # settings write secrets there before the command can look
        yield


def needs_engines(argv: list[str]) -> bool:
    """Whether the command asks the database or Valkey anything."""
    words = argv[1:]
    asks_for_help = any(word in {"-h", "--help", "--version"} for word in words)
    return bool(words) and not asks_for_help and words[0] not in WITHOUT_ENGINES
