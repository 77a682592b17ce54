"""What must never reach a log does not, whatever field it hides in."""

import io
import json
import logging

import pytest
import structlog

from common.redaction import HIDDEN, redact_event, redact_text
from config.logging import configure_logging

SECRETS = [
    "sk-" + "aB3" * 16,
    "sk-ant-api03-abcdefgh",
    "sk_live_51HabcdefGHIJK",
    "rk_test_51HabcdefGHIJK",
    "whsec_0123456789abcdef",
    "xai-0123456789abcdef",
    "AIzaSyA0123456789abcdef",
    "Bearer some.signed-token",
    "bearer some.signed-token",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_credentials_are_known_by_their_look(secret: str) -> None:
    assert redact_text(f"the vendor said: {secret}; good bye").startswith(f"the vendor said: {HIDDEN}")
    assert secret not in redact_text(f'{{"key":"{secret}"}}')


def test_the_password_of_an_address_is_hidden_and_its_host_is_not() -> None:
    said = redact_text("cannot reach postgresql://farebox:hunter2@db.example:5432/farebox")
    assert said == f"cannot reach postgresql://{HIDDEN}@db.example:5432/farebox"


@pytest.mark.parametrize("text", ["task-1234567890", "https://a.example/b:c", "desk_organizer", "asked sk-1"])
def test_ordinary_words_stay(text: str) -> None:
    assert redact_text(text) == text


@pytest.mark.parametrize(
    "name", ["Authorization", "api_key", "x-api-key", "password1", "csrf_token", "KEY_PEPPER"]
)
def test_fields_are_known_by_their_name(name: str) -> None:
    assert redact_event(None, "info", {name: 12345}) == {name: HIDDEN}


def test_ids_and_token_counts_are_no_secrets() -> None:
    event = {"api_key_id": 7, "input_tokens": 12, "key": "head"}
    assert redact_event(None, "info", dict(event)) == event


def test_what_is_inside_of_a_field_is_looked_at_too() -> None:
    event = {"record": {"headers": [{"authorization": "x"}, ("a", SECRETS[0])], "model": "m"}}
    assert redact_event(None, "info", event) == {
        "record": {"headers": [{"authorization": HIDDEN}, ["a", HIDDEN]], "model": "m"}
    }


@pytest.mark.parametrize("pretty", [True, False])
def test_no_line_of_the_log_holds_a_secret(pretty: bool) -> None:
    options = configure_logging(pretty=pretty)["formatters"]["lines"]
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=options["processors"], foreign_pre_chain=options["foreign_pre_chain"]
        )
    )
    error = ValueError(f"refused {SECRETS[0]}")
    handler.handle(
        logging.LogRecord(
            "foreign", 40, "", 1, "with %s and %s", (SECRETS[1], "words"), (ValueError, error, None)
        )
    )
    line = handler.stream.getvalue()
    assert "ValueError" in line
    assert "words" in line
    assert not any(secret in line for secret in SECRETS[:2])
    if not pretty:
        assert json.loads(line)["event"] == f"with {HIDDEN} and words"
