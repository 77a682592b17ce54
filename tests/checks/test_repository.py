"""What may never be committed: secrets, and addresses of the place where this was written."""

import re
import subprocess
from pathlib import Path

from accounts.keys import is_well_formed

ROOT = Path(__file__).resolve().parents[2]
SECRETS = re.compile(r"\b(?:sk-(?:proj|ant)-[\w-]{30,}|sk_live_\w{20,}|whsec_\w{20,}|AKIA[A-Z0-9]{16})\b")
OWN_KEYS = re.compile(r"\bsk-[A-Za-z0-9]{49}\b")
INDEX_HOSTS = re.compile(r"--(?:extra-)?index-url|--find-links|files\.python" + r"hosted")


def tracked_texts() -> dict[str, str]:
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    return {
        name: (ROOT / name).read_text(errors="ignore") for name in names if name and (ROOT / name).is_file()
    }


def test_no_secret_is_committed() -> None:
    texts = tracked_texts().items()
    assert [name for name, text in texts if SECRETS.search(text)] == []
    assert [name for name, text in texts if any(map(is_well_formed, OWN_KEYS.findall(text)))] == []


def test_lock_files_name_hashes_and_no_host() -> None:
    locks = {
        name: text for name, text in tracked_texts().items() if name.endswith(("runtime.txt", "dev.txt"))
    }
    assert len(locks) == 2
    for text in locks.values():
        assert "--hash=sha256:" in text
        lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
        assert not INDEX_HOSTS.search("\n".join(lines))
