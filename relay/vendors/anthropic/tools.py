"""The customer's tools and how they may be chosen, in Anthropic's words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from relay.capabilities import ModelTraits
from relay.errors import InvalidRequest
from relay.vendors.anthropic.content import keep_cache_control
from relay.vendors.anthropic.schema import tool_schema
from relay.vendors.shared.tool_names import ToolNames

_MODES: Mapping[str, str] = {"none": "none", "auto": "auto", "required": "any"}
_FORCING = ("any", "tool")


@dataclass(frozen=True, slots=True)
class Toolbox:
    """`choice` None leaves it to the model. `function_form`: the customer asked with `functions`."""

    tools: tuple[dict[str, Any], ...] = ()
    choice: dict[str, Any] | None = None
    function_form: bool = False
    dropped: tuple[str, ...] = ()

    @property
    def is_forced(self) -> bool:
        return self.choice is not None and self.choice["type"] in _FORCING


def read_tools(body: Mapping[str, Any], traits: ModelTraits, names: ToolNames) -> Toolbox:
    """Raises InvalidRequest for tools or a choice the model does not have."""
    function_form = not body.get("tools") and bool(body.get("functions"))
    declared, field = _declared(body)
    if not declared:
        return Toolbox()
    if not traits.tools:
        raise InvalidRequest(
            f"Unsupported parameter: '{field}' is not supported with this model.",
            param=field,
            reason="unsupported_parameter",
        )
    choice, allowed = _read_choice(body, function_form=function_form)
    tools = [_tool(tool, f"{field}[{index}]", traits, names) for index, tool in enumerate(declared)]
    _check_names(tools, field)
    if allowed is not None:
        tools = [tool for tool in tools if tool["name"] in {names.send(name) for name in allowed}]
    _check_choice(choice, tools, traits, names)
    single = function_form or body.get("parallel_tool_calls") is False
    if single and (choice is None or choice["type"] != "none"):
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    return Toolbox(tuple(tools), choice, function_form, _dropped(declared, traits))


def _declared(body: Mapping[str, Any]) -> tuple[list[dict[str, Any]], str]:
    if body.get("tools"):
        return body["tools"], "tools"
    return [{"type": "function", "function": each} for each in body.get("functions") or ()], "functions"


def _tool(tool: Mapping[str, Any], where: str, traits: ModelTraits, names: ToolNames) -> dict[str, Any]:
    if tool["type"] != "function":
        raise InvalidRequest(
            f"Unsupported value: '{where}.type': this model takes functions only.",
            param=f"{where}.type",
            reason="unsupported_value",
        )
    function = tool["function"]
    described: dict[str, Any] = {"name": names.send(function["name"])}
    if function.get("description"):
        described["description"] = function["description"]
    described["input_schema"] = tool_schema(function.get("parameters"))
    if function.get("strict") and traits.strict_tools:
        described["strict"] = True
    return keep_cache_control(described, tool if "cache_control" in tool else function, where)


def _check_names(tools: list[dict[str, Any]], field: str) -> None:
    """The vendor refuses two tools of one name, and nobody could tell their calls apart."""
    seen = set()
    for tool in tools:
        if tool["name"] in seen:
            raise InvalidRequest(
                f"Invalid '{field}': there are two of the name '{tool['name']}'.",
                param=field,
                reason="invalid_value",
            )
        seen.add(tool["name"])


def _dropped(declared: list[dict[str, Any]], traits: ModelTraits) -> tuple[str, ...]:
    wants_strict = any(tool["function"].get("strict") for tool in declared)
    return ("tools[].function.strict",) if wants_strict and not traits.strict_tools else ()


def _read_choice(
    body: Mapping[str, Any], *, function_form: bool
) -> tuple[dict[str, Any] | None, list[str] | None]:
    """The choice, names still the customer's, and the names it is limited to."""
    wanted = body.get("function_call" if function_form else "tool_choice")
    if wanted is None:
        return None, None
    if isinstance(wanted, str):
        return {"type": _MODES[wanted]}, None
    if function_form:
        return {"type": "tool", "name": wanted["name"]}, None
    if wanted["type"] == "function":
        return {"type": "tool", "name": wanted["function"]["name"]}, None
    if wanted["type"] != "allowed_tools":
        _refuse_choice("this model takes functions only", "unsupported_value")
    allowed = wanted["allowed_tools"]
    return {"type": _MODES[allowed["mode"]]}, _allowed_names(allowed["tools"])


def _allowed_names(tools: list[dict[str, Any]]) -> list[str]:
    functions = [tool.get("function") for tool in tools]
    names = [function.get("name") for function in functions if isinstance(function, dict)]
    return [name for name in names if isinstance(name, str)]


def _check_choice(
    choice: dict[str, Any] | None, tools: list[dict[str, Any]], traits: ModelTraits, names: ToolNames
) -> None:
    if not tools:
        _refuse_choice("none of the allowed tools is among 'tools'", "invalid_value")
    if choice is None or choice["type"] not in _FORCING:
        return
    if not traits.forced_tool_choice:
        _refuse_choice("this model cannot be made to call a tool; use 'auto'", "unsupported_value")
    if choice["type"] == "tool":
        choice["name"] = names.send(choice["name"])
        if all(tool["name"] != choice["name"] for tool in tools):
            _refuse_choice("this function is not among the tools", "invalid_value")


def _refuse_choice(problem: str, reason: str) -> NoReturn:
    opening = "Unsupported value:" if reason == "unsupported_value" else "Invalid"
    raise InvalidRequest(f"{opening} 'tool_choice': {problem}.", param="tool_choice", reason=reason)
