"""What the catalogue reader accepts, and what it says about everything else."""

from collections.abc import Mapping
from datetime import date

import pytest

from relay.catalog.reader import (
    BandSpec,
    Catalog,
    CatalogError,
    ChannelSpec,
    Lifecycle,
    LifecycleState,
    ModelSpec,
    RouteSpec,
    read_catalog,
)

CHANNEL = """
[[channel]]
name = "main"
vendor = "openai"
base_url = "https://vendor.example/v1"
"""
MODEL = """
[[model]]
id = "alpha"
routes = [{ channel = "main", upstream_model = "alpha-2026" }]
context_window = 1000
max_output_tokens = 100
"""
SECRET = "sk-live-0123456789"
NO_ENVIRON: Mapping[str, str] = {}


def channel_of(text: str, environ: Mapping[str, str] = NO_ENVIRON) -> ChannelSpec:
    (channel,) = read_catalog(text, environ).channels
    return channel


def model_of(text: str) -> ModelSpec:
    (model,) = read_catalog(text, NO_ENVIRON).models
    return model


def refusal_of(text: str, environ: Mapping[str, str] = NO_ENVIRON) -> CatalogError:
    with pytest.raises(CatalogError) as caught:
        read_catalog(text, environ)
    return caught.value


class TestWholeFile:
    def test_reads_every_key_of_the_documented_format(self) -> None:
        catalog = read_catalog(
            """
            [[channel]]
            name = "openai-main"
            vendor = "openai"
            base_url = "https://api.openai.com/v1"
            api_key_env = "OPENAI_API_KEY"
            priority = 10
            weight = 1
            timeout_first_token_s = 30
            max_concurrency = 500

            [[model]]
            id = "gpt-4o"
            owned_by = "OpenAI"
            routes = [{ channel = "openai-main", upstream_model = "gpt-4o-2024-08-06" }]
            context_window = 128000
            max_output_tokens = 16384
            capabilities = ["vision", "tools", "json_schema"]
            lifecycle = { state = "deprecated", shutdown = 2027-01-14, successor = "gpt-6-luna" }

            [model.price]
            input = "2.50"
            cache_read = "1.25"
            output = "10.00"
            [model.cost]
            input = "2.50"
            cache_read = "1.25"
            output = "10.00"
            [[model.price.band]]
            over_prompt_tokens = 200000
            input = "5.00"
            output = "15.00"
            """,
            {"OPENAI_API_KEY": SECRET},
        )
        assert catalog.channels == (
            ChannelSpec(
                name="openai-main",
                vendor="openai",
                base_url="https://api.openai.com/v1",
                api_keys=(SECRET,),
                priority=10,
                weight=1,
                timeout_first_token_s=30,
                max_concurrency=500,
            ),
        )
        (model,) = catalog.models
        assert model.id == "gpt-4o"
        assert model.owned_by == "OpenAI"
        assert model.routes == (RouteSpec("openai-main", "gpt-4o-2024-08-06"),)
        assert model.context_window == 128_000
        assert model.max_output_tokens == 16_384
        assert model.capabilities == ("vision", "tools", "json_schema")
        assert model.lifecycle == Lifecycle(LifecycleState.DEPRECATED, date(2027, 1, 14), "gpt-6-luna")
        assert model.price is not None
        assert model.cost is not None
        assert model.cost.rates["cache_read"] == 1_250_000_000
        assert model.price.bands == (BandSpec(200_000, {"input": 5_000_000_000, "output": 15_000_000_000}),)

    def test_an_empty_file_is_an_empty_catalogue(self) -> None:
        assert read_catalog("", NO_ENVIRON) == Catalog(channels=(), models=())

    def test_what_is_left_out_has_defaults(self) -> None:
        channel = channel_of(CHANNEL)
        assert (channel.priority, channel.weight) == (10, 1)
        assert (channel.timeout_first_token_s, channel.max_concurrency) == (30, 500)
        model = model_of(CHANNEL + MODEL)
        assert model.max_tokens_field == "max_tokens"
        assert model.capabilities == ()
        assert model.lifecycle == Lifecycle(LifecycleState.ACTIVE, None, None)
        assert model.price is None
        assert model.cost is None

    def test_broken_toml_is_refused_with_its_place(self) -> None:
        error = refusal_of('[[channel]]\nname = "main\n')
        assert error.code == "invalid_catalog"
        assert "line 2" in error.message

    def test_an_unknown_top_level_key_is_named(self) -> None:
        error = refusal_of(CHANNEL.replace("[[channel]]", "[[channels]]"))
        assert error.message == "the catalogue, channels: unknown key; expected one of channel, model"

    def test_a_table_where_a_list_belongs_is_refused(self) -> None:
        assert "list of tables" in refusal_of('[channel]\nname = "main"').message


