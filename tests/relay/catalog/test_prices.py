"""Rate cards: exact amounts, bands and windows, and what is refused."""

import pytest

from relay.catalog.reader import BandSpec, CatalogError, RateCard, WindowSpec, read_catalog
from relay.catalog.specs import TierSpec

MODEL = """
[[channel]]
name = "main"
vendor = "openai"
base_url = "https://vendor.example/v1"

[[model]]
id = "alpha"
routes = [{ channel = "main", upstream_model = "alpha-2026" }]
context_window = 1000
max_output_tokens = 100
"""
PRICE = '[model.price]\ninput = "1"\noutput = "2"\n'
WINDOW = """
[[model.price.window]]
days = ["tue", "mon"]
utc_from = "16:30"
utc_to = "24:00"
input = "0.5"
output = "1"
"""


def card_of(text: str) -> RateCard:
    (model,) = read_catalog(MODEL + text, {}).models
    assert model.price is not None
    return model.price


def refusal_of(text: str) -> CatalogError:
    with pytest.raises(CatalogError) as caught:
        read_catalog(MODEL + text, {})
    return caught.value


class TestPrice:
    @pytest.mark.parametrize(
        ("written", "nano"),
        [
            ("0", 0),
            ("0.0375", 37_500_000),
            ("0.000000001", 1),
            ("2.50", 2_500_000_000),
            ("15", 15_000_000_000),
            ("999999999.999999999", 999_999_999_999_999_999),
        ],
    )
    def test_amounts_are_exact_to_the_nano_unit(self, written: str, nano: int) -> None:
        rates = card_of(f'[model.price]\ninput = "{written}"\noutput = "1"').rates
        assert rates["input"] == nano

    @pytest.mark.parametrize(
        "written",
        [
            "2.5",
            "3",
            "true",
            '""',
            '"free"',
            '"-1"',
            '"+1"',
            '" 1"',
            '"1,5"',
            '"1e3"',
            '".5"',
            '"1."',
            '"NaN"',
            '"Infinity"',
            '"٣"',
            '"0.0000000001"',
            '"1000000000"',
        ],
    )
    def test_anything_but_a_written_amount_is_refused(self, written: str) -> None:
        error = refusal_of(f'[model.price]\ninput = {written}\noutput = "1"')
        assert error.param == "input"
        assert error.message.startswith('model "alpha", price, input: expected a quoted amount')

    @pytest.mark.parametrize("key", ["input", "output"])
    @pytest.mark.parametrize("card", ["price", "cost"])
    def test_input_and_output_must_be_priced(self, card: str, key: str) -> None:
        other = {"input": "output", "output": "input"}[key]
        error = refusal_of(f'[model.{card}]\n{other} = "1"')
        assert error.message.startswith(f'model "alpha", {card}, {key}: ')
        assert error.message.endswith("the key is missing")

    def test_every_class_can_be_priced(self) -> None:
        names = (
            *("input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "reasoning"),
            *("audio_input", "audio_output", "image_input", "per_request"),
        )
        lines = "".join(f'{name} = "{number}"\n' for number, name in enumerate(names))
        expected = {name: number * 10**9 for number, name in enumerate(names)}
        assert card_of("[model.price]\n" + lines).rates == expected

    def test_cache_write_means_the_five_minute_one(self) -> None:
        assert card_of(PRICE + 'cache_write = "1.25"').rates["cache_write_5m"] == 1_250_000_000

    def test_cache_write_under_both_names_is_refused(self) -> None:
        error = refusal_of(PRICE + 'cache_write = "1"\ncache_write_5m = "1"\n')
        assert error.param == "cache_write"

    def test_only_named_classes_are_on_the_card(self) -> None:
        assert card_of(PRICE).rates == {"input": 1_000_000_000, "output": 2_000_000_000}

    def test_an_unknown_class_is_refused(self) -> None:
        assert refusal_of(PRICE + 'cached = "1"').param == "cached"

    def test_rates_cannot_be_changed(self) -> None:
        price = card_of(PRICE)
        with pytest.raises(TypeError):
            price.rates["input"] = 0  # type: ignore[index]


class TestBands:
    def band(self, threshold: str, rates: str = 'input = "3"\noutput = "4"') -> str:
        return f"[[model.price.band]]\nover_prompt_tokens = {threshold}\n{rates}\n"

    def test_bands_ascend_whatever_their_order_in_the_file(self) -> None:
        price = card_of(PRICE + self.band("900") + self.band("500"))
        assert [band.over_prompt_tokens for band in price.bands] == [500, 900]

    @pytest.mark.parametrize(
        ("band", "key"),
        [
            ("[[model.price.band]]\n" + 'input = "3"\noutput = "4"', "over_prompt_tokens"),
            ('[[model.price.band]]\nover_prompt_tokens = 0\ninput = "3"', "over_prompt_tokens"),
            ('[[model.price.band]]\nover_prompt_tokens = 5\ninput = "3"', "output"),
            ("[[model.price.band]]\nover_prompt_tokens = 5\ninput = 3", "input"),
        ],
    )
    def test_an_incomplete_band_is_refused(self, band: str, key: str) -> None:
        error = refusal_of(PRICE + band)
        assert error.message.startswith(f'model "alpha", price, band number 1, {key}: ')

    def test_an_unknown_key_of_a_band_is_refused(self) -> None:
        text = self.band("500", 'input = "3"\noutput = "4"\nunder = 3')
        assert refusal_of(PRICE + text).param == "under"

    def test_two_bands_of_one_threshold_are_refused(self) -> None:
        assert refusal_of(PRICE + self.band("500") * 2).param == "band"


class TestWindows:
    def test_a_window_is_read_in_minutes_of_the_utc_day(self) -> None:
        price = card_of(PRICE + WINDOW)
        rates = {"input": 500_000_000, "output": 1_000_000_000}
        assert price.windows == (WindowSpec(("mon", "tue"), 990, 1440, rates),)

    @pytest.mark.parametrize(
        ("old", "new", "key"),
        [
            ('days = ["tue", "mon"]', "", "days"),
            ('days = ["tue", "mon"]', "days = []", "days"),
            ('days = ["tue", "mon"]', 'days = ["monday"]', "days"),
            ('days = ["tue", "mon"]', 'days = ["mon", "mon"]', "days"),
            ('utc_from = "16:30"', "", "utc_from"),
            ('utc_from = "16:30"', 'utc_from = "16:60"', "utc_from"),
            ('utc_from = "16:30"', 'utc_from = "4pm"', "utc_from"),
            ('utc_from = "16:30"', "utc_from = 16:30:00", "utc_from"),
            ('utc_to = "24:00"', 'utc_to = "24:01"', "utc_to"),
            ('utc_from = "16:30"', 'utc_from = "24:00"', "utc_from"),
            ('utc_to = "24:00"', 'utc_to = "16:30"', "utc_to"),
            ('input = "0.5"', "", "input"),
            ('output = "1"', 'output = "1"\nzone = "UTC"', "zone"),
        ],
    )
    def test_a_wrong_window_is_refused(self, old: str, new: str, key: str) -> None:
        assert old in WINDOW
        assert refusal_of(PRICE + WINDOW.replace(old, new)).param == key

    def test_a_window_may_be_dearer_than_the_price(self) -> None:
        price = card_of(PRICE + WINDOW.replace('output = "1"', 'output = "3"'))
        assert price.windows[0].rates["output"] == 3_000_000_000

    def test_a_window_may_end_on_the_next_day(self) -> None:
        price = card_of(PRICE + WINDOW.replace("24:00", "06:00"))
        assert (price.windows[0].from_minute, price.windows[0].to_minute) == (990, 360)

    def test_a_window_must_name_the_classes_of_the_price(self) -> None:
        error = refusal_of(PRICE + 'cache_read = "0.1"\n' + WINDOW)
        assert error.param == "cache_read"

    def test_overlapping_windows_stay_in_the_order_of_the_file(self) -> None:
        later = WINDOW.replace("16:30", "23:59")
        assert [window.from_minute for window in card_of(PRICE + later + WINDOW).windows] == [1439, 990]

    def test_windows_of_different_days_do_not_overlap(self) -> None:
        weekend = WINDOW.replace('"tue", "mon"', '"sat"')
        price = card_of(PRICE + WINDOW + weekend)
        assert len(price.windows) == 2

    def test_windows_may_touch(self) -> None:
        earlier = WINDOW.replace("24:00", "16:30").replace('utc_from = "16:30"', 'utc_from = "00:00"')
        price = card_of(PRICE + WINDOW + earlier)
        assert len(price.windows) == 2

    def test_a_window_has_bands_of_its_own(self) -> None:
        band = '[[model.price.window.band]]\nover_prompt_tokens = 5\ninput = "3"\noutput = "4"\n'
        price = card_of(PRICE + WINDOW + band)
        assert price.bands == ()
        assert price.windows[0].bands == (BandSpec(5, {"input": 3_000_000_000, "output": 4_000_000_000}),)


class TestTiers:
    TIER = '[[model.price.tier]]\nname = "flex"\ninput = "0.5"\noutput = "1"\n'

    def test_a_tier_has_rates_by_its_name(self) -> None:
        price = card_of(PRICE + self.TIER)
        assert price.tiers == (TierSpec("flex", {"input": 500_000_000, "output": 1_000_000_000}),)

    def test_a_tier_has_bands_of_its_own(self) -> None:
        band = '[[model.price.tier.band]]\nover_prompt_tokens = 5\ninput = "3"\noutput = "4"\n'
        assert card_of(PRICE + self.TIER + band).tiers[0].bands[0].over_prompt_tokens == 5

    @pytest.mark.parametrize(
        ("old", "new", "key"),
        [
            ('name = "flex"', "", "name"),
            ('name = "flex"', 'name = "Flex tier"', "name"),
            ('name = "flex"', f'name = "{"x" * 21}"', "name"),
            ('output = "1"', "", "output"),
            ('output = "1"', 'output = "1"\ndays = ["mon"]', "days"),
        ],
    )
    def test_a_wrong_tier_is_refused(self, old: str, new: str, key: str) -> None:
        assert refusal_of(PRICE + self.TIER.replace(old, new)).param == key

    def test_a_tier_is_there_once(self) -> None:
        assert 'price, tier "flex" is there twice' in refusal_of(PRICE + self.TIER * 2).message


def test_wholesale_is_a_card_like_the_others() -> None:
    (model,) = read_catalog(MODEL + PRICE + '[model.wholesale]\ninput = "0.8"\noutput = "1.5"\n', {}).models
    assert model.wholesale is not None
    assert model.wholesale.rates == {"input": 800_000_000, "output": 1_500_000_000}


def test_a_price_below_cost_gives_its_reason() -> None:
    assert card_of(PRICE + 'override_reason = "Launch offer"\n').override_reason == "Launch offer"
    assert refusal_of(PRICE + 'override_reason = ""\n').param == "override_reason"
