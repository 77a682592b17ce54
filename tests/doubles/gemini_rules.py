"""What Gemini's generateContent refuses, so that the double refuses it too.

`check_request` gives the message of the 400 a request would get, or None. Models are told apart by the
families the vendor documents; an unknown one is of the newest.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tests.doubles.gemini_schemas import Refused, check_arguments, check_schema, need

NO_SIGNATURES = ("skip_thought_signature_validator", "context_engineering_is_the_way_to_go")
_TOP_LEVEL = frozenset(
    {
        "contents",
        "systemInstruction",
        "tools",
        "toolConfig",
        "safetySettings",
        "generationConfig",
        "serviceTier",
    }
)
_CONFIG = frozenset(
    {
        "temperature", "topP", "topK", "candidateCount", "maxOutputTokens", "stopSequences", "seed",
        "presencePenalty", "frequencyPenalty", "responseLogprobs", "logprobs", "responseMimeType",
        "responseSchema", "responseJsonSchema", "responseModalities", "thinkingConfig",
    }
)  # fmt: skip
_PAYLOADS = frozenset({"text", "inlineData", "fileData", "functionCall", "functionResponse"})
_MEDIA = {
    "image/jpeg": b"\xff\xd8\xff",
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/webp": b"RIFF",
    "image/heic": b"",
    "image/heif": b"",
    "application/pdf": b"%PDF",
    "text/plain": b"",
    "audio/wav": b"",
    "audio/mp3": b"",
}
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}")


@dataclass(frozen=True, slots=True)
class Family:
    thinking: str = "level"  # none | budget | level
    budgets: tuple[int, int] = (0, 24_576)
    can_disable: bool = False
    levels: tuple[str, ...] = ("LOW", "MEDIUM", "HIGH")
    penalties: bool = False
    logprobs: bool = False
    most_candidates: int = 1
    json_schemas: bool = True  # parametersJsonSchema, responseJsonSchema
    json_with_tools: bool = True
    call_ids: bool = True
    signed: bool = True
    ends_with_model: bool = False
    most_output: int = 65_536


_SECOND = Family(
    penalties=True, json_with_tools=False, call_ids=False, signed=False, ends_with_model=True
)  # fmt: skip
FAMILIES: Mapping[str, Family] = {
    "gemini-2.0-flash": replace(
        _SECOND, thinking="none", logprobs=True, most_candidates=8, json_schemas=False, most_output=8_192
    ),
    "gemini-2.5-pro": replace(_SECOND, thinking="budget", budgets=(128, 32_768)),
    "gemini-2.5-flash-lite": replace(_SECOND, thinking="budget", budgets=(512, 24_576), can_disable=True),
    "gemini-2.5-flash": replace(_SECOND, thinking="budget", can_disable=True),
    "gemini-3.1-pro-preview": Family(levels=("LOW", "HIGH")),
    "gemini-3.5-flash-lite": Family(levels=("MINIMAL", "LOW", "MEDIUM", "HIGH")),
    "gemini-3.8-flash": Family(),
}


def family_of(model: str) -> Family | None:
    """None for a model the vendor does not have."""
    for prefix, family in FAMILIES.items():
        if model.startswith(prefix):
            return family
    return Family() if model.startswith("gemini-") else None


def check_request(model: str, body: Any) -> str | None:
    family = family_of(model)
    assert family is not None, model
    try:
        _check(model, body, family)
    except Refused as refused:
        return str(refused)
    return None


def sign(model: str, name: str, args: Any) -> str:
    """The double's signature under a call; it holds for that model and that call only."""
    said = json.dumps([model, name, args], sort_keys=True)
    return base64.b64encode(hashlib.sha256(said.encode()).digest()).decode()


def thinks(model: str, body: Mapping[str, Any]) -> bool:
    family = family_of(model)
    config = body.get("generationConfig", {}).get("thinkingConfig", {})
    return family is not None and family.thinking != "none" and config.get("thinkingBudget") != 0


