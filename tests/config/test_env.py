"""The environment, typed: defaults, and mistakes named by their variable."""

from pathlib import Path

import pytest

from config.env import ROOT, EnvironmentInvalid, child_environment, read_env


def test_an_empty_environment_is_an_embedded_installation() -> None:
    env = read_env({})
    assert (env.home, env.host, env.port) == (ROOT / "var", "127.0.0.1", 8000)
    assert (env.database_url, env.redis_url, env.catalog, env.public_url) == (None, None, None, None)
    assert env.field_keys == env.allowed_hosts == ()
    assert not env.debug


@pytest.mark.parametrize(
    "name", ["DATABASE_URL", "REDIS_URL", "FAREBOX_CATALOG", "FAREBOX_HOME", "HOST", "SECRET_KEY"]
)
def test_an_empty_variable_is_one_that_is_not_set(name: str) -> None:
    assert read_env({name: ""}) == read_env({})


@pytest.mark.parametrize("port", ["", "0", "65536", "-1", "http", "80.5"])
def test_a_port_that_is_none_is_refused_by_name(port: str) -> None:
    with pytest.raises(EnvironmentInvalid, match="PORT"):
        read_env({"PORT": port})


@pytest.mark.parametrize("months", ["0", "1", "-3", "for ever", "2.5"])
def test_a_retention_that_is_none_is_refused_by_name(months: str) -> None:
    with pytest.raises(EnvironmentInvalid, match="USAGE_RETENTION_MONTHS"):
        read_env({"USAGE_RETENTION_MONTHS": months})


def test_usage_is_kept_for_ever_unless_a_number_of_months_is_set() -> None:
    assert read_env({}).usage_retention_months is None
    assert read_env({"USAGE_RETENTION_MONTHS": "24"}).usage_retention_months == 24


@pytest.mark.parametrize("port", ["1", "65535"])
def test_every_port_there_is_may_be_named(port: str) -> None:
    assert read_env({"PORT": port}).port == int(port)


def test_paths_are_absolute_whatever_folder_a_command_starts_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    env = read_env({"FAREBOX_HOME": "home", "FAREBOX_CATALOG": "~/catalog.toml"})
    assert env.home == tmp_path / "home"
    assert env.catalog == Path.home() / "catalog.toml"


def test_lists_are_split_at_commas() -> None:
    env = read_env({"FIELD_KEYS": "k2:b==,k1:a==", "ALLOWED_HOSTS": "a.example,b.example"})
    assert env.field_keys == ("k2:b==", "k1:a==")
    assert env.allowed_hosts == ("a.example", "b.example")


@pytest.mark.parametrize(("written", "meant"), [("1", True), ("true", True), ("0", False), ("no", False)])
def test_debug_is_a_yes_or_a_no(written: str, meant: bool) -> None:
    assert read_env({"DEBUG": written}).debug is meant


def test_children_find_the_source_and_what_they_are_given_besides() -> None:
    environment = child_environment(EXTRA="1")
    assert environment["EXTRA"] == "1"
    assert environment["PYTHONPATH"].split(":")[:2] == [str(ROOT), str(ROOT / "platform")]


def test_the_limit_for_one_operator_is_written_in_dollars() -> None:
    assert read_env({}).second_operator_over_nano == 100 * 10**9
    assert read_env({"SECOND_OPERATOR_OVER": "0"}).second_operator_over_nano == 0
    assert read_env({"SECOND_OPERATOR_OVER": "0.50"}).second_operator_over_nano == 500_000_000
    for wrong in ("much", "-1", "0.0000000001"):
        with pytest.raises(EnvironmentInvalid, match="SECOND_OPERATOR_OVER"):
            read_env({"SECOND_OPERATOR_OVER": wrong})


def test_a_mail_server_is_one_address() -> None:
    assert read_env({}).email is None
    email = read_env({"EMAIL_URL": "smtp+tls://u:p%40ss@mail.example.com:587"}).email
    assert email is not None
    assert (email["EMAIL_HOST"], email["EMAIL_PORT"], email["EMAIL_USE_TLS"]) == (
        "mail.example.com",
        587,
        True,
    )
    assert (email["EMAIL_HOST_USER"], email["EMAIL_HOST_PASSWORD"]) == ("u", "p@ss")


@pytest.mark.parametrize("wrong", ["mail.example.com", "http://u:secret@h", "smtp://", "consolemail://"])
def test_a_mail_server_that_is_none_is_refused_without_showing_its_password(wrong: str) -> None:
    with pytest.raises(EnvironmentInvalid, match="EMAIL_URL must be like") as refusal:
        read_env({"EMAIL_URL": wrong})
    assert "secret" not in str(refusal.value)
