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

* **pass**: the answer is right, in OpenAI's shape; the usage shown, billed and served is one and the same,
  and the charge is the catalogue's price for it.
* **refused**: a 400 with this code names the parameter, plain and streamed, before anything is sent; the
  catalogue says that the model lacks it.
* **left out**: it only asks nicely, `x-farebox-dropped-params` names it, and the rest of the request is done.
* **not told**: the vendor's usage says nothing of it, nor has the catalogue a price for it; all of the prompt
  is charged as fresh.

"""
NOTES = """
What some rows try:

* vision: a picture in the request, and one by address where the vendor fetches it. Gemini does not; Farebox
  fetches for it, but never from the machine it runs on, so `tests/relay/test_media.py` tries that.
* tool loop with reasoning: the client sends back the calls and nothing else of the answer, and the vendor
  must get what it wants of its model's thoughts, to the letter: Anthropic the signed block, Gemini the
  signature, DeepSeek the text. The others want none back, and get none.
* refusal or filter: an answer withheld by all; a refusal in words by OpenAI, Anthropic and Gemini; a blocked
  prompt by Gemini, which answers it, and by xAI and Qwen, which refuse it.
* error before a stream, error inside a stream, client gone: charged as the table of endings in
  `platform/docs/request.md` says; nothing where nothing came out.
* usage export: `manage.py usage_export` lists exactly the requests of the rows above, token by token and
  nano-dollar by nano-dollar, and the wallet has paid for them.

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