def _known(given: Any, names: frozenset[str], where: str) -> None:
    need(isinstance(given, dict), f"Invalid value at '{where}'")
    for name in given:
        need(
            name in names,
            f"Invalid JSON payload received. Unknown name \"{name}\" at '{where}': Cannot find field.",
        )


def _check(model: str, body: Any, family: Family) -> None:
    _known(body, _TOP_LEVEL, "")
    need(body.get("contents"), "* GenerateContentRequest.contents: contents is not specified")
    system = body.get("systemInstruction")
    if system is not None:
        need(system.get("parts"), "* GenerateContentRequest.system_instruction.parts: must not be empty")
        need(all(part.get("text") for part in system["parts"]), "system_instruction: only text is supported")
    names = _check_tools(body, family)
    _check_tool_config(body, names)
    _check_config(body, family)
    _check_contents(model, body["contents"], family)
    tier = body.get("serviceTier", "standard")
    need(tier in ("standard", "flex", "priority"), "Invalid value at 'service_tier'")


def _check_tools(body: Mapping[str, Any], family: Family) -> set[str]:
    tools = body.get("tools", [])
    need(isinstance(tools, list) and len(tools) <= 1, "Multiple tools are supported only when all are search")
    names: set[str] = set()
    for index, each in enumerate(tools[0].get("functionDeclarations", []) if tools else []):
        where = f"tools[0].function_declarations[{index}]"
        _known(each, frozenset({"name", "description", "parameters", "parametersJsonSchema"}), where)
        need(
            _NAME.fullmatch(each.get("name", "")),
            f"* GenerateContentRequest.{where}.name: Invalid function name. Must start with a letter or an"
            " underscore.",
        )
        need(each["name"] not in names, f"Duplicate function declaration found: {each['name']}")
        names.add(each["name"])
        if "parameters" in each:
            check_schema(each["parameters"], f"{where}.parameters")
        if "parametersJsonSchema" in each:
            need(
                family.json_schemas, f"Unknown name \"parametersJsonSchema\" at '{where}': Cannot find field."
            )
            check_arguments(each["parametersJsonSchema"], f"{where}.parameters_json_schema")
    return names


def _check_tool_config(body: Mapping[str, Any], names: set[str]) -> None:
    config = body.get("toolConfig")
    if config is None:
        return
    need(names, "Function calling config is set without function_declarations.")
    _known(config, frozenset({"functionCallingConfig"}), "tool_config")
    calling = config["functionCallingConfig"]
    _known(calling, frozenset({"mode", "allowedFunctionNames"}), "tool_config.function_calling_config")
    need(calling.get("mode") in ("AUTO", "ANY", "NONE"), "Invalid value at 'tool_config'")
    allowed = calling.get("allowedFunctionNames")
    if allowed is not None:
        need(calling["mode"] == "ANY", "allowed_function_names should only be set when the mode is ANY")
        need(allowed and set(allowed) <= names, "allowed_function_names: not among the declarations")


def _check_config(body: Mapping[str, Any], family: Family) -> None:
    config = body.get("generationConfig", {})
    _known(config, _CONFIG, "generation_config")
    _check_ranges(config)
    limit = config.get("maxOutputTokens", 1)
    need(
        type(limit) is int and 1 <= limit <= family.most_output,
        "Unable to submit request because it has a maxOutputTokens value out of the supported range",
    )
    for name in ("presencePenalty", "frequencyPenalty"):
        need(name not in config or family.penalties, "Penalty is not enabled for this model")
    stops = config.get("stopSequences", ["x"])
    need(1 <= len(stops) <= 5 and all(stops), "stop_sequences: must have 1 to 5 non-empty entries")
    count = config.get("candidateCount", 1)
    need(1 <= count <= family.most_candidates, "Multiple candidates is not enabled for this model")
    need("responseLogprobs" not in config or family.logprobs, "Logprobs is not enabled for this model")
    need(
        "logprobs" not in config or config.get("responseLogprobs"),
        "logprobs: requires response_logprobs to be true",
    )
    _check_format(body, config, family)
    _check_thinking(config.get("thinkingConfig"), family)


