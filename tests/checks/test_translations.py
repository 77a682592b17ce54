"""Everything people read exists in both languages."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import polib
import pytest

ROOT = Path(__file__).resolve().parents[2]
MESSAGES = ROOT / "platform" / "locale" / "zh_Hans" / "LC_MESSAGES" / "django.po"


def test_every_message_is_translated() -> None:
    catalog = polib.pofile(str(MESSAGES))
    assert [entry.msgid for entry in catalog if not entry.obsolete and not entry.translated()] == []


@pytest.mark.skipif(shutil.which("msguniq") is None, reason="GNU gettext is not installed")
def test_every_text_of_the_code_is_in_the_catalogue(tmp_path: Path) -> None:
    copy = tmp_path / "tree"
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    for name in tracked:
        if (ROOT / name).suffix in {".py", ".html", ".txt", ".po"} and (ROOT / name).exists():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    subprocess.run(
        [sys.executable, "manage.py", "makemessages", "--locale=zh_Hans", "--no-obsolete", "--no-location"],
        cwd=copy,
        env={"PATH": os.environ["PATH"], "FAREBOX_HOME": str(tmp_path / "home")},
        check=True,
        capture_output=True,
    )
    found = {entry.msgid for entry in polib.pofile(str(copy / MESSAGES.relative_to(ROOT)))}
    assert found - {entry.msgid for entry in polib.pofile(str(MESSAGES))} == set()
