"""Whether a model thinks about this request, how much, and the thoughts it must get back.

In a tool loop the vendor wants the thinking it began the turn with, unchanged and by the same model. Clients
that know OpenAI's fields only have lost it; then it comes from memory, or the model does not think this time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relay.capabilities import EFFORTS, ModelTraits, nearest_effort
from relay.errors import InvalidRequest

LEAST_BUDGET = 1_024  # tokens; the vendor refuses less
_SHOWN = {"type": "adaptive", "display": "summarized"}

Block = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Thinking:
    """`field` and `effort` go into the request, where they are set."""

    is_on: bool = False
    field: Mapping[str, Any] | None = None
    effort: str | None = None
    dropped: tuple[str, ...] = ()


def always_thinks(traits: ModelTraits) -> bool:
    return traits.reasoning != "none" and not traits.reasoning_can_disable


def plan_thinking(
    body: Mapping[str, Any], traits: ModelTraits, *, max_tokens: int, is_possible: bool
) -> Thinking:
    """`is_possible` False: something else in the request rules thinking out, unless the model always does.

    Raises InvalidRequest where the customer wants none and the model always thinks.
    """
    name, effort, budget = _read_wish(body)
    if effort is None:
        return Thinking(is_on=always_thinks(traits))
    if traits.reasoning == "none":
        return Thinking(dropped=() if effort == "none" else (name,))
    if effort == "none":
        return _without(traits, name)
    if not is_possible and not always_thinks(traits):
        return Thinking(dropped=(name,))
    if traits.reasoning == "budget":
        return _budgeted(budget or dict(traits.reasoning_budgets)[effort], max_tokens, name)
    return _adaptive(effort, traits)


def _read_wish(body: Mapping[str, Any]) -> tuple[str, str | None, int | None]:
    """The field that says it, an effort in OpenAI's words, and a budget in tokens.

    Anthropic's own `thinking` is understood too, where OpenAI's word is missing.
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
    if not traits.reasoning_can_disable:
        raise InvalidRequest(
            f"Unsupported value: '{name}': this model always thinks; its least is"
            f" '{next(effort for effort in EFFORTS if effort in traits.reasoning_efforts)}'.",
            param=name,
            reason="unsupported_value",
        )
    return Thinking(field={"type": traits.reasoning_off} if traits.reasoning_off else None)


def _adaptive(effort: str, traits: ModelTraits) -> Thinking:
    return Thinking(is_on=True, field=_SHOWN, effort=nearest_effort(effort, traits.reasoning_efforts))


def _budgeted(budget: int, max_tokens: int, name: str) -> Thinking:
    """Thinking is part of the answer's limit and leaves a quarter of it to the answer, where it can."""
    if max_tokens <= LEAST_BUDGET:
        return Thinking(dropped=(name,))
    budget = max(min(budget, max_tokens * 3 // 4), LEAST_BUDGET)
    return Thinking(is_on=True, field={"type": "enabled", "budget_tokens": budget})


class Thoughts:
    """What a model thought in earlier turns, as far as client or memory still have it.

    Only thoughts of the model that is asked now: another one's are refused by the vendor.
    """

    __slots__ = ("_is_usable", "_memory", "_model")

    def __init__(self, model: str, memory: Mapping[str, Any], *, is_usable: bool = True) -> None:
        self._model = model
        self._memory = memory
        self._is_usable = is_usable

    def of(self, message: Mapping[str, Any]) -> list[Block]:
        if not self._is_usable:
            return []
        sent = message.get("thinking_blocks")
        blocks = self._usable(sent) if isinstance(sent, list) else []
        return blocks or self._remembered(message)

    def open_loop_is_known(self, messages: list[dict[str, Any]]) -> bool:
        """Whether the turn that is going on, if it called tools, began with thoughts we have."""
        first = _start_of_open_loop(messages)
        return first is None or bool(self.of(first))

    def _remembered(self, message: Mapping[str, Any]) -> list[Block]:
        for call in message.get("tool_calls") or ():
            entry = self._memory.get(call["id"])
            if isinstance(entry, dict) and isinstance(entry.get("blocks"), list):
                return self._usable(entry["blocks"]) if entry.get("model") == self._model else []
        return []

    def _usable(self, blocks: list[Any]) -> list[Block]:
        """All of them or none: a thread with a gap is refused."""
        usable = [_vendor_block(block) for block in blocks if _is_of(block, self._model)]
        whole = [block for block in usable if block is not None]
        return whole if len(whole) == len(blocks) else []


def mark_block(block: Mapping[str, Any], model: str) -> Block:
    """A block as clients get it: it says which model it belongs to."""
    return {**block, "model": model}


def remember_thoughts(call_ids: list[str], blocks: list[Block], model: str) -> dict[str, Any]:
    """What to keep for clients that drop the blocks, by tool call id."""
    return {call_id: {"model": model, "blocks": blocks} for call_id in call_ids} if blocks else {}


def _is_of(block: Any, model: str) -> bool:
    return isinstance(block, dict) and block.get("model", model) == model


def _vendor_block(block: Mapping[str, Any]) -> Block | None:
    if block.get("type") == "redacted_thinking" and _is_text(block.get("data")):
        return {"type": "redacted_thinking", "data": block["data"]}
    if block.get("type") != "thinking" or not _is_text(block.get("signature")):
        return None
    if not isinstance(block.get("thinking"), str):
        return None
    return {"type": "thinking", "thinking": block["thinking"], "signature": block["signature"]}


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _start_of_open_loop(messages: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The first assistant message of the turn that still goes on; None if the last turn called nothing."""
    first = None
    for message in reversed(messages):
        role = message["role"]
        calls = role == "assistant" and bool(message.get("tool_calls") or message.get("function_call"))
        if calls:
            first = message
        elif role == "assistant" or (role not in ("tool", "function") and first is not None):
            break
    return first
