"""What the demo model says, and how it counts.

Tokens. A token is one of: a run of at most 12 letters, digits, underscores or apostrophes; a single
Chinese, Japanese or Korean character; a single other sign. Blank space belongs to the token after
it; at the end of a text it is a token of its own. So the tokens of a text, joined, are that text.

A prompt costs the tokens of the text of all its messages, 4 more for each message and 3 for the
start of the reply. Pictures, sound and files are neither read nor counted. A completion costs its
own tokens, in every one of its `n` choices.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MODEL = "farebox-demo"
TOKENS_PER_MESSAGE = 4
TOKENS_PER_REPLY = 3

_HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_SINGLE = _HAN + r"\u3040-\u30ff\uac00-\ud7af"
_TOKEN = re.compile(rf"\s*(?:[{_SINGLE}]|(?:[^\W{_SINGLE}]|'){{1,12}}|\S)|\s+")
_CHINESE = re.compile(f"[{_HAN}]")
_GIST_LENGTH = 90
_GIST_LENGTH_CHINESE = 40
_GIST_READS = 2000  # characters; what follows cannot be part of the gist

_GREETINGS = ("Hello!", "Hi there!", "Good to meet you!", "Welcome!")
_QUOTE = "You wrote: “{gist}”."
_NOTHING = "Your message holds no text I can read."
_ENGLISH = (
    "{greeting} I am Farebox's demo model: a small program that comes with Farebox, not a language "
    "model. {said} I cannot think about it, but this reply shows that your key, streaming and "
    "metering work: every word here is counted as tokens and appears on your usage page. Change "
    "`model` to any other model on offer and the same call gets a real answer."
)

# Full-width punctuation is what Chinese is written with.
_GREETINGS_CHINESE = ("你好！", "您好！", "很高兴认识你！", "欢迎！")  # noqa: RUF001
_QUOTE_CHINESE = "你写道：“{gist}”。"  # noqa: RUF001
_CHINESE_REPLY = (
    "{greeting}我是 Farebox 的演示模型：一个随 Farebox 附带的小程序，并不是语言模型。{said}"  # noqa: RUF001
    "我不会思考，但这条回复说明你的密钥、流式输出和计量都已正常工作："  # noqa: RUF001
    "这里的每个字都会计入 Token，并出现在你的用量页面上。"  # noqa: RUF001
    "把 `model` 改成其他可用的模型，同样的调用就能得到真正的回答。"  # noqa: RUF001
)


@dataclass(frozen=True)
class Choice:
    """One choice of an answer: its text as tokens, and why it ended there (`stop` or `length`)."""

    tokens: tuple[str, ...]
    finish_reason: str

    @property
    def text(self) -> str:
        return "".join(self.tokens)


def split_tokens(text: str) -> list[str]:
    """The tokens of `text`; joined, they are `text`."""
    return _TOKEN.findall(text)


def count_prompt_tokens(texts: Iterable[str]) -> int:
    """Tokens of a prompt whose messages hold these texts."""
    return TOKENS_PER_REPLY + sum(TOKENS_PER_MESSAGE + _count_tokens(text) for text in texts)


def _count_tokens(text: str) -> int:
    """Like `len(split_tokens(text))`, without holding the tokens of a very long text."""
    return sum(1 for _ in _TOKEN.finditer(text))


def compose_choice(
    question: str, *, index: int = 0, stops: Sequence[str] = (), limit: int | None = None
) -> Choice:
    """Choice number `index` of the answer, cut before the first stop and to `limit` tokens."""
    tokens = split_tokens(_cut_at_stop(compose_reply(question, index), stops))
    if limit is not None and limit < len(tokens):
        return Choice(tuple(tokens[:limit]), "length")
    return Choice(tuple(tokens), "stop")


def compose_reply(question: str, index: int = 0) -> str:
    """The whole reply to `question`, in Chinese when it holds Chinese characters."""
    if _CHINESE.search(question):
        said = _QUOTE_CHINESE.format(gist=_gist(question, _GIST_LENGTH_CHINESE))
        greeting = _GREETINGS_CHINESE[index % len(_GREETINGS_CHINESE)]
        return _CHINESE_REPLY.format(greeting=greeting, said=said)
    gist = _gist(question, _GIST_LENGTH)
    said = _QUOTE.format(gist=gist) if gist else _NOTHING
    return _ENGLISH.format(greeting=_GREETINGS[index % len(_GREETINGS)], said=said)


def _gist(question: str, length: int) -> str:
    """The question on one line, cut to about `length` characters, at a space where there is one."""
    line = " ".join(question[:_GIST_READS].split())
    if len(line) <= length:
        return line
    head = line[:length]
    return (head.rsplit(" ", 1)[0] if " " in head[length // 2 :] else head) + "…"


def _cut_at_stop(text: str, stops: Sequence[str]) -> str:
    places = [text.find(stop) for stop in stops if stop]
    return text[: min((place for place in places if place >= 0), default=len(text))]
