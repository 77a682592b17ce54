#!/usr/bin/env python
"""Farebox's command line. `manage.py up` runs everything; the other commands use its engines."""

import sys
from pathlib import Path

# `platform/` is a folder of packages, not a package: see README, "Layout".
sys.path.insert(1, str(Path(__file__).resolve().parent / "platform"))


def main() -> int:
    from config.cli import run  # noqa: PLC0415 - only now can it be found

    return run(sys.argv)


if __name__ == "__main__":
    sys.exit(main())
