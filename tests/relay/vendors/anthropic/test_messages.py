"""Conversations as customers send them, in the shape the vendor insists on."""

import base64
from typing import Any

import orjson
import pytest

from relay.errors import InvalidRequest
from relay.protocols.openai_chat.media import remote_parts
from relay.protocols.openai_chat.request import parse_request
from relay.vendors.anthropic import DEFAULT_TRAITS
from relay.vendors.anthropic.messages import read_conversation
from relay.vendors.shared.tool_names import ToolNames
from tests.relay.vendors.anthropic.families import (
    HAIKU_3_5,
    HELLO,
    OPUS_5,
    PDF,
    PNG,
    SONNET_4_5,
    SONNET_4_6,
    TRAITS,
    build,
    build_unchecked,
    calls,
    result,
    sent,
    tool,
)

IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}}


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def turns(messages: list[dict[str, Any]], **fields: Any) -> list[tuple[str, list[str]]]:
    """Who speaks, and the kinds of what is said."""
    body = sent(messages, **fields)
    return [(each["role"], [block["type"] for block in each["content"]]) for each in body["messages"]]


def refused(*parts: Any, model: str = SONNET_4_5) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        build_unchecked([user(*parts)], model=model)
    return caught.value


# Instructions


def test_instructions_at_the_beginning_become_system_blocks_in_order() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "A"},
        {"role": "developer", "content": [{"type": "text", "text": "B"}]},
        {"role": "system", "content": "  "},
        *HELLO,
    ]
    assert sent(messages)["system"] == [text("A"), text("B")]


LATE = [*HELLO, {"role": "assistant", "content": "Hi"}, {"role": "system", "content": "Stop."}, *HELLO]


def test_late_instructions_are_not_hoisted() -> None:
    body = sent(LATE, model=OPUS_5)
    assert "system" not in body
    assert [each["role"] for each in body["messages"]] == ["user", "assistant", "system", "user"]


def test_late_instructions_are_told_by_the_user_where_the_model_knows_no_other_way() -> None:
    body = sent(LATE)
    assert "system" not in body
    last = body["messages"][-1]
    assert last == user(text("<system>\nStop.\n</system>"), text("Hello"))


@pytest.mark.parametrize("model", [SONNET_4_5, OPUS_5])
def test_a_request_of_instructions_only_gets_a_user(model: str) -> None:
    body = sent([{"role": "system", "content": "Tell a joke."}], model=model)
    assert body["system"] == [text("Tell a joke.")]
    assert [each["role"] for each in body["messages"]] == ["user"]


def test_instructions_behind_an_empty_user_still_follow_one() -> None:
    messages = [{"role": "user", "content": ""}, {"role": "system", "content": "Go."}]
    assert [role for role, _ in turns(messages, model=OPUS_5)] == ["user", "system"]


# Text


@pytest.mark.parametrize("content", ["", "  \n", None, []])
def test_an_assistant_without_text_beside_its_calls(content: Any) -> None:
    messages = [*HELLO, {**calls("c1"), "content": content}, result("c1")]
    assert turns(messages)[1:] == [("assistant", ["tool_use"]), ("user", ["tool_result"])]


def test_text_and_calls_of_an_assistant_are_both_kept() -> None:
    messages = [*HELLO, {**calls("c1"), "content": "Let me see."}, result("c1")]
    assert turns(messages)[1] == ("assistant", ["text", "tool_use"])


def test_empty_parts_and_messages_are_left_out() -> None:
    messages = [*HELLO, {"role": "assistant", "content": ""}, user(text(" "), text("x"), text(""))]
    assert sent(messages)["messages"] == [user(text("Hello"), text("x"))]


def test_a_request_without_a_visible_character_is_still_one() -> None:
    assert sent([{"role": "user", "content": " "}])["messages"] == [user(text("."))]


