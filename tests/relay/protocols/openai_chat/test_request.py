import base64
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.contracts import Attachments, ChatRequest
from relay.errors import InvalidRequest
from relay.protocols.openai_chat.request import (
    forwarded_fields,
    parse_request,
    prompt_token_bound,
    write_body,
)

HELLO = [{"role": "user", "content": "hi"}]


def request(messages: Any = HELLO, **fields: Any) -> ChatRequest:
    return parse_request(orjson.dumps({"model": "gpt-4o", "messages": messages, **fields}))


def sent(parsed: ChatRequest) -> dict[str, Any]:
    return dict(orjson.loads(write_body(forwarded_fields(parsed))))


def test_a_request_says_what_the_relay_must_know() -> None:
    parsed = request(stream=True, stream_options={"include_usage": True}, n=3, max_tokens=7)
    assert (parsed.model, parsed.stream, parsed.include_usage) == ("gpt-4o", True, True)
    assert (parsed.n, parsed.max_output_tokens) == (3, 7)


def test_a_bare_request_has_defaults() -> None:
    parsed = request(stream=None, n=None, max_tokens=None)
    assert (parsed.stream, parsed.include_usage, parsed.n) == (False, False, 1)
    assert parsed.max_output_tokens is None
    assert parsed.attachments == Attachments()


def test_the_newer_limit_wins_and_is_an_integer() -> None:
    parsed = request(max_tokens=5, max_completion_tokens=9.0)
    assert parsed.max_output_tokens == 9
    assert type(parsed.max_output_tokens) is int


def test_attachments_are_counted_and_their_base64_is_not_text() -> None:
    parts = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 4000}},
        {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}},
        {"type": "input_audio", "input_audio": {"data": "B" * 800, "format": "wav"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "C" * 400}},
    ]
    parsed = request([{"role": "user", "content": parts}])
    attachments = parsed.attachments
    assert (attachments.images, attachments.audio_parts, attachments.files) == (2, 1, 1)
    assert (attachments.audio_size, attachments.file_size) == (800, 400)
    assert len("look") < parsed.prompt_bytes < 600


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


@given(st.lists(texts, min_size=1, max_size=4), texts, st.booleans())
def test_the_prompt_is_never_counted_below_its_utf8_length(
    contents: list[str], description: str, escaped: bool
) -> None:
    messages = [{"role": "user", "content": content} for content in contents]
    tool = {"type": "function", "function": {"name": "f", "description": description}}
    body = {"model": "m", "messages": messages, "tools": [tool]}
    raw = json.dumps(body, ensure_ascii=escaped).encode()
    parsed = parse_request(raw)
    spoken = sum(len(content.encode()) for content in contents) + len(description.encode())
    assert parsed.prompt_bytes >= spoken
    assert prompt_token_bound(parsed) > spoken


def test_every_message_tool_and_attachment_raises_the_bound() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}
    plain = prompt_token_bound(request())
    pictured = request([{"role": "user", "content": [image]}])
    assert prompt_token_bound(pictured) >= plain + 3_000
    assert prompt_token_bound(pictured, image_tokens=50_000) >= plain + 50_000
    assert prompt_token_bound(request(HELLO * 2)) >= plain + 8
    tool = {"type": "function", "function": {"name": "f"}}
    assert prompt_token_bound(request(tools=[tool])) >= plain + 1_000


def test_a_file_counts_a_token_for_every_byte() -> None:
    data = base64.b64encode(b"x" * 9_000).decode()
    parsed = request([{"role": "user", "content": [{"type": "file", "file": {"file_data": data}}]}])
    assert 9_000 < prompt_token_bound(parsed) < 15_000


def test_model_and_limits_are_left_to_who_sends_it() -> None:
    body = sent(request(max_tokens=5, max_completion_tokens=5, temperature=0.5))
    assert body == {"messages": HELLO, "temperature": 0.5}


@pytest.mark.parametrize("asked", [None, {"include_usage": False, "include_obfuscation": True}])
def test_a_stream_always_asks_for_usage_and_never_for_padding(asked: Any) -> None:
    body = sent(request(stream=True, stream_options=asked))
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}


def test_a_plain_request_has_no_stream_options() -> None:
    assert "stream_options" not in sent(request(stream=False))


def test_what_is_unknown_or_ours_is_not_forwarded() -> None:
    kept_back = {
        "api_base": "http://a.example",
        "extra_headers": {"authorization": "x"},
        "store": True,
        "metadata": {"a": "b"},
        "service_tier": "auto",
        "enable_search": False,
    }
    assert sent(request(**kept_back)).keys() == {"messages"}


def test_vendor_extras_and_the_end_user_are_forwarded() -> None:
    extras = {"enable_thinking": False, "top_k": 3, "thinking": {"type": "disabled"}, "user": "u"}
    body = sent(request(**extras))
    assert {key: body[key] for key in extras} == extras


def test_nulls_are_left_out() -> None:
    assert sent(request(temperature=None, tools=None)).keys() == {"messages"}


def test_settings_for_tools_go_only_with_tools() -> None:
    settings = {"tool_choice": "auto", "parallel_tool_calls": True}
    assert sent(request(tools=[], **settings)).keys() == {"messages"}
    tool = {"type": "function", "function": {"name": "f"}}
    assert sent(request(tools=[tool], **settings))["tool_choice"] == "auto"


def test_messages_and_schemas_arrive_as_they_were_written() -> None:
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "a\u2028b", "cache_control": {}}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": '{"x": 1.0, '}, "extra": 1}],
        },
        {"role": "tool", "tool_call_id": "a", "content": "\\u00e9"},
    ]
    schema = {"type": "object", "properties": {"n": {"minimum": 1.0, "maximum": 9007199254740993}}}
    tools = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
    body = sent(request(messages, tools=tools))
    assert body["messages"] == messages
    assert body["tools"] == tools


def test_a_key_given_twice_reaches_no_vendor_twice() -> None:
    twice = b'{"max_tokens":90000,"model":"dear","model":"m","max_tokens":5,'
    parsed = parse_request(twice + b'"messages":[{"role":"user","content":"hi"}]}')
    body = write_body(forwarded_fields(parsed))
    assert b"max_tokens" not in body
    assert b'"model"' not in body


def test_the_same_request_can_be_sent_to_two_vendors() -> None:
    parsed = request(temperature=0.5)
    first, second = forwarded_fields(parsed), forwarded_fields(parsed)
    first.clear()
    assert second == {"messages": HELLO, "temperature": 0.5}


def test_what_is_too_deep_to_be_written_is_the_clients_mistake() -> None:
    schema: dict[str, Any] = {}
    for _ in range(200):
        schema = {"a": schema}
    raw = orjson.dumps({"model": "m", "messages": HELLO, "thinking": schema})
    deep = raw.replace(b"{}", orjson.dumps(schema))
    with pytest.raises(InvalidRequest):
        sent(parse_request(deep))
