from typing import Any

import orjson
import pytest

from billing.contracts import TokenUsage
from relay.errors import UpstreamFailed, UpstreamTimedOut
from relay.protocols.openai_chat.stream import ChatStreamTranslator, VendorStreamError, error_event
from relay.sse import SSESplitter

CHARGED = TokenUsage(input_tokens=3, output_tokens=2)
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def make(*, include_usage: bool = False) -> ChatStreamTranslator:
    return ChatStreamTranslator(
        completion_id="chatcmpl-ours", created=7, include_usage=include_usage, model_fallback="m"
    )


def chunk(delta: Any, finish_reason: Any = None, **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "vendor", "model": "m-1", "choices": [choice], **fields}


def read(data: bytes | None) -> list[Any]:
    events = SSESplitter().feed(data or b"")
    return [event.decode() if event == b"[DONE]" else orjson.loads(event) for event in events]


def feed(translator: ChatStreamTranslator, *chunks: Any) -> list[Any]:
    sent = [translator.feed(orjson.dumps(raw)) for raw in chunks]
    return [event for data in sent for event in read(data)]


def deltas(*raw: Any, close: bool = True) -> list[Any]:
    """The deltas of choice 0 that a client gets for these of a vendor's."""
    translator = make()
    events = feed(translator, *[chunk(delta) for delta in raw])
    if close:
        events += read(translator.closing(CHARGED))[:-1]
    return [event["choices"][0]["delta"] for event in events]


def reasons(events: list[Any]) -> list[str]:
    choices = [choice for event in events if event != "[DONE]" for choice in event["choices"]]
    return [choice["finish_reason"] for choice in choices if choice["finish_reason"] is not None]


def call(arguments: Any = None, **fields: Any) -> dict[str, Any]:
    name = fields.pop("name", None)
    function = {"name": name, "arguments": arguments}
    return {**fields, "function": {k: v for k, v in function.items() if v is not None}}


def calls(*fragments: Any) -> dict[str, Any]:
    return {"tool_calls": list(fragments)}


ROLE = {"role": "assistant", "content": ""}


def test_a_chunk_has_our_id_and_time_and_the_vendors_model() -> None:
    [first, second] = feed(make(), chunk(ROLE), chunk({"content": "hi"}, system_fingerprint="late"))
    assert first == {
        "id": "chatcmpl-ours",
        "object": "chat.completion.chunk",
        "created": 7,
        "model": "m-1",
        "system_fingerprint": None,
        "choices": [{"index": 0, "delta": ROLE, "logprobs": None, "finish_reason": None}],
    }
    assert second == {
        **first,
        "choices": [{"index": 0, "delta": {"content": "hi"}, "logprobs": None, "finish_reason": None}],
    }


def test_the_model_stays_the_one_of_the_first_chunk() -> None:
    events = feed(make(), chunk(ROLE), chunk({"content": "a"}, model="m-2"))
    assert {event["model"] for event in events} == {"m-1"}


def test_a_model_named_nowhere_is_the_one_asked_for() -> None:
    translator = make()
    [event] = feed(translator, chunk(ROLE, model=""))
    assert (event["model"], translator.upstream_model) == ("m", "m")


def test_text_goes_on_at_once_and_unchanged() -> None:
    text = '深\u2028 "\\ \x00\n😀'
    [_, event] = feed(make(), chunk(ROLE), chunk({"content": text}))
    assert event["choices"][0]["delta"] == {"content": text}


def test_a_role_is_sent_once_and_even_if_the_vendor_sends_none() -> None:
    assert deltas({"content": "a"}, {"content": "b"}, close=False) == [
        {"role": "assistant", "content": "a"},
        {"content": "b"},
    ]
    repeated = [{"role": "assistant", "content": text} for text in ("", "a", "b", "")]
    assert deltas(*repeated, close=False) == [ROLE, {"content": "a"}, {"content": "b"}]


