"""A catalogue applied: rows as the file says, new price versions for changed prices, nothing twice."""

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from accounts.models import OperatorAlert
from accounts.services import ensure_house_reseller
from billing.models import PriceKind, PriceVersion
from billing.price_rules import RetailBelowCost
from billing.tariffs import load_tariff_book, tariff_of
from config.catalog import apply_catalog, apply_installed_catalog, read_catalog_file
from relay.catalog.reader import Catalog, CatalogError
from relay.models import AppliedCatalog, Channel, Model, Route
from tests.config.catalog_text import CATALOG, write_catalog

pytestmark = pytest.mark.django_db
DOLLAR = 10**9


def read(folder: Path, text: str = CATALOG) -> Catalog:
    return read_catalog_file(write_catalog(folder, text), {})


def rows() -> list[int]:
    return [table.objects.count() for table in (Channel, Model, Route, PriceVersion)]


def test_everything_the_file_names_is_made(tmp_path: Path) -> None:
    assert len(apply_catalog(read(tmp_path))) == 5
    assert rows() == [1, 1, 1, 2]
    assert Channel.objects.get().open_api_keys() == ("vendor-secret-1",)
    tariffs = load_tariff_book().find(ensure_house_reseller().pk, "gpt-test")
    assert tariffs is not None
    assert tariffs.cost is not None
    assert (tariffs.retail.rates.input, tariffs.cost.rates.output) == (2_500_000_000, 8 * DOLLAR)


def test_applied_again_nothing_differs(tmp_path: Path) -> None:
    apply_catalog(read(tmp_path))
    assert apply_catalog(read(tmp_path)) == []
    assert rows() == [1, 1, 1, 2]


def test_a_dry_run_says_the_same_and_changes_nothing(tmp_path: Path) -> None:
    said = apply_catalog(read(tmp_path), dry_run=True)
    assert rows() == [0, 0, 0, 0]
    assert apply_catalog(read(tmp_path)) == said


def test_no_difference_shows_a_credential(tmp_path: Path) -> None:
    changes = apply_catalog(read(tmp_path))
    changes += apply_catalog(read(tmp_path, CATALOG.replace("vendor-secret-1", "vendor-secret-2")))
    assert "~ channel main: credential" in changes
    assert "vendor-secret" not in " ".join(changes)
    assert Channel.objects.get().open_api_keys() == ("vendor-secret-2",)


def test_a_changed_price_is_a_new_version_and_the_old_one_stays(tmp_path: Path) -> None:
    apply_catalog(read(tmp_path))
    changes = apply_catalog(read(tmp_path, CATALOG.replace('"10.00"', '"12.00"')))
    assert changes == ["+ retail price gpt-test"]
    retail = PriceVersion.objects.filter(kind=PriceKind.RETAIL).order_by("effective_from")
    assert [version.output for version in retail] == [10 * DOLLAR, 12 * DOLLAR]


def test_price_and_cost_may_change_in_one_go(tmp_path: Path) -> None:
    """Each by itself would be refused or told of: the new cost is a hundred times the old price."""
    apply_catalog(read(tmp_path))
    for cost, price in (("900.00", "1000.00"), ("1.00", "2.00")):
        text = CATALOG.replace('"8.00"', f'"{cost}"').replace('"10.00"', f'"{price}"')
        assert apply_catalog(read(tmp_path, text)) == ["+ cost price gpt-test", "+ retail price gpt-test"]
    assert not OperatorAlert.objects.exists()


def test_a_refused_price_is_named_and_nothing_of_the_file_is_applied(tmp_path: Path) -> None:
    apply_catalog(read(tmp_path))
    before = rows()
    text = CATALOG.replace("gpt-test-1", "gpt-test-2").replace('"2.50"', '"1.99"')
    with pytest.raises(RetailBelowCost, match=r"gpt-test, .*USD 1\.99 is below the vendor cost of USD 2"):
        apply_catalog(read(tmp_path, text))
    assert rows() == before
    assert Route.objects.get().upstream_model == "gpt-test-1"


