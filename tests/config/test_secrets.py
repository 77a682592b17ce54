"""The secrets of an installation: made once, for the owner's eyes, whoever starts at the same moment."""

import base64
import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from config.env import ENV, child_environment, read_env
from config.secrets import Secrets, SecretsUnusable, load_secrets

GIVEN = {"SECRET_KEY": "s", "KEY_PEPPER": "p", "FIELD_KEYS": "k2:b,k1:a"}


def secrets_of(home: Path, **variables: str) -> Secrets:
    return load_secrets(read_env({"FAREBOX_HOME": str(home), **variables}))


def test_secrets_are_made_once_and_kept(tmp_path: Path) -> None:
    assert secrets_of(tmp_path) == secrets_of(tmp_path)
    assert secrets_of(tmp_path) != secrets_of(tmp_path / "other")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["secrets.json"]


def test_only_the_owner_can_read_them(tmp_path: Path) -> None:
    home = tmp_path / "home"
    secrets_of(home)
    assert stat.S_IMODE((home / "secrets.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_they_are_long_and_the_field_key_fits_its_cipher(tmp_path: Path) -> None:
    made = secrets_of(tmp_path)
    assert min(len(made.secret_key), len(made.key_pepper)) >= 64
    [(name, _, key)] = [entry.partition(":") for entry in made.field_keys]
    assert (name, len(base64.urlsafe_b64decode(key))) == ("k1", 32)


def test_what_is_printed_holds_no_secret(tmp_path: Path) -> None:
    made = secrets_of(tmp_path)
    assert repr(made) == str(made) == "Secrets(…)"


def test_given_secrets_need_no_file(tmp_path: Path) -> None:
    assert secrets_of(tmp_path, **GIVEN) == Secrets("s", "p", ("k2:b", "k1:a"))
    assert not list(tmp_path.iterdir())


def test_a_given_one_counts_and_the_others_come_from_the_file(tmp_path: Path) -> None:
    kept = secrets_of(tmp_path)
    mixed = secrets_of(tmp_path, KEY_PEPPER="p")
    assert (mixed.secret_key, mixed.key_pepper, mixed.field_keys) == (kept.secret_key, "p", kept.field_keys)


@pytest.mark.parametrize(
    "content", ["", "no json", "[]", "{}", '{"secret_key": "s", "key_pepper": "p"}', "\xff"]
)
def test_a_damaged_file_is_refused_and_never_replaced(tmp_path: Path, content: str) -> None:
    path = tmp_path / "secrets.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(SecretsUnusable, match=r"secrets\.json"):
        secrets_of(tmp_path)
    assert path.read_bytes() == content.encode("latin-1")


def test_the_refusal_of_a_damaged_file_quotes_none_of_it(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_bytes(b'{"secret_key": "do-not-show", "key_pepper": \xff}')
    with pytest.raises(SecretsUnusable) as refusal:
        secrets_of(tmp_path)
    assert "do-not-show" not in str(refusal.value)


def test_a_home_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(SecretsUnusable):
        secrets_of(tmp_path / "home")


STARTER = """
import sys
from pathlib import Path
from config.env import read_env
from config.secrets import load_secrets
print("ready", flush=True)
sys.stdin.readline()
made = load_secrets(read_env({"FAREBOX_HOME": sys.argv[1]}))
print(made.secret_key, made.key_pepper, *made.field_keys)
"""


def test_processes_that_start_at_once_agree(tmp_path: Path) -> None:
    home = tmp_path / "home"
    starters = [
        subprocess.Popen(
            [sys.executable, "-c", STARTER, str(home)],
            env=child_environment(),
            cwd=ENV.root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(5)
    ]
    for starter in starters:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "ready\n"
    for starter in starters:
        assert starter.stdin is not None
        starter.stdin.write("go\n")
        starter.stdin.flush()
    told = {starter.communicate(timeout=30)[0] for starter in starters}
    kept = json.loads((home / "secrets.json").read_text())
    assert told == {f"{kept['secret_key']} {kept['key_pepper']} {kept['field_keys'][0]}\n"}
    assert [path.name for path in home.iterdir()] == ["secrets.json"]