@pytest.mark.parametrize("empty", [None, {}, {"content": None}, {"content": ""}, "text", 5])
def test_empty_deltas_say_nothing(empty: Any) -> None:
    assert deltas(ROLE, empty, close=False) == [ROLE]


def test_a_first_delta_with_a_role_alone_opens_the_choice() -> None:
    assert deltas({"role": "assistant", "content": None}, close=False) == [ROLE]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_has_one_name(name: str) -> None:
    thought = [{"content": None, name: text} for text in ("", "Hm", "m")]
    assert deltas(ROLE, *thought, {"content": "4", name: None}, close=False) == [
        ROLE,
        {"reasoning_content": "Hm"},
        {"reasoning_content": "m"},
        {"content": "4"},
    ]


def test_reasoning_sent_under_both_names_is_sent_on_once() -> None:
    both = {"reasoning": "a", "reasoning_content": "a", "reasoning_details": [{}]}
    assert deltas(ROLE, both, close=False) == [ROLE, {"reasoning_content": "a"}]


def test_content_and_reasoning_in_one_delta_are_both_kept() -> None:
    assert deltas(ROLE, {"content": "a", "reasoning_content": "b"}, close=False)[1] == {
        "content": "a",
        "reasoning_content": "b",
    }


def test_obfuscation_and_vendor_keys_are_dropped() -> None:
    [_, event] = feed(make(), chunk(ROLE), chunk({"content": "a"}, obfuscation="xyz", x_groq={}))
    assert event.keys() == {
        "id", "object", "created", "model", "system_fingerprint", "choices",
    }  # fmt: skip


def test_logprobs_stay_beside_their_text() -> None:
    raw = chunk({"content": "a"})
    raw["choices"][0]["logprobs"] = {"content": [{"token": "a", "logprob": -0.5}]}
    [_, event] = feed(make(), chunk(ROLE), raw)
    assert event["choices"][0]["logprobs"] == raw["choices"][0]["logprobs"]


def test_choices_interleave_and_each_has_its_role_and_end() -> None:
    translator = make()
    first = {"choices": [{"index": 1, "delta": {"content": "b"}}]}
    second = {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]}
    third = {
        "choices": [
            {"index": 1, "delta": {"content": "B"}, "finish_reason": "length"},
            {"index": 0, "delta": {}},
        ]
    }
    events = feed(translator, first, second, third)
    assert [event["choices"][0]["delta"] for event in events] == [
        {"role": "assistant", "content": "b"},
        {"role": "assistant", "content": "a"},
        {"content": "B"},
    ]
    end = read(translator.closing(CHARGED))
    assert reasons(end) == ["stop", "length"]
    assert translator.finish_reasons == ("stop", "length")


def test_a_missing_index_is_the_position() -> None:
    raw = {"choices": [{"delta": {"content": "a"}}, {"delta": {"content": "b"}}]}
    [event] = feed(make(), raw)
    assert [choice["index"] for choice in event["choices"]] == [0, 1]


def test_the_finish_reason_waits_for_the_closing() -> None:
    translator = make()
    events = feed(translator, chunk(ROLE), chunk({"content": "a"}, "stop"), chunk({"content": "b"}))
    assert reasons(events) == []
    assert translator.finished
    assert read(translator.closing(CHARGED)) == [
        {
            **events[0],
            "choices": [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}],
        },
        "[DONE]",
    ]


def test_only_one_finish_reason_is_sent_however_many_come() -> None:
    translator = make()
    feed(translator, chunk(ROLE), chunk({}, "stop"), chunk({}, "length"), chunk({}, ""), chunk({}))
    assert reasons(read(translator.closing(CHARGED))) == ["length"]


def test_a_filtered_answer_without_any_delta_has_a_role_and_an_end() -> None:
    translator = make()
    assert feed(translator, chunk({}, "content_filter")) == []
    [event, _] = read(translator.closing(CHARGED))
    assert event["choices"][0]["delta"] == ROLE
    assert event["choices"][0]["finish_reason"] == "content_filter"
    assert not translator.has_output


