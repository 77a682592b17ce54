"""The JSON object in an answer of a model that was only asked for one: without fences, without prose."""

import re

_STRUCTURE = re.compile(r'[{}\[\]"\\]')
_OPENING, _CLOSING = "{[", "}]"


class JsonText:
    """Give it text as it comes; it passes on the first object and nothing around it.

    An answer without any object is passed on whole at the end: it may be a refusal.
    """

    __slots__ = ("_depth", "_held", "_in_string", "_skips", "is_done")

    def __init__(self) -> None:
        self._held = ""
        self._depth = 0
        self._in_string = False
        self._skips = False  # the last piece ended in a backslash
        self.is_done = False

    @property
    def held(self) -> str:
        return self._held

    def feed(self, text: str) -> str:
        if self.is_done:
            return ""
        if self._depth == 0:
            self._held += text
            start = self._held.find("{")
            if start < 0:
                return ""
            text, self._held = self._held[start:], ""
        return text[: self._end_of_object(text)]

    def close(self) -> str:
        """What is left when nothing more can come."""
        held, self._held = self._held, ""
        return held

    def _end_of_object(self, text: str) -> int:
        """Where the object ends in `text`; its length if it goes on."""
        at = 1 if self._skips else 0
        self._skips = self._skips and not text
        while found := _STRUCTURE.search(text, at):
            at = found.end() + self._take(found[0])
            if self._depth == 0:
                self.is_done = True
                return at
        self._skips = self._skips or at > len(text)
        return len(text)

    def _take(self, character: str) -> int:
        """Note one character that structures JSON; returns how many behind it to skip."""
        if character == "\\":
            return 1 if self._in_string else 0
        if character == '"':
            self._in_string = not self._in_string
        elif not self._in_string:
            self._depth += 1 if character in _OPENING else -1
        return 0


def extract_json(text: str) -> str:
    reader = JsonText()
    found = reader.feed(text)
    return found + reader.close()
