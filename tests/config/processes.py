"""What tests of real processes need: to wait for something, and to see what is left."""

import os
import time
from collections.abc import Callable
from pathlib import Path


def wait_for(condition: Callable[[], object], seconds: float = 15) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


def processes_of(folder: Path, *, but: str = "\0") -> list[int]:
    """Living processes whose command line or working directory names `folder`, but those that name `but`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
            place = os.fsencode((entry / "cwd").readlink())
        except OSError:
            continue
        if words and os.fsencode(folder) in words + place and but.encode() not in words:
            found.append(int(entry.name))
    return found
