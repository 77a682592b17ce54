"""The run: every vendor of the catalogue's doubles, every feature, one installation as it is shipped."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import httpx

from tests.conformance.answers import Refused, Wrong
from tests.conformance.catalogue import abilities_of
from tests.conformance.desk import SECONDS, Desk
from tests.conformance.features import FEATURES, Feature
from tests.conformance.vendors import VENDORS, Vendor, variables
from tests.doubles.anthropic_process import AnthropicDouble
from tests.doubles.gemini_process import GeminiDouble
from tests.doubles.process import VendorDouble
from tests.installation import Installation

PASS = "pass"
FAIL = "FAIL"
REFUSALS = ("unsupported_parameter", "unsupported_value")

Results = dict[tuple[str, str], str]


@contextmanager
def open_desks() -> Iterator[dict[str, Desk]]:
    """A desk for each vendor, by name: one installation as it is shipped, before all the doubles."""
    with ExitStack() as stack:
        doubles = {
            "vendor": stack.enter_context(VendorDouble()),
            "anthropic": stack.enter_context(AnthropicDouble()),
            "gemini": stack.enter_context(GeminiDouble()),
        }
        base_urls = {vendor.name: _base_url(doubles[vendor.double], vendor) for vendor in VENDORS}
        installation = stack.enter_context(Installation(variables=variables(base_urls)))
        customers = installation.create_customers(["20.00"] * len(VENDORS))
        desks = {}
        for vendor, customer in zip(VENDORS, customers, strict=True):
            headers = {"authorization": f"Bearer {customer.api_key}"}
            client = stack.enter_context(httpx.Client(headers=headers, timeout=SECONDS))
            desks[vendor.name] = Desk(vendor, doubles[vendor.double], customer, client)
        yield desks


def run_conformance(desks: Mapping[str, Desk]) -> Results:
    """What came of each feature with each vendor: `pass`, one of the page's other words, or `FAIL: …`."""
    *asking, listing = FEATURES
    for desk in desks.values():
        desk.begin()
    results = {
        (feature.name, name): _try(feature, desk) for name, desk in desks.items() for feature in asking
    }
    _hand_out_lists(desks)
    return results | {(listing.name, name): _try(listing, desk) for name, desk in desks.items()}


def _base_url(double: VendorDouble, vendor: Vendor) -> str:
    return double.base_url_of(vendor.profile) if vendor.profile else double.base_url


def _hand_out_lists(desks: Mapping[str, Desk]) -> None:
    """One export for all customers: a command takes seconds."""
    installation = next(iter(desks.values())).customer.installation
    lines = installation.usage_export()
    for desk in desks.values():
        desk.listed = [line for line in lines if line["organization"] == desk.customer.organization]


def _try(feature: Feature, desk: Desk) -> str:
    try:
        return feature.run(desk) or PASS
    except Refused as refusal:
        is_right = _is_right(refusal, feature, desk)
        return f"refused: `{refusal.error['code']}`" if is_right else f"{FAIL}: {refusal}"
    except (Wrong, httpx.HTTPError, AssertionError, LookupError, TypeError, ValueError) as problem:
        return f"{FAIL}: {type(problem).__name__} {problem}"


def _is_right(refusal: Refused, feature: Feature, desk: Desk) -> bool:
    """Whether the catalogue says that the model lacks it, and the error names it."""
    code, param = refusal.error.get("code"), refusal.error.get("param")
    is_named = refusal.status == 400 and code in REFUSALS and param in feature.params
    return is_named and feature.lacks(abilities_of(desk.vendor.model))
