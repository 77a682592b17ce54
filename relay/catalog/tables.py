"""Typed values out of TOML tables, and the one error that says where a file is wrong.

Messages name the table and the key and say what belongs there. They never repeat a value: it may be
a credential that landed under the wrong key.
"""

import re
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime
from typing import Any

from common.errors import AppError

ROOT = "the catalogue"


class CatalogError(AppError):
    """The catalogue file cannot be used; nothing was changed. `param` is the offending key."""

    code = "invalid_catalog"


class Table:
    """One table and its place in the file. Remembers what was asked for; `finish` finds typos."""

    def __init__(self, values: Mapping[str, object], place: str = ROOT) -> None:
        self._values = values
        self._asked: set[str] = set()
        self.place = place

    def mistake(self, key: str, expected: str) -> CatalogError:
        return CatalogError(f"{self.place}, {key}: expected {expected}", param=key)

    def get(self, key: str) -> object:
        """The raw value, None if the key is missing (TOML itself has no null)."""
        self._asked.add(key)
        return self._values.get(key)

    def has(self, key: str) -> bool:
        return key in self._values

    def text(self, key: str, *, default: str | None = None, expected: str = "a text") -> str:
        value = self.optional_text(key, expected=expected)
        if value is not None:
            return value
        if default is None:
            raise self.mistake(key, f"{expected}; the key is missing")
        return default

    def optional_text(self, key: str, *, expected: str = "a text") -> str | None:
        value = self.get(key)
        if value is None:
            return None
        if not isinstance(value, str) or not value.strip():
            raise self.mistake(key, f"{expected}, quoted and not empty")
        return value

    def matching(self, key: str, pattern: re.Pattern[str], expected: str) -> str:
        value = self.optional_matching(key, pattern, expected)
        if value is None:
            raise self.mistake(key, f"{expected}; the key is missing")
        return value

    def optional_matching(self, key: str, pattern: re.Pattern[str], expected: str) -> str | None:
        value = self.optional_text(key, expected=expected)
        if value is not None and not pattern.fullmatch(value):
            raise self.mistake(key, expected)
        return value

    def choice(self, key: str, allowed: Collection[str], *, default: str | None = None) -> str:
        expected = "one of " + ", ".join(allowed)
        value = self.text(key, default=default, expected=expected)
        if value not in allowed:
            raise self.mistake(key, expected)
        return value

    def texts(self, key: str, expected: str = "a list of texts") -> tuple[str, ...]:
        items = self._list(key, expected)
        if not all(isinstance(item, str) and item.strip() for item in items):
            raise self.mistake(key, f"{expected}, each quoted and not empty")
        if len(set(items)) < len(items):
            raise self.mistake(key, f"{expected}, each only once")
        return tuple(items)

    def integer(self, key: str, *, minimum: int, default: int | None = None) -> int:
        value = self.get(key)
        if value is None and default is not None:
            return default
        # bool is an int to Python, not to TOML. The upper bound is what a database integer holds.
        if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value < 2**31:
            raise self.mistake(key, f"a whole number of at least {minimum}")
        return value

    def seconds(self, key: str, *, default: float) -> float:
        """More than none and at most a day, so neither infinity nor "not a number" passes."""
        value = default if self.get(key) is None else self.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 86_400:
            raise self.mistake(key, "seconds, more than 0 and at most 86400")
        return float(value)

    def day(self, key: str) -> date | None:
        value = self.get(key)
        if value is None or (isinstance(value, date) and not isinstance(value, datetime)):
            return value
        raise self.mistake(key, "a date like 2027-01-14, without quotes")

    def table(self, key: str) -> "Table | None":
        value = self.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.mistake(key, "a table")
        return Table(value, self._inside(key))

    def tables(self, key: str) -> tuple["Table", ...]:
        expected = "a list of tables"
        items = self._list(key, expected)
        if not all(isinstance(item, dict) for item in items):
            raise self.mistake(key, expected)
        return tuple(
            Table(item, f"{self._inside(key)} number {number}") for number, item in enumerate(items, 1)
        )

    def _list(self, key: str, expected: str) -> list[Any]:
        value = self.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.mistake(key, expected)
        return value

    def _inside(self, key: str) -> str:
        return key if self.place == ROOT else f"{self.place}, {key}"

    def finish(self) -> None:
        """Refuses keys that nobody asked for. Call it when everything known has been read."""
        for key in self._values:
            if key not in self._asked:
                known = ", ".join(sorted(self._asked))
                raise CatalogError(f"{self.place}, {key}: unknown key; expected one of {known}", param=key)


def refuse_twins(items: Collection[str], describe: Callable[[str], str]) -> None:
    seen: set[str] = set()
    for item in items:
        if item in seen:
            raise CatalogError(f"{describe(item)} is there twice; expected each name once")
        seen.add(item)
