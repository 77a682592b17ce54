"""Names of tools that a vendor's pattern does not allow, changed so that they can be changed back."""

import hashlib
import re

_STRANGE = re.compile(r"[^a-zA-Z0-9_-]")
_KEPT = 48  # characters; with what is added it fits any vendor's pattern


class ToolNames:
    """Names of tools as the vendor gets them. `changed` leads from the vendor's names back to ours."""

    __slots__ = ("_pattern", "_sent", "changed")

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._sent: dict[str, str] = {}
        self.changed: dict[str, str] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._sent

    def send(self, name: str) -> str:
        sent = self._sent.get(name)
        if sent is None:
            sent = self._sent[name] = self._allowed(name)
        return sent

    def _allowed(self, name: str) -> str:
        if re.fullmatch(self._pattern, name):
            return name
        changed = f"{plain(name) or 'tool'}_{mark(name)}"
        if not re.fullmatch(self._pattern, changed):  # some vendors want a letter first
            changed = f"tool_{changed}"
        self.changed[changed] = name
        return changed


def plain(text: str) -> str:
    """What is left of a name where only the commonest characters are allowed."""
    return _STRANGE.sub("_", text)[:_KEPT]


def mark(text: str) -> str:
    """Keeps apart what looks the same once its strange characters are gone; the same every time."""
    return hashlib.blake2s(text.encode(), digest_size=4).hexdigest()
