# ruff: noqa: E501  transcripts stay on the lines vendors send them on
"""Streams as the vendor sends them, and ways to play them."""

from typing import Any

import orjson
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from billing.contracts import TokenUsage
from relay.contracts import AnswerFrame
from relay.sse import SSESplitter
from relay.vendors.anthropic import AnswerCollector, AnthropicStreamTranslator

FRAME = AnswerFrame(completion_id="chatcmpl-1", created=1764000000, model_fallback="claude-x")

TEXT_AND_TOOL = b"""\
event: message_start
data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-x-20260101","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":10,"cache_read_input_tokens":1000,"cache_creation_input_tokens":0,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: ping
data: {"type":"ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" \xe4\xb8\x96\xf0\x9f\x9a\x83"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: content_block_start
data: {"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_1","name":"f","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\\"a\\":1"}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":".10}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":1}

event: content_block_start
data: {"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_2","name":"g","input":{}}}

event: content_block_stop
data: {"type":"content_block_stop","index":2}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":25}}

event: message_stop
data: {"type":"message_stop"}

"""

THINKING = b"""\
event: message_start
data: {"type":"message_start","message":{"id":"msg_2","type":"message","role":"assistant","model":"claude-x","content":[],"stop_reason":null,"usage":{"input_tokens":40,"cache_creation_input_tokens":200,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":150,"ephemeral_1h_input_tokens":50},"output_tokens":3,"service_tier":"standard"}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Let me "}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"think."}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"EqQBCgIYAhIk+/=="}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: content_block_start
data: {"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"EmwKAhgB"}}

event: content_block_stop
data: {"type":"content_block_stop","index":1}

event: content_block_start
data: {"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_9","name":"f","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":2}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":null},"usage":{"output_tokens":90}}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"input_tokens":40,"cache_read_input_tokens":null,"output_tokens":100,"output_tokens_details":{"thinking_tokens":70}}}

event: message_stop
data: {"type":"message_stop"}

"""

CITED = b"""\
event: message_start
data: {"type":"message_start","message":{"model":"claude-x","content":[],"usage":{"input_tokens":5,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"See: "}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: content_block_start
data: {"type":"content_block_start","index":1,"content_block":{"type":"text","text":"","citations":[]}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"citations_delta","citation":{"type":"web_search_result_location","cited_text":"q","url":"https://a.example/","title":"A","encrypted_index":"Eo8"}}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"citations_delta","citation":{"type":"page_location","cited_text":"p","document_index":0,"document_title":"a.pdf","start_page_number":1,"end_page_number":2}}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"it is so"}}

event: content_block_stop
data: {"type":"content_block_stop","index":1}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9}}

event: message_stop
data: {"type":"message_stop"}

"""

REFUSED = b"""\
event: message_start
data: {"type":"message_start","message":{"model":"claude-x","content":[],"usage":{"input_tokens":5,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"To build"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"refusal","stop_details":{"category":"cyber","explanation":"This is not something to help with."}},"usage":{"output_tokens":4}}

event: message_stop
data: {"type":"message_stop"}

"""

JSON_TOOL = b"""\
event: message_start
data: {"type":"message_start","message":{"model":"claude-x","content":[],"usage":{"input_tokens":5,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Here it is:"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: content_block_start
data: {"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_j","name":"json_response","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\\"a\\":"}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"1.0}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":1}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":9}}

event: message_stop
data: {"type":"message_stop"}

"""

OVERLOADED = b"""\
event: message_start
data: {"type":"message_start","message":{"model":"claude-x","content":[],"usage":{"input_tokens":5,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Once upon a time there was"}}

event: error
data: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded in org_12345"},"request_id":"req_1"}

"""

ALL = {
    "text_and_tool": TEXT_AND_TOOL,
    "thinking": THINKING,
    "cited": CITED,
    "refused": REFUSED,
    "json_tool": JSON_TOOL,
}


def stream(*events: dict[str, Any]) -> bytes:
    """A stream of these events, as the vendor writes it."""
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event)) for event in events
    )


def start(**usage: Any) -> dict[str, Any]:
    counts = {"input_tokens": 10, "output_tokens": 1, **usage}
    return {"type": "message_start", "message": {"model": "claude-x", "content": [], "usage": counts}}


def block(index: int, **content: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": content}


def text(value: str, index: int = 0) -> dict[str, Any]:
    delta = {"type": "text_delta", "text": value}
    return {"type": "content_block_delta", "index": index, "delta": delta}


def end(reason: str | None = "end_turn", **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    usage = more.pop("usage", {"output_tokens": 7})
    delta = {"stop_reason": reason, **more}
    return {"type": "message_delta", "delta": delta, "usage": usage}, {"type": "message_stop"}


class Played:
    """A stream fed to the translator in the given pieces, closed if it was whole. Raises RelayError."""

    def __init__(self, *pieces: bytes, frame: AnswerFrame = FRAME, include_usage: bool = True) -> None:
        splitter = SSESplitter()
        self.translator = AnthropicStreamTranslator(frame, include_usage=include_usage)
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


def collected(data: bytes, frame: AnswerFrame = FRAME) -> dict[str, Any]:
    """The same stream as a whole answer."""
    collector = AnswerCollector(frame)
    for payload in SSESplitter().feed(data):
        collector.feed(payload)
    answer: dict[str, Any] = orjson.loads(collector.answer().body)
    return answer
