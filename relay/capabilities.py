"""What one upstream model can do, as data: no code asks for a model by its name.

The defaults describe a model that speaks OpenAI's protocol and can do everything; a vendor's own
defaults lie in its folder, a model's own traits in the catalogue.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

Sampling = Literal["full", "temp_only", "temp_xor_top_p", "fixed_1", "none"]
JsonSchema = Literal["native", "tool_trick", "prompt", "none"]
Reasoning = Literal["none", "budget", "effort", "level", "toggle"]


class TraitsInvalid(ValueError):
    """The catalogue says something about a model that means nothing; the message names it."""


@dataclass(frozen=True, slots=True)
class ModelTraits:
    """Counts are tokens unless named otherwise; None means no limit, or none that is known.

    `reasoning`: `budget` takes tokens to think, `effort` one of OpenAI's words, `level` a level of
    Gemini's, `toggle` on or off. `reasoning_efforts` are the words the model takes, least first; a word
    it lacks becomes its nearest. `reasoning_budgets` are tokens by word. `reasoning_off` is how the
    vendor spells "do not think"; empty: by saying nothing. A model without `reasoning_can_disable`
    always thinks. `reasoning_budget_range` is the least and the most it may be given to think.
    """

    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    max_output: int | None = None
    default_max_tokens: int = 8_192
    sampling: Sampling = "full"
    penalties: bool = True
    stop_max: int | None = 4  # sequences
    seed: bool = True
    logprobs: bool = True
    n_max: int = 128  # choices
    vision: bool = True
    image_url_schemes: tuple[str, ...] = ("https", "http")  # the vendor fetches these itself
    audio_in: bool = True
    pdf: bool = True
    tools: bool = True
    strict_tools: bool = True
    forced_tool_choice: bool = True
    parallel_tool_calls: bool = True
    json_object: bool = True
    json_schema: JsonSchema = "native"
    reasoning: Reasoning = "none"
    reasoning_efforts: tuple[str, ...] = ("low", "medium", "high")
    reasoning_budgets: tuple[tuple[str, int], ...] = (
        ("minimal", 1_024),
        ("low", 1_024),
        ("medium", 2_048),
        ("high", 4_096),
        ("xhigh", 8_192),
        ("max", 16_384),
    )
    reasoning_budget_range: tuple[int, int] = (1_024, 1_000_000)
    reasoning_can_disable: bool = True
    reasoning_off: str = ""
    prefill: bool = False
    system_mid_conversation: bool = True
    stream_usage: bool = True
    schema_dialect: Literal["json_schema", "openapi"] = "json_schema"
    json_with_tools: bool = True  # a format of the answer beside tools
    tool_call_ids: bool = True  # the vendor's calls and their results carry ids
    signed_tool_calls: bool = False  # calls sent back must carry the signature they came with
    tool_name_regex: str = "[A-Za-z0-9_-]{1,64}"


# Words of the catalogue's `capabilities`, and the trait each switches on whatever the vendor's others can.
_ABILITIES = {
    "vision": "vision",
    "pdf": "pdf",
    "audio": "audio_in",
    "tools": "tools",
    "json_object": "json_object",
}


def with_abilities(base: ModelTraits, names: Iterable[str]) -> ModelTraits:
    """`base` with the abilities named; what is not named stays as the vendor's models have it."""
    known: dict[str, Any] = {_ABILITIES[name]: True for name in names if name in _ABILITIES}
    return replace(base, **known)


EFFORTS = ("minimal", "low", "medium", "high", "xhigh", "max")
_HINTS = get_type_hints(ModelTraits)
_NAMES = frozenset(field.name for field in fields(ModelTraits))


def read_traits(raw: Mapping[str, Any], base: ModelTraits) -> ModelTraits:
    """`base` with what the catalogue says over it. Raises TraitsInvalid."""
    return replace(base, **{name: _read(name, value) for name, value in raw.items()})


def _read(name: str, value: Any) -> Any:
    if name not in _NAMES:
        raise TraitsInvalid(f"no such trait: {name}")
    if name == "reasoning_budgets" and isinstance(value, Mapping):
        value = tuple(value.items())
    if isinstance(value, list):
        value = tuple(value)
    if not _fits(_HINTS[name], value):
        raise TraitsInvalid(f"not a value for {name}: {value!r}")
    return value


def _fits(hint: Any, value: Any) -> bool:
    """Whether a value is of the type a field is declared with; a bool is no int here."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in parts
    if origin is tuple and not isinstance(value, tuple):
        return False
    if origin is tuple and parts[-1] is Ellipsis:
        return all(_fits(parts[0], each) for each in value)
    if origin is tuple:
        return len(value) == len(parts) and all(map(_fits, parts, value))
    return type(value) in {part if part is not None else NoneType for part in parts or (hint,)}


def nearest_effort(wanted: str, allowed: tuple[str, ...]) -> str:
    """The effort a model has for one that was asked for: the next higher, or else its highest."""
    if wanted in allowed:
        return wanted
    place = EFFORTS.index(wanted)
    higher = [effort for effort in EFFORTS[place:] if effort in allowed]
    return higher[0] if higher else [effort for effort in EFFORTS if effort in allowed][-1]
