"""What other gateways keep getting wrong, symptom by symptom, and the tests that show that we do not.

Each symptom names its tests as pytest does; one that is renamed or gone makes this fail.
"""

import ast
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ANTHROPIC, GEMINI, SHAPED = "vendors/anthropic", "vendors/gemini", "vendors/openai_shaped"
CHAT = "protocols/openai_chat"
CUTS = f"{CHAT}/test_stream_transcripts.py"

KNOWN = {
    "cache tokens of Anthropic are counted twice or not at all": (
        f"{ANTHROPIC}/test_usage.py::test_input_leaves_out_the_cache_already",
        f"{ANTHROPIC}/test_stream.py::test_cache_tokens_are_counted_once",
    ),
    "thoughts of Gemini are free, or billed twice": (
        f"{GEMINI}/test_usage.py::test_thoughts_are_billed_beside_the_candidates",
        f"{GEMINI}/test_usage.py::test_thoughts_that_are_in_the_candidates_already_are_not_added_twice",
    ),
    "reasoning of xAI lies outside the completion and is free": (
        f"{CHAT}/test_usage.py::test_reasoning_beside_the_completion_is_added_when_the_total_says_so",
        f"{CHAT}/test_usage.py::test_reasoning_is_part_of_the_completion_when_the_total_says_so",
    ),
    "results of parallel tools are parted by an image or a text": (
        f"{ANTHROPIC}/test_messages.py::test_parallel_results_come_together_and_before_what_the_user_says",
        f"{ANTHROPIC}/test_messages.py::test_an_image_between_two_results_goes_behind_them",
    ),
    "the index of a streamed tool is the index of its block": (
        f"{ANTHROPIC}/test_stream.py::test_tool_index_is_counted_anew_and_not_the_blocks",
    ),
    "parallel tools of a stream are merged into one": (
        f"{GEMINI}/test_stream.py::test_parallel_calls_in_one_event_or_three_are_numbered_and_told_apart",
        f"{CHAT}/test_stream.py::test_parallel_calls_that_share_an_index_are_told_apart",
    ),
    "the answer says stop though it calls tools": (
        f"{GEMINI}/test_stream.py::test_finish_reason_stop_in_a_later_event_is_still_tool_calls",
        f"{CHAT}/test_stream.py::test_tool_calls_end_in_tool_calls",
        f"{CHAT}/test_stream.py::test_an_empty_finish_reason_is_none",
    ),
    "a result for Gemini has no name, or the id as its name": (
        f"{GEMINI}/test_contents.py::test_function_response_name_comes_from_the_call_of_that_id",
        f"{GEMINI}/test_contents.py::test_a_result_of_no_call_is_refused_here",
    ),
    "Gemini refuses the schema or the name of a tool": (
        f"{GEMINI}/test_schema.py::test_the_golden_file_of_everything_the_vendor_refuses",
        f"{GEMINI}/test_request.py::test_names_the_vendor_refuses_are_changed_and_can_be_changed_back",
    ),
    "empty text is refused, or text beside tool calls is lost": (
        f"{ANTHROPIC}/test_messages.py::test_an_assistant_without_text_beside_its_calls",
        f"{ANTHROPIC}/test_messages.py::test_text_and_calls_of_an_assistant_are_both_kept",
        f"{GEMINI}/test_contents.py::test_text_beside_tool_calls_is_kept",
    ),
    "thinking is lost, changed, or shown to another model": (
        f"{ANTHROPIC}/test_thinking.py::test_memory_gives_back_what_the_client_lost",
        f"{ANTHROPIC}/test_thinking.py::test_a_signature_is_the_same_after_a_round_through_a_client",
        f"{ANTHROPIC}/test_thinking.py::test_thoughts_of_another_model_are_not_sent",
    ),
    "signatures of Gemini are lost or stand at the wrong call": (
        f"{GEMINI}/test_contents.py::test_a_signature_comes_back_from_memory_onto_its_own_call",
        f"{GEMINI}/test_contents.py::test_signatures_the_vendor_refused_are_left_out_the_second_time",
    ),
    "sampling goes to a model that refuses it": (
        f"{ANTHROPIC}/test_request.py::test_temperature_and_top_p_as_each_model_takes_them",
        f"{SHAPED}/test_request.py::test_sampling_follows_the_models_traits",
    ),
    "max_tokens is missing, too high, or under another name": (
        f"{ANTHROPIC}/test_request.py::test_max_tokens_missing_gets_the_models_default",
        f"{ANTHROPIC}/test_request.py::test_max_tokens_above_the_models_limit_is_lowered",
        f"{ANTHROPIC}/test_request.py::test_effort_becomes_a_budget_that_leaves_room_for_the_answer",
        f"{SHAPED}/test_request.py::test_the_limit_has_the_name_the_model_knows",
    ),
    "parallel_tool_calls is lost or sent without tools": (
        f"{ANTHROPIC}/test_request.py::test_parallel_tool_calls_off",
        f"{ANTHROPIC}/test_request.py::test_parallel_tool_calls_without_tools_says_nothing",
    ),
    "Qwen refuses to think in a plain answer": (
        f"{SHAPED}/test_request.py::test_who_thinks_in_streams_only_is_streamed_from",
    ),
    "DeepSeek misses its thoughts, or gets tools it does not know": (
        f"{SHAPED}/test_request.py::test_deepseek_gets_thoughts_back_beside_tool_calls",
        f"{SHAPED}/test_request.py::test_what_would_change_the_answer_is_refused",
    ),
    "a first chunk without choices breaks the reader": (
        f"{CUTS}::test_azures_first_chunk_does_not_settle_the_model",
        f"{CHAT}/test_stream.py::test_a_role_is_sent_once_and_even_if_the_vendor_sends_none",
    ),
    "usage is shown to who did not ask, or kept from who did": (
        f"{CHAT}/test_stream.py::test_who_asked_for_usage_gets_it_once_at_the_end",
        f"{CHAT}/test_stream.py::test_who_did_not_ask_for_usage_sees_none_of_it",
        f"{SHAPED}/test_answers.py::test_streams_end_and_count_in_many_ways",
    ),
    "an error inside a stream looks like success": (
        f"{SHAPED}/test_answers.py::test_an_error_inside_a_stream_is_an_error",
        f"{ANTHROPIC}/test_stream.py::test_an_overloaded_stream_never_says_stop",
        f"{GEMINI}/test_stream.py::test_an_error_inside_a_stream_is_no_answer",
        f"{CUTS}::test_a_broken_stream_ends_in_an_error_and_nothing_that_looks_complete",
    ),
    "a prompt that Gemini blocked is an empty success, and billed": (
        f"{GEMINI}/test_stream.py::test_a_blocked_prompt_is_no_success",
        f"{GEMINI}/test_response.py::test_a_blocked_prompt_bills_what_was_reported_and_nothing_else",
        f"{GEMINI}/test_stream.py::test_recitation_in_the_middle_of_an_answer",
    ),
    "events come out of order, twice, or after the end": (
        f"{ANTHROPIC}/test_stream.py::test_a_second_beginning_changes_nothing",
        f"{ANTHROPIC}/test_stream.py::test_nothing_counts_behind_the_end",
        f"{CHAT}/test_stream.py::test_only_one_finish_reason_is_sent_however_many_come",
    ),
    "an image has the wrong type, or is fetched from within": (
        f"{ANTHROPIC}/test_messages.py::test_the_type_of_an_image_is_read_from_its_bytes",
        "test_media.py::test_private_literals_are_not_connected_to",
        "test_media.py::test_a_redirect_is_not_followed",
        "test_media.py::test_too_large_without_saying_so_is_broken_off",
    ),
    "a stream is cut where its reader does not expect it": (
        f"{CUTS}::test_byte_by_byte_and_with_any_line_end_the_client_gets_the_same",
        f"{ANTHROPIC}/test_stream.py::test_byte_by_byte",
        f"{GEMINI}/test_stream.py::test_random_splits",
        "test_sse.py::test_an_event_split_inside_a_character",
    ),
    "who hangs up pays nothing, or an explicit zero is estimated": (
        "../flows/test_vendor_trouble.py::test_the_rest_is_read_and_the_reported_usage_charged",
        "../flows/test_vendor_trouble.py::test_usage_that_died_with_the_connection_is_estimated",
        f"{ANTHROPIC}/test_usage.py::test_an_explicit_zero_is_a_fact",
        "../billing/test_writer.py::test_a_commit_whose_answer_was_lost_charges_once",
    ),
    "the tool that stands for a schema shows": (
        f"{ANTHROPIC}/test_response.py::test_the_json_tool_becomes_the_content",
        f"{ANTHROPIC}/test_stream.py::test_the_json_tool_never_shows",
    ),
    "an instruction in the middle is hoisted, and the cache lost": (
        f"{ANTHROPIC}/test_messages.py::test_late_instructions_are_not_hoisted",
        f"{GEMINI}/test_contents.py::test_instructions_in_the_middle_stay_there",
    ),
    "a request of instructions only is refused": (
        f"{ANTHROPIC}/test_messages.py::test_a_request_of_instructions_only_gets_a_user",
        f"{GEMINI}/test_contents.py::test_a_request_of_instructions_only_gets_a_user",
    ),
    "arguments begin with an empty object that is none": (
        f"{ANTHROPIC}/test_stream.py::test_empty_input_at_the_start_is_no_prefix_of_the_arguments",
    ),
    "empty tool_calls, or content that is not there, break clients": (
        f"{CHAT}/test_response.py::test_empty_tool_calls_are_left_out",
        f"{CHAT}/test_response.py::test_the_content_key_is_there_beside_tool_calls_too",
    ),
    "a retired model is answered by another, at its old price": (
        "test_substitution.py::test_another_model_under_the_old_name_is_found_out",
        "../flows/test_sdk_refusals.py::test_a_retired_model_names_its_successor",
    ),
    "arguments are written anew, with other numbers and letters": (
        f"{ANTHROPIC}/test_response.py::test_numbers_of_arguments_stay_as_the_model_wrote_them",
        f"{GEMINI}/test_response.py::test_arguments_keep_their_numbers_and_letters",
        "vendors/shared/test_exact_json.py::test_what_was_written_is_written_again",
    ),
    "the relay tries again as often as the SDK does": (
        "../flows/test_vendor_trouble.py::test_one_question_is_one_try_at_the_vendor",
    ),
    "headers of the vendor's body go with ours": (
        "../flows/test_vendor_trouble.py::test_the_bodys_length_and_coding_are_our_own",
    ),
}
TESTS = [test for tests in KNOWN.values() for test in tests]


def test_all_thirty_four_are_here() -> None:
    assert len(KNOWN) == 34


@pytest.mark.parametrize("test", TESTS)
def test_the_test_is_there(test: str) -> None:
    path, _, name = test.partition("::")
    assert name in _tests_in((HERE / path).resolve())


@cache
def _tests_in(path: Path) -> frozenset[str]:
    nodes = ast.walk(ast.parse(path.read_text()))
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