def test_a_conversation_the_assistant_begins_gets_a_user_before() -> None:
    messages = [{"role": "assistant", "content": "Welcome!"}, *HELLO]
    assert [role for role, _ in turns(messages)] == ["user", "assistant", "user"]


def test_a_refusal_of_earlier_is_text() -> None:
    messages = [*HELLO, {"role": "assistant", "content": None, "refusal": "No."}, *HELLO]
    assert sent(messages)["messages"][1]["content"] == [text("No.")]
    parts = [*HELLO, {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}, *HELLO]
    assert sent(parts)["messages"][1]["content"] == [text("No.")]


def test_the_last_words_of_an_assistant_end_without_white_space() -> None:
    body = sent([*HELLO, {"role": "assistant", "content": "{ \n"}])
    assert body["messages"][-1] == {"role": "assistant", "content": [text("{")]}


@pytest.mark.parametrize("fields", [{"model": SONNET_4_6}, {"reasoning_effort": "low"}])
def test_where_nothing_can_be_prefilled_the_model_is_asked_to_go_on(fields: dict[str, Any]) -> None:
    body = sent([*HELLO, {"role": "assistant", "content": "Once "}], **fields)
    assert [each["role"] for each in body["messages"]] == ["user", "assistant", "user"]


# Calls and results


def test_parallel_results_come_together_and_before_what_the_user_says() -> None:
    messages = [*HELLO, calls("c1", "c2"), result("c2"), result("c1"), user(IMAGE)]
    assert turns(messages)[2] == ("user", ["tool_result", "tool_result", "image"])


def test_an_image_between_two_results_goes_behind_them() -> None:
    """Our own check refuses it with OpenAI's words; the translation would survive it."""
    messages = [calls("c1", "c2"), result("c1"), user(IMAGE), result("c2")]
    built = read_conversation(messages, DEFAULT_TRAITS, ToolNames(".*"), thoughts=None).messages
    assert [block["type"] for block in built[-1]["content"]] == ["tool_result", "tool_result", "image"]


def test_a_call_that_was_never_answered_gets_an_answer() -> None:
    messages = [*HELLO, calls("c1"), {"role": "assistant", "content": "x"}, *HELLO]
    built = read_conversation(messages, DEFAULT_TRAITS, ToolNames(".*"), thoughts=None).messages
    (answer,) = built[2]["content"]
    assert (answer["tool_use_id"], answer["is_error"]) == ("c1", True)


@pytest.mark.parametrize("content", ["", " ", []])
def test_an_empty_result_has_no_content(content: Any) -> None:
    body = sent([*HELLO, calls("c1"), result("c1", content)])
    assert body["messages"][2]["content"] == [{"type": "tool_result", "tool_use_id": "c1"}]


def test_tools_are_there_whenever_the_conversation_has_calls() -> None:
    body = sent([*HELLO, calls("c1", name="gone"), result("c1")])
    assert [each["name"] for each in body["tools"]] == ["gone"]
    assert body["tool_choice"] == {"type": "none"}


def test_strange_ids_are_changed_in_call_and_result_alike() -> None:
    messages = [*HELLO, calls("a.b|c", "a:b|c", ""), result("a.b|c"), result("a:b|c"), result("")]
    body = sent(messages)
    used = [block["id"] for block in body["messages"][1]["content"]]
    assert used == [block["tool_use_id"] for block in body["messages"][2]["content"]]
    assert len(set(used)) == 3


def test_ids_that_begin_anew_in_every_turn_are_kept_apart() -> None:
    messages = [*HELLO, calls("0"), result("0", "a"), calls("0"), result("0", "b")]
    body = sent(messages)
    used = [block["tool_use_id"] for at in (2, 4) for block in body["messages"][at]["content"]]
    assert used == ["0", "0_2"]


def test_strange_names_are_changed_and_can_be_changed_back() -> None:
    name = "mcp.tool/x" + "y" * 130
    request = build([*HELLO, calls("c1", name=name), result("c1")], tools=[tool()])
    (changed,) = request.tool_names
    assert request.tool_names[changed] == name
    block = orjson.loads(request.body)["messages"][1]["content"][0]
    assert block["name"] == changed


