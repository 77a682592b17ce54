"""The catalogue Farebox starts with: complete, consistent, and right where a bill depends on it."""

from datetime import date

import pytest

from relay.catalog.reader import DEFAULT_CATALOG, LifecycleState, ModelSpec, RateCard, read_catalog

CUSTOMER_MODELS = {
    *("gpt-4o", "gpt-4o-mini", "gpt-4-turbo", "o1", "o3-mini"),
    *("claude-opus-4-5", "claude-sonnet-4-5", "claude-haiku-3-5"),
    *("gemini-2.5-pro", "gemini-2.0-flash"),
    *("deepseek-chat", "deepseek-reasoner"),
    *("grok-3", "grok-2"),
    *("qwen-max", "qwen-plus", "qwen-turbo"),
    *("llama-3.3-70b-instruct", "llama-3.1-8b-instruct"),
}
SUCCESSORS = {
    *("gpt-6-luna", "gpt-6-sol", "gpt-6.1-sol", "gpt-6.1-terra", "gpt-5.6-sol"),
    *("claude-haiku-4-5", "claude-haiku-5-5", "claude-sonnet-4-6", "claude-sonnet-5"),
    *("claude-sonnet-5-5", "claude-opus-5-5"),
    *("gemini-3.8-flash", "gemini-3.5-flash", "gemini-3.5-flash-lite", "gemini-3.1-flash-lite"),
    "gemini-3.1-pro-preview",
    *("deepseek-flash", "deepseek-v4-pro", "grok-4.3", "grok-4.7"),
    *("qwen3.8-max", "qwen4-max", "qwen3.8-flash"),
}
# Where each vendor writes its credential and its address in the environment.
VARIABLES = {
    "openai-main": ("openai", "OPENAI"),
    "anthropic-main": ("anthropic", "ANTHROPIC"),
    "gemini-main": ("gemini", "GEMINI"),
    "deepseek-main": ("deepseek", "DEEPSEEK"),
    "xai-main": ("xai", "XAI"),
    "qwen-main": ("qwen", "DASHSCOPE"),
    "llama-main": ("llama", "LLAMA"),
}

CATALOG = read_catalog(DEFAULT_CATALOG.read_text(encoding="utf-8"), {})
MODELS = {model.id: model for model in CATALOG.models}


def card_of(model: str) -> RateCard:
    card = MODELS[model].price
    assert card is not None
    return card


def test_it_holds_the_customers_models_their_successors_and_the_demo() -> None:
    assert len(CUSTOMER_MODELS) == 19
    assert set(MODELS) == CUSTOMER_MODELS | SUCCESSORS | {"farebox-demo"}


@pytest.mark.parametrize("model", CATALOG.models, ids=lambda model: model.id)
class TestEveryModel:
    def test_sells_at_the_vendors_price(self, model: ModelSpec) -> None:
        assert model.price is not None
        assert model.price == model.cost

    def test_names_a_successor_that_lives(self, model: ModelSpec) -> None:
        if model.lifecycle.state is not LifecycleState.ACTIVE:
            assert model.lifecycle.successor is not None
        if model.lifecycle.successor is not None:
            assert MODELS[model.lifecycle.successor].lifecycle.state is LifecycleState.ACTIVE

    def test_charges_a_token_of_input_or_output(self, model: ModelSpec) -> None:
        assert model.price is not None
        for rates in (model.price.rates, *(band.rates for band in model.price.bands)):
            assert rates["input"] > 0
            assert rates["output"] > rates["input"]

    def test_reads_a_cache_cheaper_than_fresh_input(self, model: ModelSpec) -> None:
        assert model.price is not None
        for rates in (model.price.rates, *(band.rates for band in model.price.bands)):
            assert rates.get("cache_read", 0) < rates["input"]

    def test_names_the_same_classes_in_every_band(self, model: ModelSpec) -> None:
        assert model.price is not None
        for band in model.price.bands:
            assert band.rates.keys() == model.price.rates.keys()

    def test_has_a_window_longer_than_its_bands(self, model: ModelSpec) -> None:
        assert model.price is not None
        for band in model.price.bands:
            assert band.over_prompt_tokens < model.context_window


def test_only_the_demo_works_without_credentials() -> None:
    with_credential = {channel.name for channel in CATALOG.channels if channel.api_keys}
    assert with_credential == {"farebox-demo"}


@pytest.mark.parametrize("name", VARIABLES)
def test_a_channel_takes_credential_and_address_from_its_variables(name: str) -> None:
    vendor, prefix = VARIABLES[name]
    environ = {f"{prefix}_API_KEY": "key", f"{prefix}_BASE_URL": "http://127.0.0.1:9/x"}
    catalog = read_catalog(DEFAULT_CATALOG.read_text(encoding="utf-8"), environ)
    channel = next(channel for channel in catalog.channels if channel.name == name)
    assert channel.vendor == vendor
    assert channel.api_keys == ("key",)
    assert channel.base_url == "http://127.0.0.1:9/x"


def test_the_demo_vendor_can_listen_elsewhere() -> None:
    environ = {"DEMO_VENDOR_BASE_URL": "http://127.0.0.1:5555/v1"}
    catalog = read_catalog(DEFAULT_CATALOG.read_text(encoding="utf-8"), environ)
    channel = next(channel for channel in catalog.channels if channel.name == "farebox-demo")
    assert channel.vendor == "compatible"
    assert channel.api_keys == ("demo",)
    assert channel.base_url == "http://127.0.0.1:5555/v1"


