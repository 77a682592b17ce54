import pytest

from relay.substitution import is_substituted


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("gpt-4o", "gpt-4o-2024-08-06"),
        ("gpt-4o-2024-08-06", "gpt-4o-2024-08-06"),
        ("claude-opus-4-5", "claude-opus-4-5-20251101"),
        ("claude-3-5-haiku-latest", "claude-3-5-haiku-20241022"),
        ("gemini-2.5-pro", "gemini-2.5-pro-preview-05-06"),
        ("gemini-2.0-flash", "models/gemini-2.0-flash-001"),
        ("meta-llama/Llama-3.3-70B-Instruct", "llama-3.3-70b-instruct"),
        ("grok-3", ""),
    ],
)
def test_a_snapshot_of_what_was_asked_for_is_the_same_model(asked: str, answered: str) -> None:
    assert not is_substituted(asked, answered)


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("gemini-2.5-pro", "gemini-3.8-flash"),
        ("grok-3", "grok-4.3"),
        ("gpt-4o", "gpt-4o-mini-2024-07-18"),
        ("claude-sonnet-4-5", "claude-sonnet-5-5"),
        ("o1", "o1-mini"),
    ],
)
def test_another_model_under_the_old_name_is_found_out(asked: str, answered: str) -> None:
    assert is_substituted(asked, answered)
