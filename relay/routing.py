"""Which way a request takes. Pure: the dice are handed in."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from relay.capabilities import ModelTraits


@dataclass(frozen=True, slots=True)
class Target:
    """One way to a model: a channel, opened, and what the model is called there."""

    channel: str
    vendor: str
    base_url: str
    api_keys: tuple[str, ...]
    upstream_model: str
    priority: int
    weight: int
    timeout_first_token_s: float
    traits: ModelTraits = field(default=ModelTraits(), repr=False)

    def url(self, path: str) -> str:
        """A base URL may end in a query (`?api-version=…`), which belongs behind the path."""
        base, mark, query = self.base_url.partition("?")
        if not mark:
            return base + path
        return f"{base}{path}{'&' if '?' in path else '?'}{query}"

    def __repr__(self) -> str:
        return f"Target({self.channel}, {self.upstream_model})"


def choose_target(targets: Sequence[Target], dice: float) -> Target:
    """Of the targets with the lowest priority number one by weight; `dice` is in [0, 1)."""
    if len(targets) == 1:
        return targets[0]
    first = min(target.priority for target in targets)
    candidates = [target for target in targets if target.priority == first]
    mark = dice * sum(target.weight for target in candidates)
    for target in candidates:
        mark -= target.weight
        if mark < 0:
            return target
    return candidates[-1]