@pytest.mark.parametrize("theirs", ["stop", "tool_calls", ""])
def test_tool_calls_end_in_tool_calls(theirs: str) -> None:
    translator = make()
    feed(translator, chunk(calls(call("{}", index=0, id="a", name="f"))), chunk({}, theirs))
    translator.feed(b"[DONE]")
    assert reasons(read(translator.closing(CHARGED))) == ["tool_calls"]


def test_tool_calls_without_any_call_end_in_stop() -> None:
    translator = make()
    feed(translator, chunk({"content": "a"}), chunk({}, "tool_calls"))
    assert reasons(read(translator.closing(CHARGED))) == ["stop"]


def test_an_empty_finish_reason_is_none() -> None:
    translator = make()
    feed(translator, chunk({"content": "a"}, ""), chunk({"content": "b"}, ""))
    assert not translator.finished
    assert not translator.complete


def test_done_completes_a_stream_that_named_no_finish_reason() -> None:
    translator = make()
    feed(translator, chunk({"content": "a"}, ""))
    assert translator.feed(b"[DONE]") is None
    assert (translator.done, translator.complete) == (True, True)
    assert reasons(read(translator.closing(CHARGED))) == ["stop"]


def test_done_alone_completes_nothing() -> None:
    translator = make()
    translator.feed(b" [DONE] ")
    assert (translator.done, translator.complete) == (True, False)


def test_nothing_is_read_behind_done() -> None:
    translator = make()
    feed(translator, chunk(ROLE))
    translator.feed(b"[DONE]")
    assert feed(translator, chunk({"content": "late"})) == []


def test_tool_calls_are_passed_on_fragment_by_fragment() -> None:
    opening = call("", index=0, id="a", type="function", name="f")
    assert deltas(calls(opening), calls(call('{"x"', index=0)), calls(call(":1}", index=0)), close=False) == [
        {"role": "assistant", "content": None, **calls(opening)},
        calls(call('{"x"', index=0)),
        calls(call(":1}", index=0)),
    ]


def indices(*raw: Any) -> list[tuple[int, str, str]]:
    """Index, id and arguments of every call, put together the way a client does."""
    built: dict[int, list[str]] = {}
    for delta in deltas(*raw):
        for fragment in delta.get("tool_calls", ()):
            entry = built.setdefault(fragment["index"], ["", ""])
            entry[0] += fragment.get("id", "")
            entry[1] += fragment["function"]["arguments"]
    return [(index, call_id, text) for index, (call_id, text) in built.items()]


def test_indices_are_dense_whatever_the_vendor_counts_from() -> None:
    assert indices(
        calls(call("{", index=1, id="a", name="f")),
        calls(call("[", index=5, id="b", name="g")),
        calls(call("}", index=1), call("]", index=5)),
    ) == [(0, "a", "{}"), (1, "b", "[]")]


def test_without_indices_calls_are_told_apart_by_name_and_id() -> None:
    assert indices(
        calls(call("{", id="a", name="f")),
        calls(call("}")),
        calls(call("[", id="b", name="f")),
        calls(call(" ", id="a")),
        calls(call("]", id="b")),
    ) == [(0, "a", "{} "), (1, "b", "[]")]


def test_parallel_calls_that_share_an_index_are_told_apart() -> None:
    assert indices(
        calls(call("{}", index=0, id="a", name="f"), call("[]", index=0, id="b", name="f")),
        calls(call("1", index=0, id="c", name="g")),
    ) == [(0, "a", "{}"), (1, "b", "[]"), (2, "c", "1")]


def test_an_id_invented_for_every_fragment_is_still_one_call() -> None:
    assert indices(calls(call("{", index=0, id="a", name="f")), calls(call("}", index=0, id="z"))) == [
        (0, "a", "{}")
    ]


