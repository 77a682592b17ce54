"""What goes out: objects without what is ours alone, expanded where asked for, and lists page by page."""

import copy
from collections.abc import Callable
from typing import Any

from tests.doubles.stripe.params import Json, invalid
from tests.doubles.stripe.state import State

PAGE, LONGEST_PAGE = 10, 100


def render(state: State, thing: Json, expand: list[str]) -> Json:
    """What goes out: nothing that begins with an underscore, and objects instead of ids where asked for."""
    shown: Json = _without_private(copy.deepcopy(thing))
    for path in expand:
        _expand(state, shown, path.split("."))
    return shown


def _without_private(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_private(one) for name, one in value.items() if not name.startswith("_")}
    return [_without_private(one) for one in value] if isinstance(value, list) else value


def _expand(state: State, shown: Any, steps: list[str]) -> None:
    if isinstance(shown, list):
        for one in shown:
            _expand(state, one, steps)
        return
    if not isinstance(shown, dict):
        return
    if steps[0] not in shown:
        shown[steps[0]] = _on_request(state, shown, steps[0])
    value = shown[steps[0]]
    if isinstance(value, str) and value in state.objects:
        value = shown[steps[0]] = _without_private(copy.deepcopy(state.objects[value]))
    if len(steps) > 1:
        _expand(state, value, steps[1:])


def _on_request(state: State, shown: Json, name: str) -> Any:
    """What is there but only sent to those who ask. Raises StripeError."""
    held = state.objects.get(shown.get("id", ""), {}).get(f"_{name}")
    if held is None:
        raise invalid(f"This property cannot be expanded ({name}).", param="expand")
    return copy.deepcopy(held)


def listed(state: State, kind: str, params: Json, fits: Callable[[Json], bool] = lambda _one: True) -> Json:
    """Newest first, page by page."""
    created = params.get("created") or {}
    found = [one for one in state.all(kind) if fits(one) and _is_created(one, created)]
    limit = _limit(params)
    for cursor in ("starting_after", "ending_before"):
        if cursor in params:
            state.get(params[cursor], kind, cursor)
    if before := params.get("ending_before"):
        found = found[: _place(found, before)]
        page = found[-limit:]
    else:
        after = params.get("starting_after")
        found = found[_place(found, after) + 1 :] if after else found
        page = found[:limit]
    return {"object": "list", "url": f"/v1/{kind}s", "data": page, "has_more": len(found) > len(page)}


def _limit(params: Json) -> int:
    limit = int(params.get("limit", PAGE))
    if not 1 <= limit <= LONGEST_PAGE:
        raise invalid(f"This value must be between 1 and {LONGEST_PAGE}", param="limit")
    return limit


def _place(found: list[Json], cursor: str) -> int:
    return next((place for place, one in enumerate(found) if one["id"] == cursor), len(found))


def _is_created(one: Json, bounds: Any) -> bool:
    if not isinstance(bounds, dict):
        return bool(one["created"] == int(bounds))
    checks = {
        "gt": one["created"] > int(bounds.get("gt", -1)),
        "gte": one["created"] >= int(bounds.get("gte", 0)),
        "lt": one["created"] < int(bounds.get("lt", 1 << 60)),
        "lte": one["created"] <= int(bounds.get("lte", 1 << 60)),
    }
    return all(checks[name] for name in bounds)
