"""The customer's tools and how they may be chosen, in Gemini's words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from relay.capabilities import ModelTraits
from relay.errors import InvalidRequest
from relay.vendors.gemini.schema import openapi_schema, standard_schema
from relay.vendors.shared.tool_names import ToolNames

_MODES: Mapping[str, str] = {"none": "NONE", "auto": "AUTO", "required": "ANY"}


@dataclass(frozen=True, slots=True)
class Toolbox:
    """`config` None leaves the choice to the model. `function_form`: the customer asked with `functions`."""

    declarations: tuple[dict[str, Any], ...] = ()
    config: dict[str, Any] | None = None
    function_form: bool = False
    dropped: tuple[str, ...] = ()


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
    declarations = [_declare(tool, f"{field}[{i}]", traits, names) for i, tool in enumerate(declared)]
    _check_names(declarations, field)
    mode, wanted = _read_choice(body, function_form=function_form)
    allowed = None if wanted is None else {names.send(name) for name in wanted}
    if allowed is not None:
        allowed &= {each["name"] for each in declarations}
        if not allowed:
            _refuse_choice("none of the allowed tools is among 'tools'", "invalid_value")
    if mode == "ANY" and not traits.forced_tool_choice:
        _refuse_choice("this model cannot be made to call a tool; use 'auto'", "unsupported_value")
    if mode != "ANY" and allowed is not None:  # the vendor restricts forced calls only
        declarations = [each for each in declarations if each["name"] in allowed]
    return Toolbox(
        tuple(declarations), _config(mode, allowed), function_form, _dropped(body, declared, traits)
    )


def _config(mode: str | None, allowed: set[str] | None) -> dict[str, Any] | None:
    if mode is None:
        return None
    config: dict[str, Any] = {"mode": mode}
    if mode == "ANY" and allowed is not None:
        config["allowedFunctionNames"] = sorted(allowed)
    return {"functionCallingConfig": config}


def _declared(body: Mapping[str, Any]) -> tuple[list[dict[str, Any]], str]:
    if body.get("tools"):
        return body["tools"], "tools"
    return [{"type": "function", "function": each} for each in body.get("functions") or ()], "functions"


def _declare(tool: Mapping[str, Any], where: str, traits: ModelTraits, names: ToolNames) -> dict[str, Any]:
    if tool["type"] != "function":
        raise InvalidRequest(
            f"Unsupported value: '{where}.type': this model takes functions only.",
            param=f"{where}.type",
            reason="unsupported_value",
        )
    function = tool["function"]
    declaration: dict[str, Any] = {"name": names.send(function["name"])}
    if function.get("description"):
        declaration["description"] = function["description"]
    if function.get("parameters"):
        _put_parameters(declaration, function["parameters"], f"{where}.function.parameters", traits)
    return declaration


def _put_parameters(
    declaration: dict[str, Any], parameters: dict[str, Any], where: str, traits: ModelTraits
) -> None:
    """Arguments are an object, also where the customer did not say so. The subset has none without
    properties: then nothing is said about arguments at all."""
    if traits.schema_dialect == "json_schema":
        declaration["parametersJsonSchema"] = {**standard_schema(parameters, where), "type": "object"}
        return
    cleaned = {**openapi_schema({**parameters, "type": "object"}, where)}
    if cleaned.get("properties"):
        declaration["parameters"] = cleaned


def _check_names(declarations: list[dict[str, Any]], field: str) -> None:
    """The vendor refuses two functions of one name, and nobody could tell their calls apart."""
    seen = set()
    for declaration in declarations:
        if declaration["name"] in seen:
            raise InvalidRequest(
                f"Invalid '{field}': there are two of the name '{declaration['name']}'.",
                param=field,
                reason="invalid_value",
            )
        seen.add(declaration["name"])


def _dropped(body: Mapping[str, Any], declared: list[dict[str, Any]], traits: ModelTraits) -> tuple[str, ...]:
    dropped = []
    if not traits.strict_tools and any(tool["function"].get("strict") for tool in declared):
        dropped.append("tools[].function.strict")
    if body.get("parallel_tool_calls") is False:
        dropped.append("parallel_tool_calls")
    return tuple(dropped)


def _read_choice(body: Mapping[str, Any], *, function_form: bool) -> tuple[str | None, list[str] | None]:
    """The mode, and the customer's names of what may be called if not everything may."""
    wanted = body.get("function_call" if function_form else "tool_choice")
    if wanted is None:
        return None, None
    if isinstance(wanted, str):
        return _MODES[wanted], None
    if function_form:
        return "ANY", [wanted["name"]]
    if wanted["type"] == "function":
        return "ANY", [wanted["function"]["name"]]
    if wanted["type"] != "allowed_tools":
        _refuse_choice("this model takes functions only", "unsupported_value")
    allowed = wanted["allowed_tools"]
    functions = [tool.get("function") for tool in allowed["tools"]]
    names = [function.get("name") for function in functions if isinstance(function, dict)]
    return _MODES[allowed["mode"]], [name for name in names if isinstance(name, str)]


def _refuse_choice(problem: str, reason: str) -> NoReturn:
    opening = "Unsupported value:" if reason == "unsupported_value" else "Invalid"
    raise InvalidRequest(f"{opening} 'tool_choice': {problem}.", param="tool_choice", reason=reason)