def _check_ranges(config: Mapping[str, Any]) -> None:
    ranges: Mapping[str, tuple[float, float]] = {
        "temperature": (0, 2),
        "topP": (0, 1),
        "topK": (1, 1 << 31),
        "presencePenalty": (-2, 1.999),
        "frequencyPenalty": (-2, 1.999),
        "seed": (-(2**31), 2**31 - 1),
        "logprobs": (1, 20),
    }
    for name, (least, most) in ranges.items():
        value = config.get(name, most)
        need(
            type(value) in (int, float) and least <= value <= most,
            f"* GenerateContentRequest.generation_config.{name}: value out of range",
        )


def _check_format(body: Mapping[str, Any], config: Mapping[str, Any], family: Family) -> None:
    kind = config.get("responseMimeType", "text/plain")
    need(kind in ("text/plain", "application/json"), "response_mime_type: allowed mimetypes are …")
    is_json = kind == "application/json"
    need(
        not is_json or family.json_with_tools or not body.get("tools"),
        "Function calling with a response mime type: 'application/json' is unsupported",
    )
    need("responseSchema" not in config or "responseJsonSchema" not in config, "only one schema may be set")
    for name in ("responseSchema", "responseJsonSchema"):
        need(name not in config or is_json, f"{name}: requires response_mime_type application/json")
    if "responseSchema" in config:
        check_schema(config["responseSchema"], "generation_config.response_schema")
    need("responseJsonSchema" not in config or family.json_schemas, 'Unknown name "responseJsonSchema"')


def _check_thinking(config: Any, family: Family) -> None:
    if config is None:
        return
    _known(
        config,
        frozenset({"thinkingBudget", "thinkingLevel", "includeThoughts"}),
        "generation_config.thinking_config",
    )
    need(family.thinking != "none", "Thinking is not supported by this model")
    budget, level = config.get("thinkingBudget"), config.get("thinkingLevel")
    need(budget is None or level is None, "You can only set one of thinking budget and thinking level")
    need(level is None or family.thinking == "level", "Thinking level is not supported for this model.")
    need(level is None or level in family.levels, f"Thinking level {level} is not supported for this model.")
    if budget is not None:
        least, most = family.budgets
        allowed = budget == -1 or least <= budget <= most or (budget == 0 and family.can_disable)
        need(
            allowed,
            f"The thinking budget {budget} is invalid. Please choose a value between {least} and {most}.",
        )
        need(
            budget or not config.get("includeThoughts"),
            "Unable to submit request because thinking must be enabled when include_thoughts is true",
        )


def _check_contents(model: str, contents: list[dict[str, Any]], family: Family) -> None:
    expected: list[dict[str, Any]] = []  # calls to be answered by the next content
    for index, content in enumerate(contents):
        where = f"contents[{index}]"
        _known(content, frozenset({"role", "parts"}), where)
        role = str(content.get("role"))
        need(role == ("model" if index % 2 else "user"), "Please ensure that user and model take turns")
        need(
            content.get("parts"), f"* GenerateContentRequest.{where}.parts: contents.parts must not be empty."
        )
        for number, part in enumerate(content["parts"]):
            _check_part(part, f"{where}.parts[{number}]", role, family)
        _check_responses(content["parts"], expected, family)
        expected = [part["functionCall"] for part in content["parts"] if "functionCall" in part]
    need(not expected, "Please ensure that function call turns are followed by a function response turn.")
    need(
        family.ends_with_model or contents[-1]["role"] == "user",
        "Please ensure that multiturn requests end with a user role.",
    )
    _check_signatures(model, contents, family)


