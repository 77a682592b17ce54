"""Under which identity PostgreSQL runs: it refuses to be root, and we refuse to touch others' permissions.

An ordinary user needs nothing. Root gets a user namespace in which it has another number; files stay root's.
Where namespaces are forbidden an unprivileged account that exists already gets the data folder, nothing else.
"""

import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from config.engines.errors import ConfigurationError

NAMESPACE = ("--user", "--map-user=1000", "--map-group=1000", "--")
ACCOUNTS = ("postgres", "nobody")


@dataclass(frozen=True)
class Identity:
    """A command to put in front, or an account to become; neither for an ordinary user."""

    prefix: tuple[str, ...] = ()
    account: pwd.struct_passwd | None = None

    @property
    def user(self) -> int | None:
        return self.account.pw_uid if self.account else None

    @property
    def group(self) -> int | None:
        return self.account.pw_gid if self.account else None

    def can_enter(self, folder: Path) -> bool:
        """Whether every folder down to `folder` lets this identity through."""
        folders = (folder, *folder.parents)
        return self.account is None or all(_may_pass(each, self.account) for each in folders)


def identity_for_postgres() -> Identity:
    """How this process may run PostgreSQL; raises ConfigurationError when there is no way."""
    if os.geteuid() != 0:
        return Identity()
    unshare = shutil.which("unshare")
    if unshare and namespaces_allowed(unshare):
        return Identity(prefix=(unshare, *NAMESPACE))
    return Identity(account=_unprivileged_account())


@cache
def namespaces_allowed(unshare: str) -> bool:
    tried = subprocess.run(  # noqa: S603 - fixed arguments
        [unshare, *NAMESPACE, "/bin/true"], capture_output=True, check=False
    )
    return tried.returncode == 0


def _unprivileged_account() -> pwd.struct_passwd:
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    for name in ACCOUNTS:
        if name in known:
            return known[name]
    raise ConfigurationError(
        "PostgreSQL cannot run as root here: start Farebox as an ordinary user or set DATABASE_URL"
    )


def _may_pass(folder: Path, account: pwd.struct_passwd) -> bool:
    found = folder.stat()
    if found.st_uid == account.pw_uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == account.pw_gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)


def open_door(folder: Path, identity: Identity) -> None:
    """Let the account's group pass through a folder of ours: by name only, nothing becomes readable."""
    if identity.account and not _may_pass(folder, identity.account):
        os.chown(folder, -1, identity.account.pw_gid)
        folder.chmod(stat.S_IMODE(folder.stat().st_mode) | stat.S_IXGRP)


def hand_over(folder: Path, identity: Identity) -> None:
    """Make a tree of ours the identity's; the top changes last, so a broken run is done again."""
    user, group = identity.user or 0, identity.group or 0
    if os.geteuid() != 0 or folder.lstat().st_uid == user:
        return
    for parent, folders, files in os.walk(folder, topdown=False):
        for name in (*folders, *files):
            os.chown(Path(parent, name), user, group, follow_symlinks=False)
    os.chown(folder, user, group)
