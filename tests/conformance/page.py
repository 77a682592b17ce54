"""The results as the page that people read."""

from pathlib import Path

from tests.conformance.features import FEATURES
from tests.conformance.run import Results
from tests.conformance.vendors import VENDORS, Vendor

PAGE = Path(__file__).resolve().parents[2] / "platform" / "docs" / "conformance.md"
HEAD = """# Conformance

What each vendor's models do through `/v1/chat/completions`. `make conformance` writes this page: it starts
Farebox with the catalogue it is shipped with, before doubles of the vendors that the vendors' own SDKs are
tested with, and asks for everything, plain and streamed. `make test` compares the page with a run of its own.

* **pass**: the answer is right, in OpenAI's shape; the usage shown, billed and served is one and the same.
* **refused**: a 400 with this code names the parameter, before anything is sent.
* **left out**: it only asks nicely, and `x-farebox-dropped-params` names it.

"""
NOTES = """
Other models of a vendor may take more or less; what each can do lies in the catalogue (`capabilities` and
`traits` in `relay/catalog/default.toml`).
"""


def render_page(results: Results) -> str:
    names = [vendor.name for vendor in VENDORS]
    lines = [_line(["", *names]), _line(["---"] * (len(names) + 1))]
    lines += [_line([one.name, *(results[one.name, name] for name in names)]) for one in FEATURES]
    return HEAD + "\n".join([*lines, "", "The models asked:", "", *map(_models, VENDORS)]) + "\n" + NOTES


def _models(vendor: Vendor) -> str:
    thinker = f"; for reasoning `{vendor.thinker}`" if vendor.thinker else ""
    return f"* {vendor.name}: `{vendor.model}`{thinker}"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
