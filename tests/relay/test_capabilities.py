"""What the catalogue may say about a model, and what follows from it."""

import pytest

from relay.capabilities import ModelTraits, TraitsInvalid, nearest_effort, read_traits, with_abilities


def test_what_the_catalogue_does_not_say_stays_as_the_vendor_has_it() -> None:
    base = ModelTraits(vision=False, max_output=64_000)
    traits = read_traits({"max_output": 8_192, "sampling": "none"}, base)
    assert traits == ModelTraits(vision=False, max_output=8_192, sampling="none")


def test_lists_and_tables_become_values_that_cannot_change() -> None:
    raw = {"reasoning_efforts": ["low", "max"], "reasoning_budgets": {"low": 2_000}}
    traits = read_traits(raw, ModelTraits())
    assert traits.reasoning_efforts == ("low", "max")
    assert traits.reasoning_budgets == (("low", 2_000),)
    assert hash(traits)


@pytest.mark.parametrize(
    "raw",
    [
        {"visions": True},
        {"vision": 1},
        {"vision": None},
        {"max_output": "64000"},
        {"max_output": True},
        {"sampling": "some"},
        {"reasoning_efforts": ["low", 3]},
        {"reasoning_efforts": "low"},
        {"reasoning_budgets": {"low": "much"}},
    ],
)
def test_a_trait_that_means_nothing_is_refused_by_name(raw: dict[str, object]) -> None:
    with pytest.raises(TraitsInvalid, match=next(iter(raw))):
        read_traits(raw, ModelTraits())


def test_no_limit_can_be_said() -> None:
    assert read_traits({"stop_max": None}, ModelTraits()).stop_max is None


@pytest.mark.parametrize(
    ("wanted", "has"), [("minimal", "low"), ("medium", "medium"), ("xhigh", "max"), ("high", "high")]
)
def test_an_effort_the_model_lacks_becomes_the_next_higher(wanted: str, has: str) -> None:
    assert nearest_effort(wanted, ("low", "medium", "high", "max")) == has


def test_an_effort_above_all_becomes_the_highest() -> None:
    assert nearest_effort("max", ("low", "high")) == "high"


def test_a_named_ability_is_there_whatever_the_vendors_other_models_can() -> None:
    blind = ModelTraits(vision=False, pdf=False, json_schema="prompt")
    able = with_abilities(blind, ["vision", "json_schema", "unheard-of"])
    assert (able.vision, able.pdf, able.json_schema) == (True, False, "prompt")