class TestChannel:
    def test_a_trailing_slash_of_the_address_is_dropped(self) -> None:
        text = CHANNEL.replace("/v1", "/v1/")
        assert channel_of(text).base_url == "https://vendor.example/v1"

    def test_the_environment_replaces_the_address(self) -> None:
        text = CHANNEL + 'base_url_env = "VENDOR_URL"'
        channel = channel_of(text, {"VENDOR_URL": "http://127.0.0.1:9/v1"})
        assert channel.base_url == "http://127.0.0.1:9/v1"

    @pytest.mark.parametrize("environ", [{}, {"VENDOR_URL": ""}, {"VENDOR_URL": " "}])
    def test_an_unset_variable_leaves_the_address_of_the_file(self, environ: dict[str, str]) -> None:
        text = CHANNEL + 'base_url_env = "VENDOR_URL"'
        assert channel_of(text, environ).base_url == "https://vendor.example/v1"

    @pytest.mark.parametrize(
        "url",
        [
            "vendor.example/v1",
            "ftp://vendor.example",
            "https://",
            "https://vendor.example:port",
            "https://vendor.example/v1?region=eu",
            "https://vendor.example/v1#top",
            "https://vendor.example/v 1",
            f"https://user:{SECRET}@vendor.example/v1",
            "https://vendor.example/" + 480 * "v",
        ],
    )
    def test_an_address_that_cannot_be_called_is_refused(self, url: str) -> None:
        error = refusal_of(CHANNEL.replace("https://vendor.example/v1", url))
        assert error.message.startswith('channel "main", base_url: expected an http(s) address')
        assert SECRET not in error.message

    def test_a_bad_address_from_the_environment_blames_the_variable(self) -> None:
        text = CHANNEL + 'base_url_env = "VENDOR_URL"'
        assert refusal_of(text, {"VENDOR_URL": "nowhere"}).param == "base_url_env"

    def test_one_credential_can_stand_in_the_file(self) -> None:
        assert channel_of(CHANNEL + f'api_key = "{SECRET}"').api_keys == (SECRET,)

    def test_several_credentials_keep_their_order(self) -> None:
        assert channel_of(CHANNEL + 'api_keys = ["b", "a"]').api_keys == ("b", "a")

    def test_a_credential_can_come_from_the_environment(self) -> None:
        text = CHANNEL + 'api_key_env = "VENDOR_KEY"'
        assert channel_of(text, {"VENDOR_KEY": f" {SECRET}\n"}).api_keys == (SECRET,)

    @pytest.mark.parametrize("environ", [{}, {"VENDOR_KEY": ""}])
    def test_without_its_variable_a_channel_has_no_credential(self, environ: dict[str, str]) -> None:
        assert channel_of(CHANNEL + 'api_key_env = "VENDOR_KEY"', environ).api_keys == ()

    def test_two_ways_of_giving_a_credential_are_refused(self) -> None:
        error = refusal_of(CHANNEL + f'api_key = "{SECRET}"\napi_key_env = "VENDOR_KEY"')
        assert error.param == "api_key_env"
        assert "only one of" in error.message

    @pytest.mark.parametrize(
        "line",
        [
            f'api_key = "{SECRET} x"',
            f'api_key = "{SECRET}\\n"',
            f'api_key = ["{SECRET}"]',
            f'api_keys = "{SECRET}"',
            f'api_keys = ["{SECRET}", "{SECRET}"]',
            f'api_keys = ["{SECRET}", 1]',
            f'api_key_env = "{SECRET}"',
            f"api_key = {SECRET}",
        ],
    )
    def test_a_refusal_never_repeats_a_credential(self, line: str) -> None:
        assert SECRET not in str(refusal_of(CHANNEL + line))

    def test_a_credential_of_the_environment_is_checked_and_kept_out_of_the_refusal(self) -> None:
        text = CHANNEL + 'api_key_env = "VENDOR_KEY"'
        error = refusal_of(text, {"VENDOR_KEY": f"{SECRET}\r\nx: y"})
        assert error.param == "api_key_env"
        assert SECRET not in str(error)

    def test_printing_a_channel_hides_its_credentials(self) -> None:
        catalog = read_catalog(CHANNEL + f'api_key = "{SECRET}"', NO_ENVIRON)
        assert SECRET not in repr(catalog)
        assert "main" in repr(catalog)

    @pytest.mark.parametrize(
        ("old", "new", "key"),
        [
            ('name = "main"', "", "name"),
            ('name = "main"', 'name = ""', "name"),
            ('name = "main"', 'name = "two words"', "name"),
            ('vendor = "openai"', "", "vendor"),
            ('vendor = "openai"', 'vendor = "acme"', "vendor"),
            ('base_url = "https://vendor.example/v1"', "", "base_url"),
            ('base_url = "https://vendor.example/v1"', "base_url = 1", "base_url"),
        ],
    )
    def test_a_wrong_or_missing_key_is_named(self, old: str, new: str, key: str) -> None:
        assert refusal_of(CHANNEL.replace(old, new)).param == key

    @pytest.mark.parametrize(
        "line",
        [
            "priority = -1",
            'priority = "10"',
            "priority = true",
            "priority = 1.5",
            "weight = 0",
            "max_concurrency = 0",
            "max_concurrency = 2147483648",
        ],
    )
    def test_a_number_out_of_its_range_is_refused(self, line: str) -> None:
        error = refusal_of(CHANNEL + line)
        assert error.param == line.split(maxsplit=1)[0]
        assert "a whole number of at least" in error.message

    def test_a_deadline_may_have_a_fraction(self) -> None:
        assert channel_of(CHANNEL + "timeout_first_token_s = 0.5").timeout_first_token_s == 0.5

    @pytest.mark.parametrize("value", ["0", "-1.5", "inf", "nan", "true", '"30"', "86401"])
    def test_a_deadline_that_is_no_number_of_seconds_is_refused(self, value: str) -> None:
        error = refusal_of(CHANNEL + f"timeout_first_token_s = {value}")
        assert error.message.startswith('channel "main", timeout_first_token_s: expected seconds')

    def test_an_unknown_vendor_is_answered_with_the_known_ones(self) -> None:
        error = refusal_of(CHANNEL.replace('"openai"', '"acme"'))
        assert "one of openai, azure, anthropic, gemini" in error.message

    def test_an_unknown_key_is_refused(self) -> None:
        error = refusal_of(CHANNEL + "timeout = 30")
        assert error.message.startswith('channel "main", timeout: unknown key; expected one of ')

    def test_a_nameless_channel_is_counted(self) -> None:
        second = CHANNEL.replace('name = "main"', "")
        assert refusal_of(CHANNEL + second).message.startswith("channel number 2, name: ")

    def test_the_same_name_twice_is_refused(self) -> None:
        assert refusal_of(CHANNEL + CHANNEL).message.startswith('channel "main" is there twice')


