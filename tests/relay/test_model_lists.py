"""Vendors' lists of models, in the shapes they come in, against our routes."""

from datetime import date

import pytest

from relay.errors import UpstreamFailed
from relay.model_lists import Finding, ListedModel, RoutedModel, Standing, compare, read_model_list

OPENAI = b"""{"object":"list","data":[
    {"id":"gpt-4o","object":"model","created":1,"owned_by":"openai","shutdown_date":"2027-01-14"},
    {"id":"gpt-6-luna","object":"model","shutdown_date":null}, "odd", {"no":"id"}]}"""
ANTHROPIC = b"""{"data":[
    {"id":"claude-old","lifecycle":"retired"},
    {"id":"claude-sonnet-4-5-20250929","lifecycle":"deprecated","retires_at":"2026-11-30T00:00:00Z"}],
    "has_more":false}"""
GEMINI = b'{"models":[{"name":"models/gemini-3.8-flash","inputTokenLimit":1}]}'


def routed(upstream_model: str, shutdown_on: date | None = None) -> RoutedModel:
    return RoutedModel("ours", upstream_model, shutdown_on)


def kinds(findings: list[Finding]) -> list[str]:
    return [finding.kind for finding in findings]


def test_every_shape_of_list_is_read() -> None:
    assert read_model_list(OPENAI) == {
        "gpt-4o": ListedModel("gpt-4o", Standing.ACTIVE, date(2027, 1, 14)),
        "gpt-6-luna": ListedModel("gpt-6-luna"),
    }
    assert read_model_list(ANTHROPIC)["claude-sonnet-4-5-20250929"] == ListedModel(
        "claude-sonnet-4-5-20250929", Standing.DEPRECATED, date(2026, 11, 30)
    )
    assert list(read_model_list(GEMINI)) == ["gemini-3.8-flash"]


@pytest.mark.parametrize("payload", [b"<html>", b"[]", b'{"data":{}}', b'{"error":{}}'])
def test_what_is_no_list_is_an_error(payload: bytes) -> None:
    with pytest.raises(UpstreamFailed):
        read_model_list(payload)


def test_a_model_that_vanished_is_urgent() -> None:
    [finding] = compare([routed("gpt-3")], read_model_list(OPENAI))
    assert (finding.kind, finding.is_urgent) == ("model_gone", True)


def test_a_retired_model_is_gone_though_it_is_listed() -> None:
    assert kinds(compare([routed("claude-old")], read_model_list(ANTHROPIC))) == ["model_gone"]


def test_a_date_we_do_not_publish_is_told() -> None:
    listed = read_model_list(OPENAI)
    assert kinds(compare([routed("gpt-4o")], listed)) == ["model_shutdown"]
    assert kinds(compare([routed("gpt-4o", date(2026, 1, 1))], listed)) == ["model_shutdown"]
    assert compare([routed("gpt-4o", date(2027, 1, 14))], listed) == []


def test_an_empty_list_retires_nothing() -> None:
    assert compare([routed("gpt-4o")], read_model_list(b'{"data":[]}')) == []
