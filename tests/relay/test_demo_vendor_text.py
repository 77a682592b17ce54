from hypothesis import given
from hypothesis import strategies as st

from relay.demo_vendor_text import compose_choice, compose_reply, count_prompt_tokens, split_tokens


@given(st.text())
def test_the_tokens_of_a_text_are_the_text(text: str) -> None:
    assert "".join(split_tokens(text)) == text


def test_a_word_a_sign_and_a_chinese_character_are_a_token_each() -> None:
    assert split_tokens("It's 2 a.m., 你好!") == ["It's", " 2", " a", ".", "m", ".", ",", " 你", "好", "!"]


def test_a_long_word_is_several_tokens() -> None:
    assert split_tokens("x" * 25) == ["x" * 12, "x" * 12, "x"]


def test_a_prompt_costs_its_texts_its_messages_and_the_replys_start() -> None:
    assert count_prompt_tokens(["Be kind.", "你好"]) == 3 + (4 + 3) + (4 + 2)


def test_the_reply_says_what_it_is_and_quotes_the_question() -> None:
    reply = compose_reply("What is   the\ncapital of France?")
    assert "demo model" in reply
    assert "“What is the capital of France?”" in reply


def test_a_long_question_is_quoted_in_part() -> None:
    reply = compose_reply("word " * 1000)
    assert "word…”" in reply
    assert len(reply) < 600


def test_a_chinese_question_gets_a_chinese_reply() -> None:
    reply = compose_reply("介绍一下 deep learning 的基本原理。")
    assert "演示模型" in reply
    assert "“介绍一下 deep learning 的基本原理。”" in reply
    assert "Hello" not in reply


def test_a_question_with_braces_is_only_quoted() -> None:
    assert "“{said} {0}”" in compose_reply("{said} {0}")


def test_no_question_at_all_is_answered_too() -> None:
    assert "no text" in compose_reply("")


def test_a_limit_cuts_at_a_token() -> None:
    choice = compose_choice("Hi", limit=3)
    assert (choice.text, choice.finish_reason) == ("Hello! I", "length")


def test_a_limit_just_reached_is_no_cut() -> None:
    whole = compose_choice("Hi")
    assert compose_choice("Hi", limit=len(whole.tokens)) == whole
    assert whole.finish_reason == "stop"


def test_the_reply_ends_before_the_first_stop() -> None:
    choice = compose_choice("Hi", stops=["Farebox", " demo", "", "never"])
    assert (choice.text, choice.finish_reason) == ("Hello! I am ", "stop")


def test_choices_differ() -> None:
    assert len({compose_choice("Hi", index=index).text for index in range(4)}) == 4