class TestModel:
    def test_a_model_can_be_answered_by_several_channels(self) -> None:
        other = CHANNEL.replace('"main"', '"spare"')
        routes = 'routes = [{ channel = "main", upstream_model = "a" }, '
        routes += '{ channel = "spare", upstream_model = "vendor/a:1" }]'
        text = MODEL.replace('routes = [{ channel = "main", upstream_model = "alpha-2026" }]', routes)
        (model,) = read_catalog(CHANNEL + other + text, NO_ENVIRON).models
        assert model.routes == (RouteSpec("main", "a"), RouteSpec("spare", "vendor/a:1"))

    def test_the_name_of_the_output_limit_is_read(self) -> None:
        text = CHANNEL + MODEL + 'max_tokens_field = "max_completion_tokens"'
        assert model_of(text).max_tokens_field == "max_completion_tokens"

    def test_a_lifecycle_needs_only_its_state(self) -> None:
        text = CHANNEL + MODEL + 'lifecycle = { state = "retired" }'
        assert model_of(text).lifecycle == Lifecycle(LifecycleState.RETIRED, None, None)

    @pytest.mark.parametrize(
        ("old", "new", "key"),
        [
            ('id = "alpha"', "", "id"),
            ('id = "alpha"', "id = 4", "id"),
            ('id = "alpha"', 'id = "with space"', "id"),
            ("context_window = 1000", "", "context_window"),
            ("context_window = 1000", 'context_window = "1000"', "context_window"),
            ("context_window = 1000", "context_window = 0", "context_window"),
            ("max_output_tokens = 100", "", "max_output_tokens"),
            ("max_output_tokens = 100", "max_output_tokens = 0", "max_output_tokens"),
            ("max_output_tokens = 100", "max_output_tokens = 1001", "max_output_tokens"),
            ('channel = "main"', 'channel = "other"', "channel"),
            ('channel = "main"', "channel = 1", "channel"),
            ('channel = "main", ', "", "channel"),
            ('upstream_model = "alpha-2026"', 'upstream_model = ""', "upstream_model"),
            ('upstream_model = "alpha-2026"', 'upstream_model = "a b"', "upstream_model"),
            (', upstream_model = "alpha-2026"', "", "upstream_model"),
            ('upstream_model = "alpha-2026"', 'upstream_model = "a", weight = 2', "weight"),
        ],
    )
    def test_a_wrong_or_missing_key_is_named(self, old: str, new: str, key: str) -> None:
        text = MODEL.replace(old, new)
        assert text != MODEL
        assert refusal_of(CHANNEL + text).param == key

    @pytest.mark.parametrize(
        "line",
        [
            "owned_by = 1",
            f'owned_by = "{61 * "x"}"',
            'max_tokens_field = "maxOutputTokens"',
            'capabilities = "vision"',
            'capabilities = ["Vision"]',
            'capabilities = ["vision", "vision"]',
            "capabilities = [1]",
            'lifecycle = "retired"',
            'price = "2.50"',
            'cost = [{ input = "1", output = "2" }]',
            "retail = {}",
        ],
    )
    def test_a_value_of_the_wrong_kind_is_refused(self, line: str) -> None:
        error = refusal_of(CHANNEL + MODEL + line)
        assert error.param == line.split(maxsplit=1)[0]
        assert error.message.startswith('model "alpha", ')

    @pytest.mark.parametrize(
        ("lifecycle", "key"),
        [
            ("", "state"),
            ('state = "dead"', "state"),
            ('state = "retired", shutdown = "2027-01-14"', "shutdown"),
            ('state = "retired", shutdown = 2027-01-14T00:00:00Z', "shutdown"),
            ('state = "retired", successor = 5', "successor"),
            ('state = "retired", successor = "alpha"', "successor"),
            ('state = "retired", sucessor = "beta"', "sucessor"),
        ],
    )
    def test_a_wrong_lifecycle_is_refused(self, lifecycle: str, key: str) -> None:
        error = refusal_of(CHANNEL + MODEL + f"lifecycle = {{ {lifecycle} }}")
        assert error.param == key
        assert error.message.startswith('model "alpha", lifecycle, ')

    @pytest.mark.parametrize("routes", ["", "routes = []"])
    def test_a_model_without_routes_is_refused(self, routes: str) -> None:
        text = MODEL.replace('routes = [{ channel = "main", upstream_model = "alpha-2026" }]', routes)
        assert "at least one" in refusal_of(CHANNEL + text).message

    def test_the_same_route_twice_is_refused(self) -> None:
        route = '{ channel = "main", upstream_model = "alpha-2026" }'
        text = MODEL.replace(route, f"{route}, {route}")
        assert refusal_of(CHANNEL + text).param == "routes"

    def test_a_route_of_the_second_model_is_found(self) -> None:
        second = MODEL.replace('"alpha"', '"beta"').replace('"main"', '"lost"')
        message = refusal_of(CHANNEL + MODEL + second).message
        assert message.startswith('model "beta", routes number 1, channel: ')

    def test_the_same_id_twice_is_refused(self) -> None:
        assert refusal_of(CHANNEL + MODEL * 2).message.startswith('model "alpha" is there twice')