def test_id_and_name_repeated_in_every_fragment_are_sent_once() -> None:
    again = [calls(call(text, index=0, id="a", name="f")) for text in ("{", "}")]
    assert indices(*again) == [(0, "a", "{}")]


def test_a_name_that_comes_late_holds_back_the_call_not_its_arguments() -> None:
    raw = [calls(call('{"x', index=0, id="a")), calls(call('":1}', index=0, name="f"))]
    assert indices(*raw) == [(0, "a", '{"x":1}')]


def test_a_call_without_an_id_gets_one() -> None:
    [(_, call_id, _)] = indices(calls(call("{}", index=0, name="f")))
    assert call_id.startswith("call_")
    assert len(call_id) <= 40


def test_a_call_without_arguments_has_an_empty_object() -> None:
    assert indices(calls(call("", index=0, id="a", name="f"))) == [(0, "a", "{}")]


def test_arguments_that_were_parsed_become_text_again() -> None:
    assert indices(calls(call({"x": 1}, index=0, id="a", name="f"))) == [(0, "a", '{"x":1}')]


def test_custom_tool_calls_keep_their_kind() -> None:
    opening = {"index": 0, "id": "a", "type": "custom", "custom": {"name": "sh", "input": "l"}}
    more = {"index": 0, "custom": {"input": "s"}}
    assert deltas(calls(opening), calls(more), close=False) == [
        {"role": "assistant", "content": None, **calls(opening)},
        calls(more),
    ]


def test_a_legacy_function_call_passes() -> None:
    translator = make()
    legacy = {"function_call": {"name": "f", "arguments": "{}"}}
    [event] = feed(translator, chunk({"role": "assistant", "content": None, **legacy}, "stop"))
    assert event["choices"][0]["delta"] == {**ROLE, **legacy}
    feed(translator, chunk({}, "function_call"))
    assert reasons(read(translator.closing(CHARGED))) == ["function_call"]


def vendor_streams() -> dict[str, list[Any]]:
    """Every way a vendor reports usage."""
    text, end = chunk({"content": "a"}), chunk({}, "stop")
    each = [{**raw, "usage": {**USAGE, "completion_tokens": 1}} for raw in (text, text)]
    return {
        "its own chunk": [text, {**end, "usage": None}, {"choices": [], "usage": USAGE}],
        "no choices key": [text, end, {"usage": USAGE}],
        "the last chunk": [text, {**end, "usage": USAGE}],
        "every chunk": [*each, {**end, "usage": USAGE}],
        "in the choice": [text, {"choices": [{**end["choices"][0], "usage": USAGE}]}],
        "before the end": [{**text, "usage": USAGE}, end],
        "and then costs": [text, {**end, "usage": USAGE}, {"choices": [], "usage": {"cost": 1}}],
    }


@pytest.mark.parametrize("style", vendor_streams())
def test_who_asked_for_usage_gets_it_once_at_the_end(style: str) -> None:
    translator = make(include_usage=True)
    events = feed(translator, *vendor_streams()[style])
    end = read(translator.closing(CHARGED))
    assert [event["usage"] for event in [*events, *end[:-2]]] == [None] * (len(events) + 1)
    assert end[-2]["choices"] == []
    assert end[-2]["usage"]["total_tokens"] == 5
    assert end[-1] == "[DONE]"


@pytest.mark.parametrize("style", vendor_streams())
def test_who_did_not_ask_for_usage_sees_none_of_it(style: str) -> None:
    translator = make()
    events = feed(translator, *vendor_streams()[style])
    end = read(translator.closing(CHARGED))
    assert all("usage" not in event and event["choices"] for event in [*events, *end[:-1]])


@pytest.mark.parametrize("style", vendor_streams())
def test_the_last_report_is_remembered(style: str) -> None:
    translator = make()
    feed(translator, *vendor_streams()[style])
    assert translator.usage == CHARGED