@pytest.mark.parametrize(
    ("model", "upstream"),
    [
        ("gpt-4o", "gpt-4o-2024-08-06"),
        ("claude-opus-4-5", "claude-opus-4-5-20251101"),
        ("claude-haiku-3-5", "claude-3-5-haiku-20241022"),
        ("grok-2", "grok-2-1212"),
        ("llama-3.3-70b-instruct", "meta-llama/Llama-3.3-70B-Instruct"),
        ("llama-3.1-8b-instruct", "meta-llama/Meta-Llama-3.1-8B-Instruct"),
    ],
)
def test_the_vendors_own_name_is_asked_for(model: str, upstream: str) -> None:
    assert [route.upstream_model for route in MODELS[model].routes] == [upstream]


@pytest.mark.parametrize(
    ("model", "shutdown"),
    [
        ("gpt-4o", date(2027, 1, 14)),
        ("gpt-4o-mini", date(2027, 1, 14)),
        ("claude-sonnet-4-5", date(2026, 11, 30)),
        ("gemini-2.5-pro", date(2026, 12, 1)),
    ],
)
def test_what_ends_soon_says_when(model: str, shutdown: date) -> None:
    lifecycle = MODELS[model].lifecycle
    assert (lifecycle.state, lifecycle.shutdown) == (LifecycleState.DEPRECATED, shutdown)


def test_what_the_vendors_retired_is_marked() -> None:
    retired = {m.id for m in CATALOG.models if m.lifecycle.state is LifecycleState.RETIRED}
    assert retired == {
        *("gpt-4-turbo", "o1", "o3-mini", "claude-haiku-3-5", "gemini-2.0-flash"),
        *("deepseek-chat", "deepseek-reasoner", "grok-3", "grok-2", "qwen-max", "qwen-turbo"),
    }


def test_reasoning_models_of_openai_get_their_own_limit_field() -> None:
    renamed = {m.id for m in CATALOG.models if m.max_tokens_field == "max_completion_tokens"}
    assert renamed == {
        *("o1", "o3-mini", "gpt-6-luna", "gpt-6-sol"),
        *("gpt-6.1-sol", "gpt-6.1-terra", "gpt-5.6-sol"),
    }


# Worked out by hand from the vendors' list prices; nano-units per 1,000,000 tokens.
@pytest.mark.parametrize(
    ("model", "rate_class", "nano"),
    [
        ("gpt-4o-mini", "cache_read", 75_000_000),
        ("gpt-4o", "output", 10_000_000_000),
        ("gpt-6-luna", "cache_write_5m", 125_000_000),
        ("claude-sonnet-4-5", "cache_write_1h", 6_000_000_000),
        ("claude-haiku-5-5", "cache_read", 10_000_000),
        ("claude-opus-5-5", "cache_read", 200_000_000),
        ("gemini-2.0-flash", "audio_input", 700_000_000),
        ("gemini-3.8-flash", "cache_read", 75_000_000),
        ("deepseek-flash", "cache_read", 6_000_000),
        ("deepseek-chat", "cache_read", 28_000_000),
        ("grok-4.3", "input", 1_250_000_000),
        ("qwen-plus", "reasoning", 4_000_000_000),
        ("qwen3.8-flash", "cache_read", 16_000_000),
        ("llama-3.1-8b-instruct", "input", 30_000_000),
        ("farebox-demo", "output", 400_000_000),
    ],
)
def test_a_price_is_the_vendors_to_the_nano_unit(model: str, rate_class: str, nano: int) -> None:
    assert card_of(model).rates[rate_class] == nano


@pytest.mark.parametrize(
    ("model", "threshold", "milli_usd"),
    [
        ("gemini-2.5-pro", 200_000, {"input": 2_500, "cache_read": 250, "output": 15_000}),
        ("grok-4.7", 199_999, {"input": 4_000, "cache_read": 1_000, "output": 12_000}),
    ],
)
def test_a_long_prompt_costs_what_the_vendor_asks(
    model: str, threshold: int, milli_usd: dict[str, int]
) -> None:
    (band,) = card_of(model).bands
    assert band.over_prompt_tokens == threshold
    assert band.rates == {name: milli * 10**6 for name, milli in milli_usd.items()}


@pytest.mark.parametrize("model", ["deepseek-flash", "deepseek-v4-pro"])
def test_deepseek_costs_half_outside_its_peak_hours(model: str) -> None:
    card = card_of(model)
    for window in card.windows:
        assert {name: 2 * rate for name, rate in window.rates.items()} == card.rates


@pytest.mark.parametrize("model", ["deepseek-flash", "deepseek-v4-pro"])
def test_deepseeks_peak_hours_are_seven_on_five_days(model: str) -> None:
    cheap = {
        (day, minute)
        for window in card_of(model).windows
        for day in window.days
        for minute in range(window.from_minute, window.to_minute)
    }
    weekdays = ("mon", "tue", "wed", "thu", "fri")
    dear_hours = (1, 2, 3, 6, 7, 8, 9)
    dear = {(day, hour * 60 + m) for day in weekdays for hour in dear_hours for m in range(60)}
    assert not cheap & dear
    assert len(cheap) + len(dear) == 7 * 1440
