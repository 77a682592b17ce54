"""The vendors the double can play beside OpenAI, by the first step of the path that is asked for.

`/deepseek/chat/completions` is DeepSeek's, `/v1/chat/completions` OpenAI's own. All that a directive can
say works with each of them; `reasoning` and `refusal` work with these only.
"""

from tests.doubles.vendor_accents import DEEPSEEK, QWEN, XAI
from tests.doubles.vendor_hosts import AZURE, LLAMA, OPENROUTER
from tests.doubles.vendor_profile import Profile

PROFILES = {each.name: each for each in (DEEPSEEK, XAI, QWEN, LLAMA, AZURE, OPENROUTER)}


def find_profile(path: str) -> Profile | None:
    """None: OpenAI."""
    return PROFILES.get(path.split("/", 2)[1])