def test_the_command_says_why_in_one_line(tmp_path: Path) -> None:
    path = write_catalog(tmp_path, CATALOG.replace('"2.50"', '"0.000002"'))
    with pytest.raises(CommandError, match=r"^gpt-test, input: .*\(price_out_of_proportion\)$"):
        call_command("apply_catalog", path)
    assert rows() == [0, 0, 0, 0]


def test_a_reason_in_the_file_allows_a_price_below_cost(tmp_path: Path) -> None:
    text = CATALOG.replace('price = { input = "2.50"', 'price = { override_reason = "Offer", input = "1.50"')
    apply_catalog(read(tmp_path, text))
    assert PriceVersion.objects.get(kind=PriceKind.RETAIL).override_reason == "Offer"


def test_windows_tiers_and_wholesale_come_into_force(tmp_path: Path) -> None:
    text = (
        CATALOG
        + """
[model.wholesale]
input = "2.20"
output = "9.00"
window = [{ days = ["mon"], utc_from = "22:00", utc_to = "06:00", input = "2.10", output = "9.00", band = [
  { over_prompt_tokens = 9, input = "2.15", output = "9.00" },
] }]
tier = [{ name = "priority", input = "2.30", output = "9.50" }]
"""
    )
    assert "+ wholesale price gpt-test" in apply_catalog(read(tmp_path, text))
    tariff = tariff_of(PriceVersion.objects.get(kind=PriceKind.WHOLESALE))
    [window], [tier] = tariff.windows, tariff.tiers
    assert (window.days, window.from_minute, window.to_minute) == (frozenset({0}), 1320, 360)
    assert (window.rates.input, window.bands[0].rates.input) == (2_100_000_000, 2_150_000_000)
    assert (tier.name, tier.rates.output) == ("priority", 9_500_000_000)
    assert apply_catalog(read(tmp_path, text)) == []


def test_a_route_that_the_file_drops_is_dropped_and_a_model_stays(tmp_path: Path) -> None:
    apply_catalog(read(tmp_path))
    other = CATALOG.replace("gpt-test-1", "gpt-test-2")
    assert apply_catalog(read(tmp_path, other)) == [
        "+ route gpt-test → main/gpt-test-2",
        "- route gpt-test → main/gpt-test-1",
    ]
    apply_catalog(read(tmp_path, CATALOG.partition("[[model]]")[0]))
    assert Model.objects.count() == 1


def test_at_a_start_it_is_applied_only_when_it_changed(tmp_path: Path) -> None:
    path = write_catalog(tmp_path)
    assert apply_installed_catalog(path, {})
    Model.objects.update(owned_by="an operator's word")
    assert apply_installed_catalog(path, {}) == []
    assert Model.objects.get().owned_by == "an operator's word"
    write_catalog(tmp_path, CATALOG.replace("128000", "64000"))
    assert apply_installed_catalog(path, {}) == ["~ model gpt-test: owned_by, context_window"]
    assert AppliedCatalog.objects.count() == 1


def test_a_credential_of_the_environment_counts_as_a_change(tmp_path: Path) -> None:
    path = write_catalog(
        tmp_path, CATALOG.replace('api_key = "vendor-secret-1"', 'api_key_env = "VENDOR_KEY"')
    )
    assert apply_installed_catalog(path, {})
    assert apply_installed_catalog(path, {"VENDOR_KEY": "new-secret"}) == ["~ channel main: credential"]
    assert apply_installed_catalog(path, {"VENDOR_KEY": "new-secret"}) == []
    assert "new-secret" not in AppliedCatalog.objects.get().fingerprint


def test_the_default_catalogue_can_be_applied() -> None:
    assert len(apply_installed_catalog(None, {})) > 50
    assert apply_installed_catalog(None, {}) == []


def test_a_file_that_cannot_be_read_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="cannot be read"):
        read_catalog_file(tmp_path / "missing.toml", {})
    (tmp_path / "latin.toml").write_bytes(b"\xff")
    with pytest.raises(CatalogError, match="cannot be read"):
        read_catalog_file(tmp_path / "latin.toml", {})
