"""Did the model that answered do so under the name that was asked for? Pure.

Vendors redirect retired names to successors, at the successor's price; the name in the answer is the only
sign.
"""

import re

# A snapshot's date, or the word for the newest one: 2024-08-06, 20250929, 001, latest, preview-05-20.
_SNAPSHOT = re.compile(r"[-@:](latest|v?\d{3,8}|\d{4}-\d{2}-\d{2}|(preview|exp)(-\d{2}-\d{2,4})?)$")


def is_substituted(asked: str, answered: str) -> bool:
    """True where another model answered. A dated snapshot of what was asked for is the same model, and a
    vendor that names none says nothing."""
    if not answered or asked == answered:
        return False
    return _family(asked) != _family(answered)


def _family(name: str) -> str:
    """Without the path that hosts put before a name, and without snapshot marks behind it."""
    family = name.rpartition("/")[2].lower()
    while (shorter := _SNAPSHOT.sub("", family)) != family:
        family = shorter
    return family
