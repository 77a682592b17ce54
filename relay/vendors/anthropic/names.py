"""Names and ids that the vendor's patterns do not allow, changed so that they can be changed back."""

import hashlib
import re

_CALL_ID = re.compile(r"[a-zA-Z0-9_-]+")
_STRANGE = re.compile(r"[^a-zA-Z0-9_-]")
_KEPT_OF_NAME = 48  # characters; with what is added it fits any vendor's pattern


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
        changed = f"{_STRANGE.sub('_', name)[:_KEPT_OF_NAME] or 'tool'}_{_mark(name)}"
        self.changed[changed] = name
        return changed


class CallIds:
    """Ids of tool calls as the vendor gets them: of its characters, and each only once in a request.

    Other vendors' ids hold other characters, and some clients count from zero in every turn.
    """

    __slots__ = ("_open", "_used")

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._open: dict[str, list[str]] = {}

    def begin(self, call_id: str) -> str:
        sent = self._allowed(call_id)
        self._used.add(sent)
        self._open.setdefault(call_id, []).append(sent)
        return sent

    def answer(self, call_id: str) -> str | None:
        """What the call with this id was sent as; None if no such call waits for an answer."""
        waiting = self._open.get(call_id)
        return waiting.pop(0) if waiting else None

    def close(self) -> list[str]:
        """The calls that were never answered, as they were sent."""
        left = [sent for waiting in self._open.values() for sent in waiting]
        self._open.clear()
        return left

    def _allowed(self, call_id: str) -> str:
        sent = call_id
        if not _CALL_ID.fullmatch(call_id):
            sent = f"{_STRANGE.sub('_', call_id)[:_KEPT_OF_NAME] or 'call'}_{_mark(call_id)}"
        number, unique = 1, sent
        while unique in self._used:
            number += 1
            unique = f"{sent}_{number}"
        return unique


def _mark(text: str) -> str:
    """Keeps apart what looks the same once its strange characters are gone; the same every time."""
    return hashlib.blake2s(text.encode(), digest_size=4).hexdigest()
