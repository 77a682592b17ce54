# ruff: noqa: E501  transcripts stay on the lines vendors send them on
"""Streams as the vendor sends them, and ways to play them."""

from typing import Any

import orjson
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from billing.contracts import TokenUsage
from relay.contracts import AnswerFrame
from relay.sse import SSESplitter
from relay.vendors.gemini import GeminiStreamTranslator, translate_answer

FRAME = AnswerFrame(completion_id="chatcmpl-1", created=1764000000, model_fallback="gemini-x")


def _crlf(text: bytes) -> bytes:
    return text.replace(b"\n", b"\r\n")


TEXT = _crlf(b"""\
data: {"candidates": [{"content": {"parts": [{"text": "Hi"}],"role": "model"},"index": 0}],"usageMetadata": {"promptTokenCount": 7,"totalTokenCount": 7,"promptTokensDetails": [{"modality": "TEXT","tokenCount": 7}]},"modelVersion": "gemini-x-001","responseId": "r1"}

data: {"candidates": [{"content": {"parts": [{"text": " \xe4\xb8\x96\xf0\x9f\x9a\x83"}],"role": "model"},"finishReason": "STOP","index": 0}],"usageMetadata": {"promptTokenCount": 7,"candidatesTokenCount": 4,"totalTokenCount": 11,"cachedContentTokenCount": 5,"promptTokensDetails": [{"modality": "TEXT","tokenCount": 7}],"candidatesTokensDetails": [{"modality": "TEXT","tokenCount": 4}]},"modelVersion": "gemini-x-001","responseId": "r1"}

""")

CALLS = _crlf(b"""\
data: {"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"think","thought":true}]}}],"usageMetadata":{"promptTokenCount":7,"totalTokenCount":7},"modelVersion":"gemini-x","responseId":"r"}

data: {"candidates":[{"index":0,"content":{"role":"model","parts":[{"functionCall":{"name":"f","args":{"a":1.10}},"thoughtSignature":"AAA="},{"functionCall":{"name":"g","args":{}}}]}}],"usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":9,"thoughtsTokenCount":30,"totalTokenCount":46},"modelVersion":"gemini-x","responseId":"r"}

data: {"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":""}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":9,"thoughtsTokenCount":30,"totalTokenCount":46},"modelVersion":"gemini-x","responseId":"r"}

""")

CALLS_APART = _crlf(b"""\
data: {"candidates":[{"content":{"role":"model","parts":[{"text":"Let me see."}]}}],"usageMetadata":{"promptTokenCount":7,"totalTokenCount":7},"modelVersion":"gemini-x"}

data: {"candidates":[{"content":{"role":"model","parts":[{"functionCall":{"id":"c1","name":"f","args":{"a":1}},"thoughtSignature":"AAA="}]}}],"usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":4,"totalTokenCount":11},"modelVersion":"gemini-x"}

data: {"candidates":[{"content":{"role":"model","parts":[{"functionCall":{"id":"c2","name":"f","args":{"a":2}}}]}}],"usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":8,"totalTokenCount":15},"modelVersion":"gemini-x"}

data: {"candidates":[{"content":{"role":"model","parts":[{"functionCall":{"id":"c2","name":"f"}}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":12,"totalTokenCount":19},"modelVersion":"gemini-x"}

""")

CHOICES = _crlf(b"""\
data: {"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"a"}]},"logprobsResult":{"chosenCandidates":[{"token":"a","tokenId":1,"logProbability":-0.5}],"topCandidates":[{"candidates":[{"token":"a","logProbability":-0.5},{"token":"\xc3\xa9","logProbability":-1.5}]}]}}],"modelVersion":"gemini-x"}

data: {"candidates":[{"index":1,"content":{"role":"model","parts":[{"text":"b"}]}}],"modelVersion":"gemini-x"}

data: {"candidates":[{"index":0,"finishReason":"STOP"},{"index":1,"finishReason":"MAX_TOKENS"}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":2,"totalTokenCount":5},"modelVersion":"gemini-x"}

""")