def _check_responses(parts: list[dict[str, Any]], calls: list[dict[str, Any]], family: Family) -> None:
    responses = [part["functionResponse"] for part in parts if "functionResponse" in part]
    need(
        len(responses) == len(calls),
        "Please ensure that the number of function response parts is equal to the number of function call"
        " parts of the function call turn.",
    )
    first = [("functionResponse" in part) for part in parts[: len(responses)]]
    need(all(first), "Please ensure that function response parts come first.")
    for call, response in zip(calls, responses, strict=True):
        need(response["name"] == call["name"], "function_response.name does not match function_call.name")
        need(response.get("id") == call.get("id"), "function_response.id does not match function_call.id")


def _check_part(part: Any, where: str, role: str, family: Family) -> None:
    _known(part, _PAYLOADS | {"thought", "thoughtSignature"}, where)
    payloads = _PAYLOADS & part.keys()
    need(len(payloads) == 1, f"{where}.data: required oneof field 'data' must have one initialized field")
    (kind,) = payloads
    need(role == "user" or kind in ("text", "functionCall"), f"{where}: '{kind}' is not allowed for model")
    need(role == "model" or kind != "functionCall", f"{where}: 'functionCall' is not allowed for user")
    value = part[kind]
    if kind == "text":
        need(isinstance(value, str) and value, f"{where}.text: must not be empty")
    elif kind == "inlineData":
        _check_inline(value, where)
    elif kind == "fileData":
        need(value.get("fileUri", "").startswith("https://"), f"{where}: Unsupported file URI type")
        need(value.get("mimeType") in _MEDIA, f"Unsupported MIME type: {value.get('mimeType')}")
    else:
        _check_function(kind, value, where, family)


def _check_function(kind: str, value: Any, where: str, family: Family) -> None:
    field = "args" if kind == "functionCall" else "response"
    names = {"name", field} | ({"id"} if family.call_ids else set())
    _known(value, frozenset(names), f"{where}.{kind}")
    need(value.get("name"), f"* GenerateContentRequest.{where}.{kind}.name: Name cannot be empty.")
    need(_NAME.fullmatch(value["name"]), f"{where}.{kind}.name: Invalid function name.")
    need(
        isinstance(value.get(field), dict), f"Invalid value at '{where}.{kind}.{field}' (type.googleapis.com)"
    )


def _check_inline(value: Mapping[str, Any], where: str) -> None:
    _known(value, frozenset({"mimeType", "data"}), where)
    magic = _MEDIA.get(value.get("mimeType", ""))
    need(magic is not None, f"Unsupported MIME type: {value.get('mimeType')}")
    assert magic is not None
    try:
        start = base64.b64decode(value.get("data", ""), validate=True)
    except ValueError:
        raise Refused(
            f"Invalid value at '{where}.inline_data.data' (TYPE_BYTES), Base64 decoding failed"
        ) from None
    need(start.startswith(magic) and start, "Unable to process input image. Please retry or report")


def _check_signatures(model: str, contents: list[dict[str, Any]], family: Family) -> None:
    """Of the current turn, that is after the last thing a user said, each step's first call is signed."""
    said = [i for i, each in enumerate(contents) if each["role"] == "user" and "text" in each["parts"][-1]]
    turn = said[-1] if said else 0
    for index, content in enumerate(contents):
        calls = [part for part in content["parts"] if "functionCall" in part]
        for number, part in enumerate(calls):
            signature, call = part.get("thoughtSignature"), part["functionCall"]
            need(
                signature or number or not family.signed or index < turn,
                "Function call is missing a thought_signature in functionCall parts. This is required for"
                f" tools to work correctly. Additional data, function call `{call['name']}`, position"
                f" {index}.",
            )
            good = (None, *NO_SIGNATURES, sign(model, call["name"], call.get("args", {})))
            need(signature in good or _standard(signature) in good, "Thought signature is not valid.")


def _standard(signature: str) -> str:
    """Bytes may come in either alphabet of base64."""
    return signature.replace("-", "+").replace("_", "/")