@pytest.mark.parametrize(
    "arguments",
    ['{"a": 1.10, "b":12345678901234567890123, "c":1e5}', '{"ü":"\\u00fc","z":"日本"}', '{ "a" : [ ] }'],
)
def test_arguments_go_back_to_the_byte(arguments: str) -> None:
    request = build([*HELLO, calls("c1", arguments=arguments), result("c1")])
    assert f'"input":{arguments}'.encode() in request.body


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [("", {}), (" ", {}), ('{"a":', {"_raw": '{"a":'}), ("[1]", {"_raw": "[1]"}), ("NaN", {"_raw": "NaN"})],
)
def test_arguments_that_are_no_object_become_one(arguments: str, expected: dict[str, Any]) -> None:
    body = sent([*HELLO, calls("c1", arguments=arguments), result("c1")])
    assert body["messages"][1]["content"][0]["input"] == expected


def test_calls_and_results_in_the_deprecated_form() -> None:
    messages = [
        *HELLO,
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"a":1}'}},
        {"role": "function", "name": "f", "content": "42"},
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ""}},
        *HELLO,
    ]
    assert turns(messages) == [
        ("user", ["text"]),
        ("assistant", ["tool_use"]),
        ("user", ["tool_result"]),
        ("assistant", ["tool_use"]),
        ("user", ["tool_result", "text"]),
    ]


def test_a_result_nobody_asked_for_is_refused() -> None:
    with pytest.raises(InvalidRequest) as caught:
        build_unchecked([*HELLO, {"role": "function", "name": "f", "content": "x"}], model=SONNET_4_5)
    assert caught.value.param == "messages[1].role"


def test_a_custom_call_of_another_model_is_kept() -> None:
    custom = {"id": "c1", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}
    messages = [*HELLO, {"role": "assistant", "content": None, "tool_calls": [custom]}, result("c1")]
    assert sent(messages)["messages"][1]["content"][0]["input"] == {"input": "SELECT 1"}


# Images and files


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def test_images_keep_their_place_between_texts() -> None:
    assert turns([user(text("a"), IMAGE, text("b"))]) == [("user", ["text", "image", "text"])]


@pytest.mark.parametrize(
    ("declared", "data", "media_type"),
    [
        ("image/jpg", b"\xff\xd8\xff\xe0" + bytes(40), "image/jpeg"),
        ("image/jpeg", base64.b64decode(PNG), "image/png"),
        ("", b"GIF89a" + bytes(40), "image/gif"),
        ("IMAGE/WEBP", b"RIFF\x10\x00\x00\x00WEBPVP8 " + bytes(9), "image/webp"),
    ],
)
def test_the_type_of_an_image_is_read_from_its_bytes(declared: str, data: bytes, media_type: str) -> None:
    body = sent([user(image(f"data:{declared};base64,{b64(data)}"))])
    source = body["messages"][0]["content"][0]["source"]
    assert source == {"type": "base64", "media_type": media_type, "data": b64(data)}


def test_https_images_are_fetched_by_the_vendor() -> None:
    body = sent([user(image("https://a.example/x.png"))])
    source = body["messages"][0]["content"][0]["source"]
    assert source == {"type": "url", "url": "https://a.example/x.png"}


def test_http_images_must_be_put_in_before() -> None:
    url = "http://169.254.169.254/x.png"
    chat = parse_request(orjson.dumps({"model": "m", "messages": [user(image(url))]}))
    assert [part.url for part in remote_parts(chat, TRAITS[SONNET_4_5])] == [url]
    error = refused(image(url))
    assert (error.param, error.wire_code) == ("messages[0].content[0].image_url.url", "invalid_image_url")


