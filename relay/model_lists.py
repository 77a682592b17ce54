"""What vendors say of their own models, against what we route to. Pure: payloads in, findings out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

import orjson

from relay.errors import UpstreamFailed


class Standing(StrEnum):
    """A vendor's own word for a model, where it has one; a date alone retires nothing."""

    ACTIVE = "active"
    DEPRECATED = "deprecated"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class ListedModel:
    name: str
    standing: Standing = Standing.ACTIVE
    shutdown_on: date | None = None


@dataclass(frozen=True, slots=True)
class RoutedModel:
    """A model as we route to it, and the last day we publish for it."""

    name: str
    upstream_model: str
    shutdown_on: date | None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something operators should know. `kind` is the alert's."""

    kind: str
    upstream_model: str
    message: str
    is_urgent: bool


def read_model_list(payload: bytes) -> dict[str, ListedModel]:
    """A vendor's list by model id: OpenAI's and Anthropic's `data`, Gemini's `models`.

    Raises UpstreamFailed for anything else; what is odd inside one entry only leaves that entry out.
    """
    try:
        raw = orjson.loads(payload)
    except orjson.JSONDecodeError:
        raw = None
    entries = raw.get("data", raw.get("models")) if isinstance(raw, dict) else None
    if not isinstance(entries, list):
        raise UpstreamFailed("The vendor's list of models cannot be read.")
    listed = [_read_entry(entry) for entry in entries if isinstance(entry, dict)]
    return {model.name: model for model in listed if model.name}


def compare(routed: Sequence[RoutedModel], listed: Mapping[str, ListedModel]) -> list[Finding]:
    """What differs between the vendor's list and our routes. An empty list is a fault, not news."""
    if not listed:
        return []
    return [finding for model in routed for finding in _findings(model, listed.get(model.upstream_model))]


def _findings(model: RoutedModel, listed: ListedModel | None) -> list[Finding]:
    upstream = model.upstream_model
    if listed is None or listed.standing is Standing.RETIRED:
        text = f"The vendor does not offer {upstream} any more; it serves {model.name} here."
        return [Finding("model_gone", upstream, text, is_urgent=True)]
    if listed.shutdown_on and listed.shutdown_on != model.shutdown_on:
        ours = model.shutdown_on.isoformat() if model.shutdown_on else "no date"
        text = f"The vendor shuts {upstream} down on {listed.shutdown_on}; {model.name} says {ours} here."
        return [Finding("model_shutdown", upstream, text, is_urgent=False)]
    if listed.standing is Standing.DEPRECATED and model.shutdown_on is None:
        text = f"The vendor has deprecated {upstream}; {model.name} does not say so here."
        return [Finding("model_shutdown", upstream, text, is_urgent=False)]
    return []


def _read_entry(entry: Mapping[str, Any]) -> ListedModel:
    name = entry.get("id") or entry.get("name")
    lifecycle = entry.get("lifecycle")
    return ListedModel(
        name=name.removeprefix("models/") if isinstance(name, str) else "",
        standing=Standing(lifecycle) if lifecycle in set(Standing) else Standing.ACTIVE,
        shutdown_on=_read_day(entry.get("shutdown_date") or entry.get("retires_at")),
    )


def _read_day(text: object) -> date | None:
    try:
        return date.fromisoformat(text[:10]) if isinstance(text, str) else None
    except ValueError:
        return None
