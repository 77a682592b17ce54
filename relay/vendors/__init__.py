"""What the relay knows of vendors. One that speaks OpenAI's chat protocol needs no code of its own."""

from relay.models import Vendor

OPENAI_SHAPED = frozenset(
    {Vendor.OPENAI, Vendor.DEEPSEEK, Vendor.XAI, Vendor.QWEN, Vendor.LLAMA, Vendor.COMPATIBLE}
)


def is_served(vendor: str) -> bool:
    """Whether the relay can speak to this vendor."""
    return vendor in OPENAI_SHAPED
