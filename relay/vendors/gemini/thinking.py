"""Whether and how much a model shall think about a request, in Gemini's words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relay.capabilities import EFFORTS, ModelTraits, nearest_effort

_LEVELS: Mapping[str, str] = {
    "minimal": "MINIMAL",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "XHIGH",
    "max": "XHIGH",
}
_SHOWN = {"includeThoughts": True}


@dataclass(frozen=True, slots=True)
class Thinking:
    """`config` None says nothing about thinking to the vendor."""

    config: Mapping[str, Any] | None = None
    dropped: tuple[str, ...] = ()


def plan_thinking(body: Mapping[str, Any], traits: ModelTraits, limit: int | None) -> Thinking:
    """`limit` is of all output tokens: what a model thinks is part of it.

    A model that always thinks thinks as little as it can for a customer who wants none, and the
    parameter is named as one that was not followed.
    """
    name, effort, budget = _read_wish(body)
    if traits.reasoning == "none":
        return Thinking(dropped=() if effort in (None, "none") else (name,))
    if effort is None:
        return Thinking(_SHOWN)
    if effort == "none":
        return _without(traits, name)
    if traits.reasoning == "budget":
        wanted = budget or dict(traits.reasoning_budgets).get(effort, 0)
        return Thinking({"thinkingBudget": _fitted(wanted, traits, limit), **_SHOWN})
    level = nearest_effort(effort, traits.reasoning_efforts)
    return Thinking({"thinkingLevel": _LEVELS[level], **_SHOWN})


def _read_wish(body: Mapping[str, Any]) -> tuple[str, str | None, int | None]:
    """The field that says it, an effort in OpenAI's words, and a budget in tokens.

    The `thinking` of other vendors is understood too, where OpenAI's word is missing.
    """
    if body.get("reasoning_effort") is not None:
        return "reasoning_effort", body["reasoning_effort"], None
    wish = body.get("thinking")
    kind = wish.get("type") if isinstance(wish, dict) else None
    if kind == "disabled":
        return "thinking", "none", None
    if kind not in ("enabled", "adaptive"):
        return "thinking", None, None
    budget = wish.get("budget_tokens") if isinstance(wish, dict) else None
    return "thinking", "high", budget if type(budget) is int and budget > 0 else None


def _without(traits: ModelTraits, name: str) -> Thinking:
    dropped = () if traits.reasoning_can_disable else (name,)
    if traits.reasoning == "budget":
        least = 0 if traits.reasoning_can_disable else traits.reasoning_budget_range[0]
        return Thinking({"thinkingBudget": least}, dropped)
    least_effort = next(effort for effort in EFFORTS if effort in traits.reasoning_efforts)
    return Thinking({"thinkingLevel": traits.reasoning_off or _LEVELS[least_effort]}, dropped)


def _fitted(budget: int, traits: ModelTraits, limit: int | None) -> int:
    """A budget the model takes, which leaves a quarter of the limit to the answer where it can."""
    least, most = traits.reasoning_budget_range
    if limit is not None:
        most = min(most, limit * 3 // 4)
    return max(min(budget, most), least)