BLOCKED = _crlf(b"""\
data: {"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"usageMetadata":{"promptTokenCount":12,"totalTokenCount":12},"modelVersion":"gemini-x"}

""")

RECITED = _crlf(b"""\
data: {"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"It was the best"}]}}],"usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":4,"totalTokenCount":8},"modelVersion":"gemini-x"}

data: {"candidates":[{"index":0,"finishReason":"RECITATION","citationMetadata":{"citationSources":[{"startIndex":3,"endIndex":15,"uri":"https://a.example/tale","license":""}]}}],"usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":4,"totalTokenCount":8},"modelVersion":"gemini-x"}

""")

OVERLOADED = _crlf(b"""\
data: {"candidates":[{"index":0,"content":{"role":"model","parts":[{"text":"Once upon a time there was"}]}}],"usageMetadata":{"promptTokenCount":5,"totalTokenCount":5},"modelVersion":"gemini-x"}

data: {"error":{"code":503,"message":"The model of projects/123456789 is overloaded.","status":"UNAVAILABLE"}}

""")

ALL = {
    "text": TEXT,
    "calls": CALLS,
    "calls_apart": CALLS_APART,
    "choices": CHOICES,
    "blocked": BLOCKED,
    "recited": RECITED,
}


def stream(*objects: dict[str, Any]) -> bytes:
    """A stream of these objects, as the vendor writes it."""
    return b"".join(b"data: %b\r\n\r\n" % orjson.dumps(each) for each in objects)


def said(*parts: dict[str, Any], reason: str | None = None, **more: Any) -> dict[str, Any]:
    """One object with these parts of one candidate."""
    candidate: dict[str, Any] = {"index": 0}
    if parts:
        candidate["content"] = {"role": "model", "parts": list(parts)}
    if reason is not None:
        candidate["finishReason"] = reason
    usage = {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-x", **more}


class Played:
    """A stream fed to the translator in the given pieces, closed if it was whole. Raises RelayError."""

    def __init__(self, *pieces: bytes, frame: AnswerFrame = FRAME, include_usage: bool = True) -> None:
        splitter = SSESplitter()
        self.translator = GeminiStreamTranslator(frame, include_usage=include_usage)
        out = []
        for piece in pieces:
            out += [self.translator.feed(payload) for payload in splitter.feed(piece)]
        out += [self.translator.feed(payload) for payload in splitter.flush()]
        if self.translator.complete:
            out.append(self.translator.closing(self.translator.usage or TokenUsage()))
        self.bytes = b"".join(each for each in out if each)

    @property
    def chunks(self) -> list[dict[str, Any]]:
        payloads = SSESplitter().feed(self.bytes)
        return [orjson.loads(payload) for payload in payloads if payload != b"[DONE]"]

    @property
    def deltas(self) -> list[dict[str, Any]]:
        return [choice["delta"] for chunk in self.chunks for choice in chunk["choices"]]

    @property
    def completion(self) -> ChatCompletion:
        """What the official SDK makes of it."""
        state = ChatCompletionStreamState()
        for chunk in self.chunks:
            state.handle_chunk(ChatCompletionChunk.model_validate(chunk))
        return state.current_completion_snapshot

    @property
    def message(self) -> dict[str, Any]:
        return self.completion.choices[0].message.model_dump(exclude_none=True)


def whole(*objects: dict[str, Any], frame: AnswerFrame = FRAME) -> dict[str, Any]:
    """The customer's whole answer to these objects: one, or the elements of an array."""
    payload = orjson.dumps(objects[0] if len(objects) == 1 else list(objects))
    answer: dict[str, Any] = orjson.loads(translate_answer(payload, frame).body)
    return answer


def as_array(data: bytes) -> bytes:
    """The same stream as the growing array it is without events."""
    return b"[" + b"\n,\r\n".join(SSESplitter().feed(data)) + b"\n]\n"
