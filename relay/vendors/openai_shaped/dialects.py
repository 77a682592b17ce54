"""How vendors that have OpenAI's chat endpoint differ from OpenAI, as data: a new one is a row here.

What one of a vendor's models can do lies in its traits; `traits` holds for those that the catalogue says
nothing about.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from relay.capabilities import EFFORTS, ModelTraits
from relay.protocols.openai_chat.validation import VENDOR_EXTRAS

Headers = tuple[tuple[str, str], ...]

_ALL_EFFORTS = ("none", *EFFORTS)
_OPENAI_ONLY = frozenset(
    {"verbosity", "prediction", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"}
)
_OPEN_MODELS = frozenset({"top_k", "min_p", "repetition_penalty", "chat_template_kwargs"})


@dataclass(frozen=True, slots=True)
class Toggle:
    """How thinking is switched on and off. `budget`: the field for how many tokens it may take."""

    on: Mapping[str, Any]
    off: Mapping[str, Any]
    budget: str = ""
    must_be_off_unless_streamed: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Dialect:
    """`extras` are fields beside OpenAI's that the vendor takes, `lacks` those of OpenAI's whose loss changes
    nothing that was asked for. `ranges` are what numbers are brought into."""

    traits: ModelTraits = field(default_factory=ModelTraits)
    key_header: str = "Authorization"
    key_prefix: str = "Bearer "
    headers: Headers = ()
    extras: frozenset[str] = frozenset()
    lacks: frozenset[str] = frozenset()
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    toggle: Toggle | None = None
    user_field: str = "user"
    always_names_user: bool = False  # also where the customer told no user
    developer_role: bool = False
    text_in_parts: bool = True
    cache_control: bool = False
    refusals: bool = False  # takes refusals of earlier turns as such
    speaker_names: Literal["all", "users"] = "all"
    returns_reasoning: bool = False  # wants `reasoning_content` back beside tool calls
    custom_tools: bool = False
    functions: bool = False  # the deprecated form of tools
    audio_out: bool = False
    lost: frozenset[str] = field(init=False)
    """All the fields that must not reach the vendor, of OpenAI's and of others'."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "lost", self.lacks | (VENDOR_EXTRAS.keys() - self.extras))


_OPENAI_TRAITS = ModelTraits(
    max_tokens_field="max_completion_tokens", reasoning="effort", reasoning_efforts=_ALL_EFFORTS
)

OPENAI = Dialect(
    traits=_OPENAI_TRAITS,
    user_field="safety_identifier",
    always_names_user=True,
    developer_role=True,
    refusals=True,
    custom_tools=True,
    functions=True,
    audio_out=True,
)
AZURE = Dialect(
    traits=_OPENAI_TRAITS,
    key_header="api-key",
    key_prefix="",
    always_names_user=True,
    developer_role=True,
    refusals=True,
    custom_tools=True,
    functions=True,
    audio_out=True,
)
DEEPSEEK = Dialect(
    traits=ModelTraits(
        vision=False,
        audio_in=False,
        pdf=False,
        n_max=1,
        json_schema="prompt",
        strict_tools=False,
        reasoning="toggle",
    ),
    extras=frozenset({"thinking"}),
    lacks=_OPENAI_ONLY | {"logit_bias", "seed", "parallel_tool_calls"},
    toggle=Toggle(on={"thinking": {"type": "enabled"}}, off={"thinking": {"type": "disabled"}}),
    user_field="user_id",
    always_names_user=True,
    text_in_parts=False,
    returns_reasoning=True,
)
XAI = Dialect(
    traits=ModelTraits(
        audio_in=False,
        pdf=False,
        penalties=False,
        stop_max=0,
        strict_tools=False,
        reasoning="effort",
        reasoning_efforts=("none", "low", "medium", "high"),
    ),
    lacks=_OPENAI_ONLY | {"logit_bias"},
    speaker_names="users",
)
QWEN = Dialect(
    traits=ModelTraits(
        audio_in=False,
        pdf=False,
        n_max=4,
        forced_tool_choice=False,
        json_schema="prompt",
        strict_tools=False,
        reasoning="toggle",
    ),
    extras=frozenset(
        {"enable_thinking", "thinking_budget", "vl_high_resolution_images", "top_k", "repetition_penalty"}
    ),
    lacks=_OPENAI_ONLY | {"logit_bias"},
    ranges={"temperature": (0, 1.99), "top_p": (0.001, 1), "seed": (0, 2**31 - 1)},
    toggle=Toggle(
        on={"enable_thinking": True},
        off={"enable_thinking": False},
        budget="thinking_budget",
        must_be_off_unless_streamed=True,
    ),
    cache_control=True,
)
LLAMA = Dialect(
    traits=ModelTraits(
        vision=False,
        audio_in=False,
        pdf=False,
        strict_tools=False,
        parallel_tool_calls=False,
        logprobs=False,  # many hosts leave them out without a word
        json_schema="prompt",
    ),
    extras=_OPEN_MODELS,
    lacks=_OPENAI_ONLY | {"logit_bias"},
    text_in_parts=False,
)
OPENROUTER = Dialect(
    traits=ModelTraits(reasoning="effort", reasoning_efforts=_ALL_EFFORTS),
    headers=(("X-Title", "farebox"),),
    extras=frozenset({"reasoning", "top_k", "min_p", "repetition_penalty"}),
    lacks=frozenset({"prompt_cache_options", "prompt_cache_retention"}),
    cache_control=True,
)
# Nothing is known of it, so nothing is kept from it.
COMPATIBLE = Dialect(
    traits=ModelTraits(reasoning="effort", reasoning_efforts=_ALL_EFFORTS),
    extras=_OPEN_MODELS
    | {"enable_thinking", "thinking_budget", "vl_high_resolution_images", "thinking", "reasoning"},
    developer_role=True,
    cache_control=True,
    refusals=True,
    custom_tools=True,
    functions=True,
    audio_out=True,
)

DIALECTS: Mapping[str, Dialect] = {
    "openai": OPENAI,
    "azure": AZURE,
    "deepseek": DEEPSEEK,
    "xai": XAI,
    "qwen": QWEN,
    "llama": LLAMA,
    "openrouter": OPENROUTER,
    "compatible": COMPATIBLE,
}