@pytest.mark.parametrize(
    "url",
    [
        "data:image/png;base64,AAAA",
        "data:image/png;base64,####",
        "data:image/svg+xml;base64,PHN2Zz48L3N2Zz4=",
        "data:image/png,abc",
        "data:",
    ],
)
def test_what_is_no_image_is_refused(url: str) -> None:
    assert refused(image(url)).param == "messages[0].content[0].image_url.url"


def test_line_breaks_in_base64_do_not_matter() -> None:
    body = sent([user(image(f"data:image/png;base64,{PNG[:60]}\r\n{PNG[60:]}"))])
    assert body["messages"][0]["content"][0]["source"]["data"] == PNG


def file(data: str, **more: Any) -> dict[str, Any]:
    return {"type": "file", "file": {"file_data": data, **more}}


@pytest.mark.parametrize("data", [f"data:application/pdf;base64,{PDF}", PDF])
def test_pdfs_become_documents(data: str) -> None:
    body = sent([user(file(data, filename="a.pdf"), text("Sum up."))])
    assert body["messages"][0]["content"][0] == {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
        "title": "a.pdf",
    }


def test_texts_become_documents() -> None:
    body = sent([user(file(f"data:text/csv;base64,{b64('ä;b'.encode())}"))])
    source = body["messages"][0]["content"][0]["source"]
    assert source == {"type": "text", "media_type": "text/plain", "data": "ä;b"}


@pytest.mark.parametrize("data", ["data:application/zip;base64,UEsDBA==", "x", "data:text/plain;base64,/w=="])
def test_other_files_are_refused(data: str) -> None:
    assert refused(file(data)).param == "messages[0].content[0].file.file_data"


def test_audio_is_refused_by_its_place() -> None:
    part = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    error = refused(text("x"), part)
    assert (error.param, error.wire_code) == ("messages[0].content[1]", "unsupported_value")


def test_an_earlier_answer_in_audio_is_refused_unless_its_text_is_there() -> None:
    spoken = {"role": "assistant", "audio": {"id": "audio_1"}}
    with pytest.raises(InvalidRequest) as caught:
        build_unchecked([*HELLO, spoken, *HELLO], model=SONNET_4_5)
    assert caught.value.param == "messages[1].audio"
    assert turns([*HELLO, {**spoken, "content": "Hi"}, *HELLO])[1] == ("assistant", ["text"])


# Cache breakpoints


def test_cache_breakpoints_go_on() -> None:
    mark = {"type": "ephemeral"}
    messages = [
        {"role": "system", "content": [{**text("S"), "cache_control": {**mark, "ttl": "1h"}}]},
        user({**IMAGE, "cache_control": mark}, text("x")),
        {"role": "assistant", "content": "y"},
        {"role": "user", "content": "z", "cache_control": mark},
    ]
    body = sent(messages, tools=[{**tool(), "cache_control": {**mark, "ttl": "1h"}}])
    assert body["tools"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert body["system"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert body["messages"][0]["content"][0]["cache_control"] == mark
    assert body["messages"][2]["content"][0]["cache_control"] == mark


def test_a_cached_result() -> None:
    messages = [*HELLO, calls("c1"), {**result("c1"), "cache_control": {"type": "ephemeral"}}]
    assert "cache_control" in sent(messages)["messages"][2]["content"][0]


@pytest.mark.parametrize(
    "control", ["x", {"type": "forever"}, {"type": "ephemeral", "ttl": "9h"}, {"ttl": []}]
)
def test_a_breakpoint_that_means_nothing_is_refused(control: Any) -> None:
    error = refused({**text("x"), "cache_control": control})
    assert (error.param or "").startswith("messages[0].content[0].cache_control")


def test_old_models_take_all_of_it_too() -> None:
    messages = [*HELLO, calls("c1"), result("c1"), user(IMAGE, text("?"))]
    assert turns(messages, model=HAIKU_3_5)[2] == ("user", ["tool_result", "image", "text"])