def test_a_stream_without_a_report_has_no_usage() -> None:
    translator = make(include_usage=True)
    feed(translator, chunk({"content": "a"}, "stop", usage=None))
    assert translator.usage is None


def test_the_client_is_told_what_was_charged_not_what_was_reported() -> None:
    translator = make(include_usage=True)
    feed(translator, chunk({"content": "a"}, "stop", usage=USAGE))
    usage = read(translator.closing(TokenUsage(input_tokens=9)))[-2]["usage"]
    assert usage["prompt_tokens"] == 9


def test_output_is_counted_in_utf8_bytes() -> None:
    translator = make()
    feed(
        translator,
        chunk({"content": "深"}),
        chunk({"content": "a"}),
        chunk({"reasoning_content": "bc"}),
        chunk({"refusal": "d"}),
        chunk(calls(call("{}", index=0, id="x", name="fn"))),
    )
    assert translator.output_bytes == 3 + 1 + 2 + 1 + 4
    assert translator.has_output


def test_audio_is_output_too() -> None:
    translator = make()
    [event] = feed(translator, chunk({"audio": {"id": "a", "data": "UklG"}}))
    assert event["choices"][0]["delta"]["audio"] == {"id": "a", "data": "UklG"}
    assert translator.has_output


@pytest.mark.parametrize(
    "raw",
    [
        {"error": {"message": "sk-secret overloaded", "code": 503}},
        {"error": "overloaded"},
        {"object": "error", "message": "out of memory", "code": 500},
        chunk({"content": ""}, "error"),
        chunk({"content": "x"}, error={"code": 502, "message": "Provider disconnected"}),
        {"choices": [{"index": 0, "delta": {}, "error": {"code": 502}}]},
        {"choices": [{"index": 0, "delta": {"content": "x"}, "error": {"code": 502}}]},
    ],
)
def test_an_error_in_the_stream_is_the_vendors(raw: Any) -> None:
    translator = make()
    feed(translator, chunk({"content": "so far"}))
    with pytest.raises(VendorStreamError) as caught:
        translator.feed(orjson.dumps(raw))
    assert "secret" not in caught.value.message
    assert caught.value.http_status == 502


def test_usage_beside_an_error_is_remembered() -> None:
    translator = make()
    with pytest.raises(VendorStreamError):
        feed(translator, {"error": {"code": 502}, "usage": USAGE})
    assert translator.usage == CHARGED


@pytest.mark.parametrize(
    "payload",
    [
        b"{",
        b"<html>",
        b"[]",
        b"5",
        b"null",
        b'{"choices":{"0":1}}',
        b'{"choices":"x"}',
        b'{"choices":["x"]}',
        b'{"choices":[{"delta":{"content":"a"},"logprobs":' + b"[" * 300 + b"]" * 300 + b"}]}",
    ],
)
def test_what_cannot_be_read_is_the_vendors_failure(payload: bytes) -> None:
    translator = make()
    feed(translator, chunk(ROLE))
    with pytest.raises(UpstreamFailed):
        translator.feed(payload)


@pytest.mark.parametrize("payload", [b"", b"  ", b'{"type":"ping"}', b'{"choices":[]}'])
def test_what_says_nothing_is_ignored(payload: bytes) -> None:
    assert make().feed(payload) is None


def test_an_error_event_is_an_envelope_and_nothing_else() -> None:
    [event] = read(error_event(UpstreamTimedOut("The vendor went silent.")))
    assert event == {
        "error": {
            "message": "The vendor went silent.",
            "type": "server_error",
            "param": None,
            "code": "upstream_timeout",
        }
    }


def test_a_stream_without_choices_can_still_be_closed() -> None:
    translator = make(include_usage=True)
    [usage, done] = read(translator.closing(CHARGED))
    assert (usage["choices"], usage["model"], done) == ([], "m", "[DONE]")
