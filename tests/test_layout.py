"""`platform/` is a folder of packages, not a package: an `__init__.py` there would hide the stdlib module."""

import importlib
import platform
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "config": ROOT / "platform" / "config",
    "common": ROOT / "platform" / "common",
    "accounts": ROOT / "accounts",
    "billing": ROOT / "billing",
    "relay": ROOT / "relay",
}
TOP_LEVEL = {
    *("manage.py", "pyproject.toml", "README.md", "Makefile", "LICENSE", "CHANGELOG.md"),
    *("platform", "accounts", "billing", "relay", "templates", "static", "tests"),
}
MADE_AT_RUN_TIME = {"var", "__pycache__"}


def test_platform_is_the_standard_library() -> None:
    assert Path(platform.__file__).parent == Path(sysconfig.get_path("stdlib"))
    assert not list((ROOT / "platform").glob("*.py"))


@pytest.mark.parametrize("name", PACKAGES)
def test_package_comes_from_this_repository(name: str) -> None:
    origin = importlib.import_module(name).__file__
    assert origin is not None
    assert Path(origin).parent == PACKAGES[name]


def test_nothing_else_stands_at_the_top() -> None:
    found = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert found - MADE_AT_RUN_TIME <= TOP_LEVEL


def test_mirrored_test_folders_are_no_packages() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))
