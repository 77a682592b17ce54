"""The map is true: every path that a document names exists, and every document is one page."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "platform" / "docs").rglob("*.md"))]
TOP = ("accounts", "billing", "relay", "platform", "templates", "static", "tests")
PATH = re.compile(r"`((?:" + "|".join(TOP) + r")/[\w./-]*)`")
PAGE_LINES = 160


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_named_paths_exist(document: Path) -> None:
    named = PATH.findall(document.read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_is_a_page(document: Path) -> None:
    assert len(document.read_text().splitlines()) <= PAGE_LINES


def test_the_readme_leads_with_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text()
    assert readme.index("make run") < readme.index("make test") < 1_500
