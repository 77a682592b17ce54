"""What a rule of the books is. Each family of rules has a module of its own beside this one."""

from dataclasses import dataclass

# Sums of `billing_mark` are equal where they are equal modulo this.
PRIME = 2_147_483_647


@dataclass(frozen=True)
class Rule:
    """`words` say what must be true. A row that makes `broken` true breaks the rule."""

    name: str
    words: str
    broken: str = "true"


@dataclass(frozen=True)
class Search:
    """One pass over rows for one or several rules: `query` finds all that breaks any of them.

    Both sides of a comparison are put into one heap, grouped by what they must agree on, and the groups that
    do not agree come out (`HAVING`): one pass, and no side is forgotten where the other has no row.
    `given` is a query that comes first; its one value is `%(given)s` in the other.
    """

    rules: tuple[Rule, ...]
    query: str
    given: str | None = None


def search(name: str, words: str, query: str, *, given: str | None = None) -> Search:
    """For one rule: every row that comes out breaks it."""
    return Search((Rule(name, words),), query, given)
