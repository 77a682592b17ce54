"""Thought signatures: what a model wants back, unchanged, beside the calls it made while thinking.

In one message only the first of several calls has one. Clients that know OpenAI's fields only lose it; then
it comes from memory. Where there is none, newer models refuse the call unless it says that it has none.
"""

from collections.abc import Mapping
from typing import Any

# The vendor's own word for calls that no signature was kept of, or that another model made.
NO_SIGNATURE = "skip_thought_signature_validator"


class Signatures:
    """What was kept, by client or memory. Another model's signatures are refused by the vendor."""

    __slots__ = ("_is_usable", "_memory", "_model", "_needed")

    def __init__(self, model: str, memory: Mapping[str, Any], *, needed: bool, is_usable: bool) -> None:
        self._model = model
        self._memory = memory
        self._needed = needed
        self._is_usable = is_usable

    def put(self, parts: list[dict[str, Any]], calls: list[Mapping[str, Any]]) -> None:
        """Onto the parts of one message's calls, each where it was."""
        kept = [self._of(call) for call in calls] if self._is_usable else [None] * len(calls)
        for part, signature in zip(parts, kept, strict=True):
            if signature is not None:
                part["thoughtSignature"] = signature
        if parts and self._needed and not any(kept):
            parts[0]["thoughtSignature"] = NO_SIGNATURE

    def _of(self, call: Mapping[str, Any]) -> str | None:
        extra = call.get("extra_content")
        sent = extra.get("google") if isinstance(extra, dict) else None
        if isinstance(sent, dict):
            return self._usable(sent.get("thought_signature"), sent.get("model", self._model))
        entry = self._memory.get(call.get("id", ""))
        return self._usable(entry.get("signature"), entry.get("model")) if isinstance(entry, dict) else None

    def _usable(self, signature: object, model: object) -> str | None:
        return signature if isinstance(signature, str) and signature and model == self._model else None


def for_client(signature: str, model: str) -> dict[str, Any]:
    """Where the vendor's own OpenAI-compatible endpoint has it, and which model it belongs to."""
    return {"extra_content": {"google": {"thought_signature": signature, "model": model}}}


def for_memory(signature: str, model: str) -> dict[str, str]:
    return {"model": model, "signature": signature}
