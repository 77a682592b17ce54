"""Ids of tool calls that the vendor's pattern does not allow, changed so that they can be told apart."""

import re

from relay.vendors.shared.tool_names import mark, plain

_CALL_ID = re.compile(r"[a-zA-Z0-9_-]+")


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
            sent = f"{plain(call_id) or 'call'}_{mark(call_id)}"
        number, unique = 1, sent
        while unique in self._used:
            number += 1
            unique = f"{sent}_{number}"
        return unique
