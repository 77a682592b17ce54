"""Conversations as Gemini wants them: in turn, with every call answered by name behind it."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from relay.capabilities import read_traits
from relay.errors import InvalidRequest
from relay.vendors.gemini.signatures import NO_SIGNATURE
from tests.doubles.gemini_rules import sign
from tests.relay.vendors.gemini.families import (
    FLASH_2_0,
    GIF,
    HELLO,
    PDF,
    PNG,
    PRO_2_5,
    PRO_3_1,
    TRAITS,
    WAV,
    build,
    calls,
    result,
    sent,
    tool,
)

USER = {"role": "user", "content": "Hello"}


def contents(messages: list[dict[str, Any]], **fields: Any) -> list[tuple[str, list[dict[str, Any]]]]:
    return [(each["role"], each["parts"]) for each in sent(messages, **fields)["contents"]]


def roles(messages: list[dict[str, Any]], **fields: Any) -> list[str]:
    return [role for role, _ in contents(messages, **fields)]


def refused(messages: list[dict[str, Any]], **fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        build(messages, **fields)
    return caught.value


# Roles


def test_instructions_at_the_beginning_are_the_system_instruction() -> None:
    body = sent(
        [
            {"role": "system", "content": "A"},
            {"role": "developer", "content": [{"type": "text", "text": "B"}]},
            {"role": "system", "content": ""},
            USER,
        ]
    )
    assert body["systemInstruction"] == {"parts": [{"text": "A"}, {"text": "B"}]}
    assert len(body["contents"]) == 1


def test_instructions_in_the_middle_stay_there() -> None:
    body = sent([USER, {"role": "system", "content": "late"}])
    assert "systemInstruction" not in body
    assert body["contents"][0]["parts"][1] == {"text": "<system>\nlate\n</system>"}


def test_a_request_of_instructions_only_gets_a_user() -> None:
    assert contents([{"role": "system", "content": "S"}]) == [("user", [{"text": " "}])]


def test_messages_of_one_side_are_merged() -> None:
    said = [USER, USER, {"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}, USER]
    assert roles(said) == ["user", "model", "user"]
    assert contents(said)[1][1] == [{"text": "a"}, {"text": "b"}]


def test_a_conversation_that_begins_with_the_model_gets_a_user_first() -> None:
    assert roles([{"role": "assistant", "content": "a"}, USER]) == ["user", "model", "user"]


def test_the_models_own_last_words_are_gone_on_with_where_that_is_possible() -> None:
    said = [USER, {"role": "assistant", "content": "{"}]
    assert roles(said, model=PRO_2_5) == ["user", "model"]
    assert contents(said, model=PRO_3_1)[-1] == ("user", [{"text": "Continue."}])


@pytest.mark.parametrize("content", ["", [], [{"type": "text", "text": ""}], None])
def test_empty_content_is_no_content(content: Any) -> None:
    said = {"role": "assistant", "content": content, **({"refusal": "No."} if content is None else {})}
    if content is None:
        assert contents([USER, said, USER])[1] == ("model", [{"text": "No."}])
    else:
        assert roles([USER, said, USER]) == ["user"]
        assert contents([{"role": "user", "content": content}]) == [("user", [{"text": " "}])]


def test_text_beside_tool_calls_is_kept() -> None:
    said = contents([USER, calls("c1", content="Let me see."), result("c1")])
    assert [set(part) - {"thoughtSignature"} for part in said[1][1]] == [{"text"}, {"functionCall"}]


def test_names_of_speakers_are_named_as_left_out() -> None:
    assert build([{**USER, "name": "Anna"}]).dropped == ("messages[].name",)


# Tool loops


def test_parallel_results_come_in_one_content_in_the_order_of_the_calls() -> None:
    said = contents(
        [
            USER,
            calls("c1", "c2"),
            result("c2", "two"),
            result("c1", '{"r": 1.10}'),
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": png()}}]},
        ]
    )
    assert [role for role, _ in said] == ["user", "model", "user"]
    kinds = [next(iter(part)) for part in said[2][1]]
    assert kinds == ["functionResponse", "functionResponse", "inlineData"]
    assert said[2][1][0]["functionResponse"] == {"id": "c1", "name": "f", "response": {"r": 1.10}}
    assert said[2][1][1]["functionResponse"]["response"] == {"output": "two"}


def test_function_response_name_comes_from_the_call_of_that_id() -> None:
    messages = [USER, calls("c1", name="first"), {**result("c1"), "name": "c1"}]
    (response,) = contents(messages)[2][1]
    assert response["functionResponse"]["name"] == "first"


def test_a_result_of_no_call_is_refused_here() -> None:
    error = refused([USER, {"role": "function", "name": "g", "content": "r"}])
    assert error.param == "messages[1].role"


def test_ids_are_left_out_for_models_that_refuse_them() -> None:
    said = contents([USER, calls("c1"), result("c1")], model=PRO_2_5)
    assert "id" not in said[1][1][0]["functionCall"]
    assert "id" not in said[2][1][0]["functionResponse"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("", {}),
        ("  ", {}),
        ("{}", {}),
        ('{"a": 1}', {"a": 1}),
        ("[1]", {"value": [1]}),
        ("7", {"value": 7}),
        ("null", {"value": None}),
        ('{"a": ', {"_raw": '{"a": '}),
    ],
)
def test_arguments_are_an_object_whatever_the_model_wrote(arguments: str, told: dict[str, Any]) -> None:
    said = contents([USER, calls("c1", arguments=arguments), result("c1")])
    assert said[1][1][0]["functionCall"]["args"] == told


def test_arguments_go_back_to_the_byte() -> None:
    request = build([USER, calls("c1", arguments='{"a":1.10,"b":12345678901234567890}'), result("c1")])
    assert b'"args":{"a":1.10,"b":12345678901234567890}' in request.body


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", {"output": ""}),
        ("plain", {"output": "plain"}),
        ("[1, 2]", {"output": "[1, 2]"}),
        ('{"ok": true}', {"ok": True}),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], {"output": "ab"}),
    ],
)
def test_results_are_an_object_whatever_the_tool_said(content: Any, told: dict[str, Any]) -> None:
    said = contents([USER, calls("c1"), result("c1", content)])
    assert said[2][1][0]["functionResponse"]["response"] == told


def test_the_deprecated_form_of_a_call() -> None:
    said = contents(
        [
            USER,
            {"role": "assistant", "content": None, "function_call": {"name": "g", "arguments": "{}"}},
            {"role": "function", "name": "g", "content": "r"},
        ]
    )
    assert said[1][1][0]["functionCall"] == {"name": "g", "args": {}}
    assert said[2][1][0]["functionResponse"] == {"name": "g", "response": {"output": "r"}}


def test_a_call_that_was_never_answered_says_so() -> None:
    called = {"role": "assistant", "content": None, "function_call": {"name": "g", "arguments": "{}"}}
    said = contents([USER, called, USER])
    assert "error" in said[2][1][0]["functionResponse"]["response"]


def test_custom_calls_of_other_models_become_functions() -> None:
    called = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "custom", "custom": {"name": "c", "input": "raw"}}],
    }
    said = contents([USER, called, result("c1")])
    assert said[1][1][0]["functionCall"]["args"] == {"input": "raw"}


def test_function_names_with_strange_characters_are_the_same_everywhere() -> None:
    request = build([USER, calls("c1", name="mcp tool/x"), result("c1")], tools=[tool("f")])
    body = orjson.loads(request.body)
    name = body["contents"][1]["parts"][0]["functionCall"]["name"]
    assert body["contents"][2]["parts"][0]["functionResponse"]["name"] == name
    assert request.tool_names == {name: "mcp tool/x"}


# Thought signatures

SIGNATURE = sign(PRO_3_1, "f", {"a": 1})
KEPT = {"c1": {"model": PRO_3_1, "signature": SIGNATURE}}


def signatures(messages: list[dict[str, Any]], **fields: Any) -> list[str | None]:
    said = contents(messages, **fields)
    return [p.get("thoughtSignature") for _, parts in said for p in parts if "functionCall" in p]


def test_a_signature_comes_back_from_memory_onto_its_own_call() -> None:
    loop = [USER, calls("c1", "c2"), result("c1"), result("c2")]
    assert signatures(loop, memory=KEPT) == [SIGNATURE, None]
    kept = {"c2": KEPT["c1"]}
    assert signatures(loop, memory=kept, model=PRO_3_1, sends_thoughts=False) == [NO_SIGNATURE, None]


def test_a_signature_the_client_kept_goes_before_memory() -> None:
    loop = [USER, calls("c1"), result("c1")]
    extra = {"google": {"thought_signature": SIGNATURE, "model": PRO_3_1}}
    loop[1]["tool_calls"] = [{**loop[1]["tool_calls"][0], "extra_content": extra}]
    assert signatures(loop) == [SIGNATURE]
    del extra["google"]["model"]
    assert signatures(loop) == [SIGNATURE]


def test_calls_without_a_signature_say_so_where_the_model_wants_one() -> None:
    loop = [USER, calls("c1", "c2"), result("c1"), result("c2")]
    assert signatures(loop) == [NO_SIGNATURE, None]
    assert signatures(loop, model=PRO_2_5) == [None, None]


def test_another_models_signature_is_not_replayed() -> None:
    kept = {"c1": {"model": "gemini-3.8-flash", "signature": "b3RoZXI="}}
    assert signatures([USER, calls("c1"), result("c1")], memory=kept) == [NO_SIGNATURE]


def test_every_step_of_a_loop_gets_its_own() -> None:
    loop = [USER, calls("c1"), result("c1"), calls("c2"), result("c2")]
    assert signatures(loop, memory=KEPT) == [SIGNATURE, NO_SIGNATURE]


def test_signatures_the_vendor_refused_are_left_out_the_second_time() -> None:
    loop = [USER, calls("c1"), result("c1")]
    assert signatures(loop, memory=KEPT, sends_thoughts=False) == [NO_SIGNATURE]
    assert signatures(loop, model=PRO_2_5, memory=KEPT, sends_thoughts=False) == [None]


@pytest.mark.parametrize("entry", [None, 7, {}, {"signature": 7, "model": PRO_3_1}, {"model": PRO_3_1}])
def test_nonsense_in_memory_is_no_signature(entry: Any) -> None:
    assert signatures([USER, calls("c1"), result("c1")], memory={"c1": entry}) == [NO_SIGNATURE]


# Media


def png(kind: str = "image/png") -> str:
    return f"data:{kind};base64,{PNG}"


def part_of(part: dict[str, Any], **fields: Any) -> dict[str, Any]:
    (found,) = contents([{"role": "user", "content": [part]}], **fields)[0][1]
    return found


@pytest.mark.parametrize("kind", ["image/png", "image/jpg", "application/octet-stream"])
def test_an_images_type_is_read_from_its_bytes(kind: str) -> None:
    part = part_of({"type": "image_url", "image_url": {"url": png(kind)}})
    assert part == {"inlineData": {"mimeType": "image/png", "data": PNG}}


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (f"data:image/gif;base64,{GIF}", "invalid_image_format"),
        ("data:image/png;base64,AAAA", "invalid_image_format"),
        ("data:image/png,x", "invalid_value"),
        ("https://a.example/x.png", "invalid_image_url"),
    ],
)
def test_images_the_vendor_refuses_are_refused_here(url: str, reason: str) -> None:
    error = refused([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}])
    assert (error.param, error.wire_code) == ("messages[0].content[0].image_url.url", reason)


def test_the_vendor_fetches_what_its_model_can_fetch() -> None:
    traits = replace(TRAITS[PRO_3_1], image_url_schemes=("https",))
    part = part_of({"type": "image_url", "image_url": {"url": "https://a.example/x.WEBP?y=1"}}, traits=traits)
    assert part == {"fileData": {"fileUri": "https://a.example/x.WEBP?y=1", "mimeType": "image/webp"}}


def test_files() -> None:
    def file(data: str) -> dict[str, Any]:
        return {"type": "file", "file": {"file_data": data, "filename": "a.pdf"}}

    pdf = {"inlineData": {"mimeType": "application/pdf", "data": PDF}}
    assert part_of(file(f"data:application/pdf;base64,{PDF}")) == pdf
    assert part_of(file(PDF)) == pdf
    assert part_of(file("data:text/csv;base64,YSxi")) == {
        "inlineData": {"mimeType": "text/plain", "data": "YSxi"}
    }
    error = refused([{"role": "user", "content": [file("data:application/zip;base64,UEsDBA==")]}])
    assert error.param == "messages[0].content[0].file.file_data"


def test_sound() -> None:
    part = part_of({"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}})
    assert part == {"inlineData": {"mimeType": "audio/wav", "data": WAV}}
    error = refused(
        [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "", "format": "mp3"}}]}]
    )
    assert error.param == "messages[0].content[0].input_audio.data"


@pytest.mark.parametrize(
    ("trait", "part"),
    [
        ("vision", {"type": "image_url", "image_url": {"url": png()}}),
        ("pdf", {"type": "file", "file": {"file_data": PDF}}),
        ("audio_in", {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}}),
    ],
)
def test_kinds_the_model_does_not_take(trait: str, part: dict[str, Any]) -> None:
    traits = read_traits({trait: False}, TRAITS[FLASH_2_0])
    error = refused([{"role": "user", "content": [part]}], model=FLASH_2_0, traits=traits)
    assert (error.param, error.wire_code) == ("messages[0].content[0]", "unsupported_value")


def test_order_of_parts_is_kept() -> None:
    parts = [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {"url": png()}},
        {"type": "text", "text": "b"},
    ]
    said = contents([{"role": "user", "content": parts}, *HELLO])
    assert [next(iter(part)) for part in said[0][1]] == ["text", "inlineData", "text", "text"]
